//! Real files, made by ffmpeg when the tests run, converted and compared with what ffmpeg itself hears in them.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a failed expectation is a failed test")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use converter::convert::{Conversion, Error};
use converter::encode::Settings;
use converter::reason::{Reason, Warning};
use converter::source::Source;

const SECONDS: f64 = 7.3;
const RATE: f64 = 44_100.0;

struct Workshop {
    directory: tempfile::TempDir,
}

struct Mp3 {
    path: PathBuf,
    seconds: f64,
    warning: Option<Warning>,
}

impl Workshop {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory for the fixtures") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a file with moving pictures and a sound that never repeats: two sweeps, one per ear, and noise.
    fn make(&self, name: &str, options: &[&str]) -> PathBuf {
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

    fn convert(&self, video: &Path) -> Result<Mp3, Error> {
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
    fn check(&self, video: &Path, channels: usize) -> Mp3 {
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

fn ffmpeg<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y"])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("these tests need ffmpeg (apt-get install ffmpeg): {error}"));
    assert!(output.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn samples(file: &Path, channels: usize) -> Vec<f32> {
    let channels = channels.to_string();
    let options = ["-vn", "-f", "f32le", "-ar", "44100", "-ac", &channels, "-"];
    let input = [OsStr::new("-i"), file.as_os_str()];
    let bytes = ffmpeg(input.into_iter().chain(options.iter().map(OsStr::new)));
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes"))).collect()
}

/// The correlation at the best shift within 25 ms, so that a shift of an encoder's delay counts little and one of
/// more counts. The shift is looked for in an eighth of a second.
fn correlation(a: &[f32], b: &[f32], channels: usize) -> f64 {
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

const H264: [&str; 6] = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];

fn with<'a>(video: &[&'a str], audio: &[&'a str]) -> Vec<&'a str> {
    [video, audio].concat()
}

#[test]
fn mp4_with_aac() {
    let workshop = Workshop::new();
    let plain = workshop.make("plain.mp4", &with(&H264, &["-c:a", "aac", "-b:a", "192k"]));
    workshop.check(&plain, 2);
    let fast = workshop.make("fast.mp4", &with(&H264, &["-c:a", "aac", "-b:a", "192k", "-movflags", "+faststart"]));
    workshop.check(&fast, 2);
    let options = ["-c:a", "aac", "-b:a", "192k", "-movflags", "+frag_keyframe+empty_moov"];
    workshop.check(&workshop.make("fragmented.mp4", &with(&H264, &options)), 2);
    workshop.check(&workshop.make("mono.mp4", &with(&H264, &["-c:a", "aac", "-b:a", "128k", "-ac", "1"])), 1);
}

#[test]
fn mov_with_aac_and_pcm() {
    let workshop = Workshop::new();
    workshop.check(&workshop.make("aac.mov", &with(&H264, &["-c:a", "aac", "-b:a", "192k"])), 2);
    workshop.check(&workshop.make("pcm.mov", &with(&H264, &["-c:a", "pcm_s16le"])), 2);
}

#[test]
fn matroska_with_aac_vorbis_and_flac() {
    let workshop = Workshop::new();
    workshop.check(&workshop.make("aac.mkv", &with(&H264, &["-c:a", "aac", "-b:a", "192k"])), 2);
    workshop.check(&workshop.make("vorbis.mkv", &with(&H264, &["-c:a", "libvorbis", "-q:a", "6"])), 2);
    workshop.check(&workshop.make("flac.mkv", &with(&H264, &["-c:a", "flac"])), 2);
}

#[test]
fn webm_with_vorbis() {
    let workshop = Workshop::new();
    let options = ["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis", "-q:a", "6"];
    workshop.check(&workshop.make("vorbis.webm", &options), 2);
}

#[test]
fn audio_files() {
    let workshop = Workshop::new();
    workshop.check(&workshop.make("s16.wav", &["-vn"]), 2);
    workshop.check(&workshop.make("float.wav", &["-vn", "-c:a", "pcm_f32le"]), 2);
    workshop.check(&workshop.make("mono.wav", &["-vn", "-ac", "1"]), 1);
    workshop.check(&workshop.make("a.flac", &["-vn"]), 2);
    workshop.check(&workshop.make("a.mp3", &["-vn", "-b:a", "192k"]), 2);
    workshop.check(&workshop.make("a.ogg", &["-vn", "-c:a", "libvorbis", "-q:a", "6"]), 2);
    workshop.check(&workshop.make("a.aiff", &["-vn"]), 2);
    workshop.check(&workshop.make("a.m4a", &["-vn", "-c:a", "alac"]), 2);
}

#[test]
fn rates_that_mp3_lacks_and_many_channels() {
    let workshop = Workshop::new();
    workshop.check(&workshop.make("96000.wav", &["-vn", "-ar", "96000"]), 2);
    workshop.check(&workshop.make("37800.flac", &["-vn", "-ar", "37800"]), 2);
    let low = workshop.make("8000.wav", &["-vn", "-ar", "8000", "-ac", "1"]);
    assert!((workshop.convert(&low).expect("an MP3").seconds - SECONDS).abs() < 0.01);
    let surround =
        workshop.make("surround.flac", &["-vn", "-af", "pan=5.1|FL=c0|FR=c1|FC=0*c0|LFE=0*c0|BL=0*c0|BR=0*c0"]);
    let mp3 = workshop.convert(&surround).expect("an MP3");
    let (expected, heard) = (samples(&surround, 2), samples(&mp3.path, 2));
    assert!(correlation(&expected, &heard, 2) > 0.98);
}

#[test]
fn the_title_is_the_files_own_or_its_name() {
    let workshop = Workshop::new();
    let ask = |mp3: &Path| {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-show_entries", "format_tags=title", "-of", "default=nw=1:nk=1"])
            .arg(mp3)
            .output()
            .expect("ffprobe, of Debian's package ffmpeg");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let options = ["-c:a", "aac", "-metadata", "title=Über den Wolken"];
    let titled = workshop.convert(&workshop.make("a.mp4", &with(&H264, &options))).expect("an MP3");
    assert_eq!(ask(&titled.path), "Über den Wolken");
    let untitled = workshop.convert(&workshop.make("My holiday.wav", &["-vn"])).expect("an MP3");
    assert_eq!(ask(&untitled.path), "My holiday");
}

#[test]
fn the_mp3_is_clean_and_its_header_exact() {
    let workshop = Workshop::new();
    let mp3 = workshop.convert(&workshop.make("a.wav", &["-vn"])).expect("an MP3");
    let heard = samples(&mp3.path, 2).len() / 2;
    assert_eq!(heard, (SECONDS * RATE) as usize, "not a sample more or less");
    let bytes = fs::read(&mp3.path).expect("the MP3");
    let audio = 128_000.0 / 8.0 * SECONDS;
    assert!((bytes.len() as f64 / audio - 1.0).abs() < 0.05, "{} bytes", bytes.len());
    let errors = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "warning", "-err_detect", "explode", "-i"])
        .arg(&mp3.path)
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg");
    assert_eq!(String::from_utf8_lossy(&errors.stderr), "");
}

#[test]
fn files_that_cannot_be_converted_say_why() {
    let workshop = Workshop::new();
    let reason = |path: &Path| match workshop.convert(path) {
        Err(Error::File(reason)) => reason,
        Err(error) => panic!("{}: {error}", path.display()),
        Ok(_) => panic!("{} was converted", path.display()),
    };
    let silent = workshop.make("silent.mp4", &with(&H264, &["-an"]));
    assert_eq!(reason(&silent), Reason::NoAudio);
    let silent = workshop.make("silent.mkv", &with(&H264, &["-an"]));
    assert_eq!(reason(&silent), Reason::NoAudio);
    let opus = workshop.make("opus.webm", &["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"]);
    assert_eq!(reason(&opus), Reason::Unsupported(Some("Opus")));
    let ac3 = workshop.make("ac3.mkv", &with(&H264, &["-c:a", "ac3"]));
    assert_eq!(reason(&ac3), Reason::Unsupported(Some("Dolby Digital (AC-3)")));

    let write = |name: &str, bytes: &[u8]| {
        let path = workshop.path(name);
        fs::write(&path, bytes).expect("room");
        path
    };
    let whole = fs::read(workshop.make("whole.mp4", &with(&H264, &["-c:a", "aac"]))).expect("the file");
    assert_eq!(reason(&write("cut.mp4", &whole[..whole.len() / 2])), Reason::EndsEarly);
    let options = with(&H264, &["-c:a", "aac", "-movflags", "+faststart"]);
    let whole = fs::read(workshop.make("fast.mp4", &options)).expect("the file");
    assert_eq!(reason(&write("cut.mp4", &whole[..whole.len() * 3 / 4])), Reason::EndsEarly);
    let whole = fs::read(workshop.make("whole.mkv", &with(&H264, &["-c:a", "aac"]))).expect("the file");
    assert_eq!(reason(&write("cut.mkv", &whole[..whole.len() / 2])), Reason::EndsEarly);
    assert_eq!(reason(&write("empty.mp4", b"")), Reason::Empty);
    let mut noise = 1_u64;
    let garbage: Vec<u8> = std::iter::repeat_with(|| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise as u8
    })
    .take(3_000_000)
    .collect();
    assert_eq!(reason(&write("garbage.mp4", &garbage)), Reason::NotMedia);
}

#[test]
fn the_readable_part_of_a_cut_file_is_converted_with_a_warning() {
    let workshop = Workshop::new();
    for name in ["a.wav", "a.flac"] {
        let path = workshop.make(name, &["-vn"]);
        let length = fs::metadata(&path).expect("the file").len();
        let file = File::options().write(true).open(&path).expect("the file");
        file.set_len(length * 6 / 10).expect("a shorter file");
        match workshop.convert(&path) {
            Ok(mp3) => {
                assert!(mp3.seconds > 1.0 && mp3.seconds < SECONDS - 1.0, "{name}: {}", mp3.seconds);
                assert_eq!(mp3.warning, Some(Warning::EndsEarly), "{name}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}
