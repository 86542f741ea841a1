//! What is heard of a file here and by ffmpeg, and how far that is from each other.

use std::ffi::OsStr;
use std::path::Path;

use converter::decode::Audio;
use converter::source::Source;

use crate::workshop::ffmpeg;

pub(crate) struct Heard {
    pub(crate) planes: Vec<Vec<f32>>,
    pub(crate) rate: u32,
    pub(crate) warning: Option<String>,
}

pub(crate) fn decode(bytes: Vec<u8>, name: &str) -> Result<Heard, String> {
    let mut audio = Audio::open(Source::new(bytes), name).map_err(|reason| reason.to_string())?;
    let mut planes = vec![Vec::new(); audio.channels()];
    while let Some(block) = audio.next_block() {
        for (plane, more) in planes.iter_mut().zip(block) {
            plane.extend(more);
        }
    }
    Ok(Heard { planes, rate: audio.rate(), warning: audio.warning().map(|warning| warning.to_string()) })
}

/// What ffmpeg hears.
pub(crate) fn reference(path: &Path, rate: u32, channels: usize) -> Vec<Vec<f32>> {
    let (rate, count) = (rate.to_string(), channels.to_string());
    // Several channels are mixed so that they never clip, also where ffmpeg would leave room for louder samples.
    let options = ["-vn", "-af", "aresample=rematrix_maxval=1", "-f", "f32le", "-ar", &rate, "-ac", &count, "-"];
    let bytes = ffmpeg([OsStr::new("-i"), path.as_os_str()].into_iter().chain(options.iter().map(OsStr::new)));
    let mut planes = vec![Vec::new(); channels];
    for (index, four) in bytes.chunks_exact(4).enumerate() {
        planes[index % channels].push(f32::from_le_bytes(four.try_into().expect("four bytes")));
    }
    planes
}

/// The signal to noise ratio in decibels, at the best shift within 25 ms.
pub(crate) fn snr(wanted: &[Vec<f32>], heard: &[Vec<f32>]) -> f64 {
    let noise = |shift: isize, from: usize, to: usize| {
        let (mut signal, mut noise) = (0.0_f64, 1e-12_f64);
        for (wanted, heard) in wanted.iter().zip(heard) {
            for (index, want) in wanted.iter().enumerate().take(to).skip(from) {
                let got = index.checked_add_signed(shift).and_then(|index| heard.get(index));
                let Some(got) = got else { continue };
                signal += f64::from(*want).powi(2);
                noise += f64::from(want - got).powi(2);
            }
        }
        10.0 * (signal / noise).log10()
    };
    let middle = wanted[0].len() / 2;
    let shifts = -1200..=1200_isize;
    let best = shifts.max_by(|a, b| {
        let at = |shift: &isize| noise(*shift, middle, middle + 2000);
        at(a).total_cmp(&at(b))
    });
    // The last moments of a lossy codec differ in what follows them.
    noise(best.expect("shifts"), 0, wanted[0].len().saturating_sub(2400))
}
