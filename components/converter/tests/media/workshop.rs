//! Files made by ffmpeg, and what ffmpeg hears in them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use converter::convert::{Conversion, Error};
use converter::encode::Settings;
use converter::reason::Notice;
use converter::source::Source;

pub(crate) const SECONDS: f64 = 7.3;
pub(crate) const RATE: f64 = 44_100.0;

pub(crate) struct Workshop {
    directory: tempfile::TempDir,
}

pub(crate) struct Mp3 {
    pub(crate) path: PathBuf,
    pub(crate) seconds: f64,
    pub(crate) warning: Option<Notice>,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory for the fixtures") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a file with moving pictures and a sound that never repeats: two sweeps, one per ear, and noise.
    pub(crate) fn make(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.path(name);
        let sound = format!(
            "aevalsrc='0.4*sin(2*PI*(200+90*t)*t)+0.02*(random(0)-0.5)|0.4*sin(2*PI*(900-60*t)*t)':s=44100:d={SECONDS}"
        );
        let pictures = format!("testsrc2=s=160x120:r=25:d={SECONDS}");
        let mut arguments = vec!["-f", "lavfi", "-i", &sound, "-f", "lavfi", "-i", &pictures];
        arguments.extend_from_slice(options);
        ffmpeg(arguments.iter().map(OsStr::new).chain([path.as_os_str()]));
        path
    }

    pub(crate) fn convert(&self, video: &Path) -> Result<Mp3, Error> {
        let name = video.file_name().and_then(OsStr::to_str).expect("a name");
        let bytes = fs::read(video).expect("the fixture");
        let mut conversion = Conversion::open(Source::new(bytes), name, Settings::default())?;
        let mut body = Vec::new();
        while conversion.step(&mut body)? {
            let progress = conversion.progress(0, 1);
            assert!((0.0..=1.0).contains(&progress), "{progress}");
        }
        let head = conversion.head()?;
        body.splice(..head.replaces, head.bytes);
        let path = self.path(&format!("{name}.mp3"));
        fs::write(&path, body).expect("room for the MP3");
        Ok(Mp3 { path, seconds: conversion.seconds(), warning: conversion.warning() })
    }

    /// Converts and compares, in length and in content.
    pub(crate) fn check(&self, video: &Path, channels: usize) -> Mp3 {
        let name = video.display();
        let mp3 = self.convert(video).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(mp3.warning, None, "{name}");
        let expected = samples(video, channels);
        let heard = samples(&mp3.path, channels);
        let (want, got) = (expected.len() as f64 / channels as f64 / RATE, heard.len() as f64 / channels as f64 / RATE);
        assert!((want - got).abs() < 0.05, "{name}: {got} s instead of {want} s");
        assert!((mp3.seconds - got).abs() < 0.005, "{name}: says {} s and has {got} s", mp3.seconds);
        let correlation = correlation(&expected, &heard, channels);
        assert!(correlation > 0.98, "{name}: correlation {correlation}");
        mp3
    }
}

pub(crate) fn ffmpeg<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y"])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("these tests need ffmpeg (apt-get install ffmpeg): {error}"));
    assert!(output.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub(crate) fn samples(file: &Path, channels: usize) -> Vec<f32> {
    let channels = channels.to_string();
    let options = ["-vn", "-f", "f32le", "-ar", "44100", "-ac", &channels, "-"];
    let input = [OsStr::new("-i"), file.as_os_str()];
    let bytes = ffmpeg(input.into_iter().chain(options.iter().map(OsStr::new)));
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes"))).collect()
}

/// The correlation at the best shift within 25 ms, so that a shift of an encoder's delay counts little and one of
/// more counts. The shift is looked for in an eighth of a second.
pub(crate) fn correlation(a: &[f32], b: &[f32], channels: usize) -> f64 {
    let at = |lag: isize, from: usize, to: usize| {
        let lag = lag * channels as isize;
        let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
        for (index, x) in a.iter().enumerate().take(to).skip(from) {
            let Some(y) = index.checked_add_signed(lag).and_then(|index| b.get(index)) else { continue };
            ab += x * y;
            aa += x * x;
            bb += y * y;
        }
        f64::from(ab) / f64::from(aa * bb).sqrt()
    };
    let middle = a.len() / 2;
    let window = |lag: &isize| at(*lag, middle, middle + 6_000 * channels);
    let lag = (-1100..=1100).max_by(|one, other| window(one).total_cmp(&window(other))).expect("lags");
    (0..8).map(|part| at(lag, a.len() * part / 8, a.len() * (part + 1) / 8)).fold(f64::MAX, f64::min)
}
