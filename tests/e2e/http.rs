//! The HTTP trigger: protocols, streaming, limits, shutdown.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::{Client, StatusCode, Version};

use crate::support::DEADLINE;
use crate::support::client::live;
use crate::support::fixtures::Fixture;

const CONTENT: &str = r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"

[[trigger.http]]
route = "/old/..."
component = "old"

[[trigger.http]]
route = "/tea"
static_response = { status_code = 418, headers = { x-pot = "short" }, body = "stout" }

[component.probe]
source = "<probe>"
[component.probe.tool.tessera]
limits = { memory = "64MiB", concurrency = 4, waiting = 0 }

[[trigger.http]]
route = "/hasty/..."
component = "hasty"
[component.hasty]
source = "<probe>"
[component.hasty.tool.tessera]
limits = { timeout = "3s" }

[component.old]
source = "<wasi02>"
"#;

/// Every chunk comes back before the next one is sent.
async fn ping_pong(client: Client, version: Version) {
    let fixture = Fixture::start(CONTENT);
    let (sender, body) = live();
    sender.send(Bytes::from_static(b"first")).await.expect("room");
    let url = format!("{}/probe/echo", fixture.server.url);
    let response = client.post(url).body(body).send().await.expect("an answer before the body's end");
    assert_eq!((response.status(), response.version()), (StatusCode::OK, version));
    let mut answer = response.bytes_stream();
    for (sent, next) in [("first", "second"), ("second", "third"), ("third", "last")] {
        let chunk = tokio::time::timeout(DEADLINE, answer.next()).await.expect("it streams").expect("a chunk");
        assert_eq!(chunk.expect("a chunk"), sent);
        sender.send(Bytes::from(next)).await.expect("room");
    }
    drop(sender);
    let rest: Vec<_> = answer.map(|chunk| chunk.expect("a chunk")).collect().await;
    assert_eq!(rest.concat(), b"last");
}

#[tokio::test]
async fn http_1_streams_both_ways() {
    ping_pong(Client::builder().http1_only().build().unwrap(), Version::HTTP_11).await;
}

#[tokio::test]
async fn http_2_without_tls_streams_both_ways() {
    ping_pong(Client::builder().http2_prior_knowledge().build().unwrap(), Version::HTTP_2).await;
}

#[tokio::test]
async fn a_component_of_wasi_0_2_is_served() {
    let fixture = Fixture::start(CONTENT);
    let sent = "x".repeat(100_000);
    let answer = fixture.probe("old/place?a=b", &sent).await;
    assert_eq!(answer, format!("Method::Post /old/place?a=b\n{sent}"));
    let url = format!("{}/old/", fixture.server.url);
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let response = client.get(url).send().await.expect("an answer");
    assert_eq!(response.text().await.expect("text"), "Method::Get /old/\n");
}

#[tokio::test]
async fn routes_are_spins() {
    let fixture = Fixture::start(CONTENT);
    let response = reqwest::get(format!("{}/tea", fixture.server.url)).await.expect("an answer");
    assert_eq!((response.status().as_u16(), &response.headers()["x-pot"]), (418, &"short".parse().unwrap()));
    assert_eq!(response.text().await.expect("text"), "stout");
    for path in ["/", "/teapot", "/prob", "/tea/cup"] {
        let response = reqwest::get(format!("{}{path}", fixture.server.url)).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn what_a_guest_does_wrong_is_its_own_loss() {
    let fixture = Fixture::start(CONTENT);
    for (component, what, status) in [("probe", "trap", 500), ("probe", "grow", 500), ("hasty", "compute", 504)] {
        let response = reqwest::get(format!("{}/{component}/{what}/-", fixture.server.url)).await.expect("an answer");
        assert_eq!(response.status(), status, "{what}");
        let text = response.text().await.expect("text");
        assert!(!text.contains("purpose"), "the cause is for the log: {text}");
        assert_eq!(fixture.probe(&format!("{component}/environment/-"), "").await, "", "served after `{what}`");
    }
    fixture.server.log.line_with(&["a trap on purpose"]);
    fixture.server.log.line_with(&["hasty", "limits.timeout"]);
    assert!(fixture.server.log.text().contains("limits.memory"), "{}", fixture.server.log.text());
}

#[tokio::test]
async fn more_requests_than_allowed_are_told_to_come_again() {
    let fixture = Fixture::start(CONTENT);
    let url = format!("{}/probe/echo", fixture.server.url);
    let mut held = Vec::new();
    for _ in 0..4 {
        let (sender, body) = live();
        sender.send(Bytes::from_static(b"held")).await.expect("room");
        held.push((sender, Client::new().post(&url).body(body).send().await.expect("an answer")));
    }
    let response = reqwest::get(&url).await.expect("an answer");
    assert_eq!(
        (response.status(), &response.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    drop(held.pop());
    crate::support::eventually("one may come again", async || {
        (reqwest::get(&url).await.expect("an answer").status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_guests_print_is_logged_with_their_name() {
    let fixture = Fixture::start(CONTENT);
    fixture.probe("probe/print/-?hello", "").await;
    let line = fixture.server.log.line_with(&["hello to stdout"]);
    assert!(line.contains("component=\"probe\""), "{line}");
    let line = fixture.server.log.line_with(&["hello to stderr"]);
    assert!(line.contains("component=\"probe\""), "{line}");
}

#[tokio::test]
async fn shutdown_lets_requests_end() {
    let fixture = Fixture::start(CONTENT);
    let (sender, body) = live();
    sender.send(Bytes::from_static(b"before")).await.expect("room");
    let url = format!("{}/probe/echo", fixture.server.url);
    let response = Client::new().post(&url).body(body).send().await.expect("an answer");
    fixture.server.terminate();
    fixture.server.log.line_with(&["Shutting down"]);
    // Nobody new is let in, and whoever is in goes on.
    crate::support::eventually("new connections are refused", async || {
        Client::new().get(&url).timeout(Duration::from_secs(5)).send().await.is_err().then_some(())
    })
    .await;
    sender.send(Bytes::from_static(b" and after")).await.expect("the request goes on");
    drop(sender);
    assert_eq!(response.text().await.expect("the whole answer"), "before and after");
    assert!(fixture.server.ended().success());
}
