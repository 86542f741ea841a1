//! What ffmpeg hears in a file, and how alike two files sound.

use std::ffi::OsStr;
use std::path::Path;

use super::media::ffmpeg;

const RATE: f64 = 44_100.0;

/// A shift of up to 25 ms is an encoder's delay and counts little.
const MAX_LAG: isize = 1100;

/// Decoded sound, both ears.
pub(crate) struct Sound(Vec<[f64; 2]>);

impl Sound {
    pub(crate) fn of(file: &Path) -> Self {
        let options = ["-vn", "-f", "f32le", "-ar", "44100", "-ac", "2", "-"];
        let input = [OsStr::new("-i"), file.as_os_str()];
        let bytes = ffmpeg(input.into_iter().chain(options.iter().map(OsStr::new)));
        let sample = |four: &[u8]| f64::from(f32::from_le_bytes(four.try_into().expect("four bytes")));
        Self(bytes.chunks_exact(8).map(|frame| [sample(&frame[..4]), sample(&frame[4..])]).collect())
    }

    /// Its length in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.0.len() as f64 / RATE
    }

    /// A piece of it, in seconds.
    pub(crate) fn between(&self, from: f64, to: f64) -> Self {
        let at = |seconds: f64| ((seconds * RATE) as usize).min(self.0.len());
        Self(self.0[at(from)..at(to)].to_vec())
    }

    /// The pitch of a tone, in Hz: how often its left channel rises through zero.
    pub(crate) fn pitch(&self) -> f64 {
        let middle = &self.0[self.0.len() / 4..self.0.len() * 3 / 4];
        let rises = middle.windows(2).filter(|pair| pair[0][0] < 0.0 && pair[1][0] >= 0.0).count();
        rises as f64 * RATE / middle.len() as f64
    }

    /// How alike two sounds are when they are laid over one another in the best way: 1 is equal,
    /// 0 has nothing in common.
    pub(crate) fn correlation(&self, other: &Self) -> f64 {
        let coarse = (-MAX_LAG..=MAX_LAG).step_by(4).max_by(|a, b| self.at(other, *a).total_cmp(&self.at(other, *b)));
        let coarse = coarse.expect("there are lags");
        (coarse - 4..=coarse + 4).map(|lag| self.at(other, lag)).fold(f64::MIN, f64::max)
    }

    fn at(&self, other: &Self, lag: isize) -> f64 {
        let skip = lag.unsigned_abs();
        let (a, b) = if lag >= 0 { (&self.0[skip..], &other.0[..]) } else { (&self.0[..], &other.0[skip..]) };
        let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
        for (x, y) in a.iter().zip(b) {
            ab += x[0] * y[0] + x[1] * y[1];
            aa += x[0] * x[0] + x[1] * x[1];
            bb += y[0] * y[0] + y[1] * y[1];
        }
        ab / (aa * bb).sqrt()
    }
}

#[test]
fn correlation_tells_a_sound_from_its_shift_and_from_another() {
    let tone = |frequency: f64, shift: usize| {
        let sample = |at: usize| (frequency * (at + shift) as f64 * (at + shift) as f64 / 1e6).sin();
        Sound((0..20_000).map(|at| [sample(at), -sample(at)]).collect())
    };
    assert!(tone(3.0, 0).correlation(&tone(3.0, 500)) > 0.99);
    assert!(tone(3.0, 0).correlation(&tone(3.0, 5000)) < 0.5);
    assert!(tone(3.0, 0).correlation(&tone(7.0, 0)) < 0.5);
}
