//! Long files are made in parts, by several instances.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tessera_backends::{embedded, files};
use tessera_capability::kv::{Commit, Key, Operation, Store};
use tessera_capability::time::SystemClock;

use crate::support::client::Visitor;
use crate::support::eventually;
use crate::support::media;
use crate::support::mp3::Headers;
use crate::support::operator;
use crate::support::server::Launch;
use crate::support::sound::Sound;

#[tokio::test(flavor = "multi_thread")]
async fn a_long_file_is_made_of_parts_and_sounds_like_one() {
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().start(state.path());
    let user = Visitor::of(&server).user().await;
    // Sound that never repeats: two sweeps. 200 s make three parts.
    let source = media::sweeps();
    let id = user.upload(&source).await;
    let job = user.done(&id).await;
    assert_eq!(job["warning"], serde_json::Value::Null);
    let seconds = job["durationSeconds"].as_f64().unwrap();
    assert!((seconds - 200.0).abs() < 0.001, "{seconds}");

    let path = state.path().join("a.mp3");
    let bytes = user.download(&id).await.bytes().await.unwrap();
    let headers = Headers::read(&bytes).expect("a header");
    assert!((headers.seconds() - 200.0).abs() < 0.001, "{headers:?}");
    assert_eq!(headers.start + headers.bytes, bytes.len() as u64, "{headers:?}");
    std::fs::write(&path, &bytes).unwrap();
    let (heard, expected) = (Sound::of(&path), Sound::of(&source));
    assert!((heard.seconds() - 200.0).abs() < 0.001, "gapless: {} s", heard.seconds());
    // The joints lie at 66.7 s and 133.3 s.
    for from in [0.0, 30.0, 66.2, 100.0, 132.8, 199.0] {
        let to = from + 1.0;
        let alike = heard.between(from, to).correlation(&expected.between(from, to));
        assert!(alike > 0.99, "{from} to {to}: {alike}");
    }

    // It was made of three parts, and nothing remains of them.
    eventually("one delivery shared it and three made it", async || {
        (deliveries(state.path()).await >= 4.0).then_some(())
    })
    .await;
    assert!(server.stop().success());
    let engine = files::Engine::open(&state.path().join("blobs"), Arc::new(SystemClock)).unwrap();
    let page = engine.store("mp3s").list("", None, 10).await.unwrap();
    let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str().to_owned()).collect();
    assert_eq!(keys, [id.as_str()]);
    assert!(jobs(state.path()).get(&shared(&id)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_many_long_files_another_is_made_in_one_piece() {
    let state = tempfile::tempdir().unwrap();
    // What tells of seven that are being made in parts.
    let others = (1..=7).map(|other| shared(&format!("018bcfe5-6800-7707-8707-07070707070{other}")));
    let set = |key| Operation::Set { key, value: Bytes::new(), time_to_live: None };
    let commit = Commit { checks: Vec::new(), operations: others.map(set).collect() };
    jobs(state.path()).commit(commit).await.unwrap();

    let server = Launch::application().start(state.path());
    let user = Visitor::of(&server).user().await;
    let id = user.upload(&media::sweeps()).await;
    user.done(&id).await;
    let counted = eventually("the delivery is counted", async || {
        Some(deliveries(state.path()).await).filter(|deliveries| *deliveries > 0.0)
    });
    assert_eq!(counted.await, 1.0);
}

/// How many deliveries the converter has handled. The last is counted some time after its job is done.
async fn deliveries(state: &Path) -> f64 {
    operator::metric(&operator::metrics(state).await, "tessera_deliveries_total{component=\"converter\"")
}

/// The application's jobs, while it does not run.
fn jobs(state: &Path) -> Arc<dyn Store> {
    embedded::Engine::open(&state.join("data"), Arc::new(SystemClock)).unwrap().store("jobs")
}

/// What tells that a job is being made in parts.
fn shared(id: &str) -> Key {
    Key::new(format!("shared/{id}")).unwrap()
}
