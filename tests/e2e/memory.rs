//! Memory does not grow with what passes through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

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

/// What a conversion needs does not depend on the length: the host ends an instance that outgrows its limit.
#[tokio::test(flavor = "multi_thread")]
async fn three_hours_convert_within_the_components_memory() {
    let manifest: toml::Table = std::fs::read_to_string(APPLICATION).unwrap().parse().unwrap();
    let limit = &manifest["component"]["converter"]["tool"]["tessera"]["limits"]["memory"];
    assert_eq!(limit.as_str(), Some("64MiB"));
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().start(state.path());
    let user = Visitor::of(&server).user().await;
    let id = user.upload(&media::three_hours()).await;
    let job = user.done(&id).await;
    assert!((job["durationSeconds"].as_f64().unwrap() - 10800.0).abs() < 0.05, "{job}");
}
