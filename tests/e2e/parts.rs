//! Long files are made in parts, by several instances.

use std::sync::Arc;

use tessera_backends::files;
use tessera_capability::time::SystemClock;

use crate::support::client::Visitor;
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
    let parts =
        operator::metric(&operator::metrics(state.path()).await, "tessera_deliveries_total{component=\"converter\"");
    assert!(parts >= 4.0, "one delivery to share, three to make: {parts}");
    assert!(server.stop().success());
    let engine = files::Engine::open(&state.path().join("blobs"), Arc::new(SystemClock)).unwrap();
    let page = engine.store("mp3s").list("", None, 10).await.unwrap();
    let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str().to_owned()).collect();
    assert_eq!(keys, [id]);
}
