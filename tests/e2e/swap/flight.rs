//! What is in flight at a swap ends on the version that it began on, or is cut off at its deadline.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc;
use reqwest::{Body, Response, StatusCode};

use super::{CONTENT, INITIAL};
use crate::support::eventually;
use crate::support::fixtures::Fixture;
use crate::support::operator::component;

/// A request whose body comes as the test sends it, and comes back as it is sent.
struct Echo {
    send: mpsc::UnboundedSender<Result<Bytes, Infallible>>,
    answer: Response,
}

impl Echo {
    /// Begins, and waits for the first bytes to come back.
    async fn begin(fixture: &Fixture) -> Self {
        let (send, body) = mpsc::unbounded();
        let url = format!("{}/probe/echo/-", fixture.server.url);
        send.unbounded_send(Ok("first".into())).expect("it is read");
        let answer = reqwest::Client::new().post(url).body(Body::wrap_stream(body)).send().await.expect("an answer");
        let mut echo = Self { send, answer };
        assert_eq!(echo.answer.status(), StatusCode::OK);
        assert_eq!(echo.answer.chunk().await.expect("a chunk").expect("not the end"), "first");
        echo
    }

    fn version(&self) -> &str {
        self.answer.headers()["probe-version"].to_str().expect("text")
    }

    /// Sends `count` chunks of 64 KiB and checks that as much comes back, to the end.
    async fn finish(self, count: usize) {
        let Self { send, answer } = self;
        let sending = async move {
            for _ in 0..count {
                send.unbounded_send(Ok(vec![7; 64 << 10].into())).expect("it is read");
                tokio::task::yield_now().await;
            }
        };
        let reading = answer.bytes_stream().fold(0, async |sum, chunk| sum + chunk.expect("it is whole").len());
        let ((), length) = tokio::join!(sending, reading);
        assert_eq!(length, count * (64 << 10));
    }
}

async fn keys(fixture: &Fixture) -> Vec<String> {
    fixture.probe("probe/kv-list/attempts", "").await.lines().map(str::to_owned).collect()
}

/// Publishes a message whose consumer waits, and waits until it does.
async fn hold(fixture: &Fixture, body: &str) {
    assert_eq!(fixture.probe("probe/publish/work", body).await, "ok");
    let begun = format!("{body}/1");
    eventually("the delivery is in flight", async || keys(fixture).await.contains(&begun).then_some(())).await;
}

/// Lets the consumers that wait go on.
async fn open(fixture: &Fixture) {
    assert_eq!(fixture.probe("probe/kv-set/attempts", "open").await, "ok");
}

#[tokio::test]
async fn it_ends_on_the_old_version_which_is_dropped_then() {
    let fixture = Fixture::start(CONTENT);
    let upload = Echo::begin(&fixture).await;
    assert_eq!(upload.version(), INITIAL);
    hold(&fixture, "wait for it").await;

    fixture.swap_to("probe", "probe", "version-two", &[]);
    fixture.swap_to("worker", "consumer", "version-two", &[]);
    assert_eq!(fixture.version().await, "version-two");
    let second = Echo::begin(&fixture).await;
    assert_eq!(second.version(), "version-two");
    for component in ["probe", "worker"] {
        assert_eq!(fixture.roles(component), ["ending", "serving"], "{component}");
    }
    // A third version comes while two others have work.
    fixture.swap_to("probe", "probe", "version-3rd", &[]);
    assert_eq!(fixture.roles("probe"), ["ending", "ending", "serving"]);

    // 32 MiB through the old one, both ways.
    upload.finish(512).await;
    second.finish(1).await;
    open(&fixture).await;
    let done = eventually("the delivery ends", async || {
        keys(&fixture).await.into_iter().find(|key| key.starts_with("wait for it/1 by "))
    });
    assert_eq!(done.await, format!("wait for it/1 by {INITIAL}"));
    for component in ["probe", "worker"] {
        let dropped = async || (fixture.roles(component) == ["serving"]).then_some(());
        eventually("what is idle is dropped", dropped).await;
    }
    hold(&fixture, "wait for the next").await;
    let next = eventually("the next ends", async || {
        keys(&fixture).await.into_iter().find(|key| key.starts_with("wait for the next/1 by "))
    });
    assert_eq!(next.await, "wait for the next/1 by version-two");
    assert!(!keys(&fixture).await.iter().any(|key| key.contains("/2")), "nothing was delivered twice");
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_off() {
    let fixture = Fixture::start(CONTENT);
    let streaming = Echo::begin(&fixture).await;
    hold(&fixture, "wait for ever").await;
    let url = format!("{}/probe/hang/-", fixture.server.url);
    let waiting = tokio::spawn(async move { reqwest::Client::new().post(url).send().await.expect("an answer") });
    let in_flight = || component(fixture.root(), "probe")["in_flight"].as_u64();
    eventually("both are in flight", async || (in_flight() == Some(2)).then_some(())).await;

    for (component, fixture_name) in [("probe", "probe"), ("worker", "consumer")] {
        fixture.swap_to(component, fixture_name, "version-two", &["--drain", "300ms"]);
    }
    // A request that has no answer yet gets one; an answer that has begun does not look complete.
    let refused = waiting.await.expect("it ends");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.expect("text").contains("replaced"));
    let rest = tokio::time::timeout(Duration::from_secs(60), streaming.answer.bytes()).await.expect("it ends");
    assert!(rest.is_err(), "{rest:?}");
    // The delivery comes again, as the same attempt, and goes to the new version.
    fixture.server.log.line_with(&["given back to the queue", "component=\"worker\""]);
    open(&fixture).await;
    let done =
        eventually("the delivery ends", async || keys(&fixture).await.into_iter().find(|key| key.contains(" by ")));
    assert_eq!(done.await, "wait for ever/1 by version-two");
    for component in ["probe", "worker"] {
        let dropped = async || (fixture.roles(component) == ["serving"]).then_some(());
        eventually("the old one is dropped", dropped).await;
        fixture
            .server
            .log
            .line_with(&["work was still running on the old version", &format!("component=\"{component}\"")]);
    }
}
