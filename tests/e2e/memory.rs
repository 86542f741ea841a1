//! Memory does not grow with what passes through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};

use crate::support::client::{Visitor, accepted};
use crate::support::media;
use crate::support::server::Launch;

/// How much is uploaded. The promise is about 1 GiB, and keeping it does not depend on the size.
const SIZE: u64 = 256 << 20;
const CHUNK: u64 = 256 << 10;
/// The application's manifest.
const APPLICATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../spin.toml");
/// How much more memory the server may take while it converts: its instances' own, and some for streams and stores.
const CONVERTING: u64 = 4 * (64 << 20) + (64 << 20);
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
