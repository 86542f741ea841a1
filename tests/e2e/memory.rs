//! Memory does not grow with what passes through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};

use crate::support::client::{Visitor, accepted};
use crate::support::server::{ADMIN, Launch};
use crate::support::{media, workspace};

/// How much is uploaded. The promise is about 1 GiB, and keeping it does not depend on the size.
const SIZE: u64 = 256 << 20;
const CHUNK: u64 = 256 << 10;
/// The application's manifest.
const APPLICATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../spin.toml");
/// How much more memory the server may take while it converts: its instances' own, and some for streams and stores.
const CONVERTING: u64 = 4 * (64 << 20) + (64 << 20);
/// What is enough for the converter, whatever the codec: half of what it has. docs/converter.md says so.
const ENOUGH: &str = "32MiB";
/// How much more memory the server may take meanwhile.
const ALLOWED: u64 = 32 << 20;

/// A body that exists only while it is sent.
fn generated() -> Body {
    let chunk = Bytes::from((0..CHUNK).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>());
    let chunks = (0..SIZE / CHUNK).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
    Body::wrap_stream(futures::stream::iter(chunks))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_needs_no_more_memory_than_a_small_one() {
    let state = tempfile::tempdir().unwrap();
    let server = Arc::new(Launch::application().start(state.path()));
    let user = Visitor::of(&server).user().await;
    // Everything is warm once a job went all the way.
    let id = user.upload(&media::short()).await;
    user.done(&id).await;
    for multipart in [false, true] {
        let before = server.resident();
        let ended = Arc::new(AtomicBool::new(false));
        let watch = std::thread::spawn({
            let (server, ended) = (Arc::clone(&server), Arc::clone(&ended));
            move || {
                let mut peak = 0;
                while !ended.load(Relaxed) {
                    peak = server.resident().max(peak);
                    std::thread::sleep(Duration::from_millis(5));
                }
                peak
            }
        });
        let request = user.request(Method::POST, "/upload");
        let request = if multipart {
            request
                .multipart(Form::new().part("file", Part::stream_with_length(generated(), SIZE).file_name("big.mp4")))
        } else {
            request.header("content-type", "video/mp4").body(generated())
        };
        let response = request.send().await.expect("an answer");
        ended.store(true, Relaxed);
        let peak = watch.join().expect("the watch");
        let id = accepted(response).await;
        assert_eq!(user.job(&id).await["videoBytes"], SIZE);
        let grown = peak.saturating_sub(before);
        println!("{} MiB before, {} KiB more at most (multipart: {multipart})", before >> 20, grown >> 10);
        assert!(grown <= ALLOWED, "{grown} bytes more than the {before} before (multipart: {multipart})");
        user.finished(&id).await;
        let response = user.request(Method::DELETE, &format!("/jobs/{id}")).send().await.expect("an answer");
        assert!(response.status().is_success());
    }
}

/// What a conversion needs does not depend on the length: the host ends an instance that outgrows its limit, and grows
/// little itself. The sound is of a low rate, which is quick to convert.
async fn converts_within_the_components_memory(hours: u32) {
    let manifest: toml::Table = std::fs::read_to_string(APPLICATION).unwrap().parse().unwrap();
    let converter = &manifest["component"]["converter"];
    assert_eq!(converter["tool"]["tessera"]["limits"]["memory"].as_str(), Some("64MiB"));
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().start(state.path());
    let user = Visitor::of(&server).user().await;
    let warm = user.upload(&media::short()).await;
    user.done(&warm).await;
    let before = server.resident();
    let video = std::fs::read(media::hours(hours)).unwrap();
    let id = user.upload_bytes("hours.m4a", video).await;
    let (start, mut peak) = (Instant::now(), 0);
    let job = loop {
        peak = server.resident().max(peak);
        let job = user.job(&id).await;
        if job["finishedTime"].is_string() {
            break job;
        }
        assert!(start.elapsed() < Duration::from_secs(900), "{job}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(job["status"], "done", "{job}");
    assert!((job["durationSeconds"].as_f64().unwrap() - f64::from(hours * 3600)).abs() < f64::from(hours), "{job}");
    let grown = peak.saturating_sub(before);
    println!("{:?} and {} MiB more than the {} before", start.elapsed(), grown >> 20, before >> 20);
    assert!(grown <= CONVERTING, "{grown} bytes more than the {before} before");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hours_convert_within_the_components_memory() {
    converts_within_the_components_memory(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_hours_convert_within_the_components_memory() {
    converts_within_the_components_memory(12).await;
}

/// A second of sound for each decoder, and how it is to be converted.
const CODECS: &[(&str, &str, &str)] = &[
    ("aac.m4a", "-c:a aac", ""),
    ("aac51.m4a", "-c:a aac -ac 6", ""),
    ("aac71.m4a", "-c:a aac -ac 8 -ar 96000", ""),
    ("aac.ts", "-c:a aac", ""),
    ("latm.ts", "-c:a aac -mpegts_flags latm", ""),
    ("alac24.m4a", "-c:a alac -ar 96000 -sample_fmt s32p", ""),
    ("alac51.mov", "-c:a alac -ac 6", ""),
    ("flac.flac", "-c:a flac", ""),
    ("flac192.flac", "-c:a flac -ac 8 -ar 192000 -sample_fmt s32 -frame_size 65535", ""),
    ("flac.mkv", "-c:a flac -ac 6 -ar 96000 -sample_fmt s32", ""),
    ("mp3.mp3", "-c:a libmp3lame -b:a 320k", ""),
    ("mp2.mp2", "-c:a mp2 -b:a 384k", ""),
    ("vorbis51.ogg", "-c:a libvorbis -ac 6", ""),
    ("vorbis71.webm", "-c:a libvorbis -ac 8 -ar 96000", ""),
    ("opus51.opus", "-c:a libopus -mapping_family 1 -ac 6", ""),
    ("opus71.mkv", "-c:a libopus -mapping_family 1 -ac 8 -frame_duration 120", ""),
    ("ac351.ac3", "-c:a ac3 -ac 6 -b:a 640k", ""),
    ("eac351.eac3", "-c:a eac3 -ac 6 -b:a 640k", ""),
    ("f32.wav", "-c:a pcm_f32le", ""),
    ("f64.wav", "-c:a pcm_f64le -ac 8 -ar 192000", ""),
    ("ms.avi", "-c:a adpcm_ms", ""),
    ("ima.mov", "-c:a adpcm_ima_qt", ""),
    ("swf.flv", "-c:a adpcm_swf -ar 44100", ""),
    ("alaw.au", "-c:a pcm_alaw", ""),
    ("loud192.wav", "-c:a pcm_f32le -ac 8 -ar 192000", "?loudness=true&vbr=0"),
    ("loud51.opus", "-c:a libopus -mapping_family 1 -ac 6", "?loudness=true&bitrate=320&sampleRate=44100"),
];

/// With half the memory, every codec is decoded and every way of converting gone: the linear memory of an instance never
/// shrinks, so none had more at any time.
#[tokio::test(flavor = "multi_thread")]
async fn every_decoder_does_with_half_of_the_components_memory() {
    let state = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(APPLICATION).unwrap();
    let root = format!("source = \"{}", workspace("target/").display());
    let mut manifest: toml::Table = text.replace("source = \"target/", &root).parse().unwrap();
    manifest["component"]["converter"]["tool"]["tessera"]["limits"]["memory"] = ENOUGH.into();
    let path = state.path().join("spin.toml");
    std::fs::write(&path, manifest.to_string()).unwrap();
    let (email, password) = ADMIN;
    let launch = Launch::manifest(&path).variable("admin_email", email).variable("admin_password", password);
    let server = launch.start(state.path());
    let user = Visitor::of(&server).user().await;
    let aac = workspace("components/converter/tests/media/fixtures");
    let made = CODECS.iter().map(|(name, options, query)| (media::coded(name, options), *query));
    let given = ["he-aac-v1.aac", "he-aac-v2.aac"].map(|name| (aac.join(name), ""));
    let mut jobs = Vec::new();
    for (file, query) in made.chain(given) {
        let request = user.request(Method::POST, &format!("/upload{query}"));
        let request = request.header("content-type", "audio/mpeg").body(std::fs::read(&file).unwrap());
        jobs.push((file, accepted(request.send().await.expect("an answer")).await));
    }
    for (file, id) in jobs {
        let job = user.finished(&id).await;
        let seconds = job["durationSeconds"].as_f64().unwrap_or(0.0);
        assert!(job["status"] == "done" && seconds > 0.95, "{}: {job}", file.display());
        assert_eq!(job["warning"], serde_json::Value::Null, "{}", file.display());
    }
}

/// A conversion ends by itself, with words for its owner, before the queue's timeout ends it without any.
#[test]
fn the_converters_own_limit_comes_before_the_queues() {
    let manifest: toml::Table = std::fs::read_to_string(APPLICATION).unwrap().parse().unwrap();
    let converter = &manifest["component"]["converter"];
    let minutes: u64 = converter["environment"]["TIME_LIMIT_MINUTES"].as_str().unwrap().parse().unwrap();
    for queue in converter["tool"]["tessera"]["consume"].as_array().unwrap() {
        assert_eq!(queue["timeout"].as_str(), Some("2h"));
    }
    assert!((60..=2 * 60 - 5).contains(&minutes), "{minutes}");
}
