//! Real files, made by ffmpeg when the tests run, converted and compared with what ffmpeg itself hears in them.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a failed expectation is a failed test")]

mod damaged;
mod hearing;
mod joints;
mod jumps;
mod kinds;
mod odd;
mod tags;
mod workshop;

use std::fs;
use std::path::Path;
use std::process::Command;

use converter::convert::Error;
use converter::reason::Reason;

use workshop::{RATE, SECONDS, Workshop, correlation, samples};

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
    let dts = workshop.make("dts.mkv", &with(&H264, &["-c:a", "dca", "-strict", "-2"]));
    assert_eq!(reason(&dts), Reason::Unsupported(Some("DTS")));

    let write = |name: &str, bytes: &[u8]| {
        let path = workshop.path(name);
        fs::write(&path, bytes).expect("room");
        path
    };
    let whole = fs::read(workshop.make("whole.mp4", &with(&H264, &["-c:a", "aac"]))).expect("the file");
    assert_eq!(reason(&write("cut.mp4", &whole[..whole.len() / 2])), Reason::EndsEarly);
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
fn a_stream_that_changes_its_rate_and_channels_is_followed() {
    let workshop = Workshop::new();
    let first = fs::read(workshop.make("first.aac", &["-vn", "-c:a", "aac", "-t", "3"])).expect("the file");
    let options = ["-vn", "-c:a", "aac", "-ar", "24000", "-ac", "1", "-t", "2"];
    let second = fs::read(workshop.make("second.aac", &options)).expect("the file");
    let spliced = workshop.path("spliced.aac");
    fs::write(&spliced, [first.as_slice(), &second, &first].concat()).expect("room");
    let mp3 = workshop.convert(&spliced).expect("an MP3");
    assert_eq!(mp3.warning, None);
    let alone = |name: &str| samples(&workshop.path(name), 2);
    let expected = [alone("first.aac"), alone("second.aac"), alone("first.aac")].concat();
    let heard = samples(&mp3.path, 2);
    let seconds = (heard.len() as f64 - expected.len() as f64) / 2.0 / RATE;
    assert!(seconds.abs() < 0.05, "{seconds} s too long");
    let correlation = correlation(&expected, &heard, 2);
    assert!(correlation > 0.97, "{correlation}");
}
