//! The queue trigger: what a consumer returns, or fails to return, decides what becomes of a message.

use std::sync::Arc;

use tessera_backends::embedded;
use tessera_capability::queue::{DeadLetter, Group};
use tessera_capability::time::SystemClock;

use crate::support::eventually;
use crate::support::fixtures::Fixture;
use crate::support::server::Launch;

const CONTENT: &str = r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"

[component.probe]
source = "<probe>"
key_value_stores = ["attempts"]
[component.probe.tool.tessera]
publish = ["work", "haste"]

[component.worker]
source = "<consumer>"
key_value_stores = ["attempts"]
[component.worker.tool.tessera]
limits = { memory = "32MiB" }
consume = [
    { queue = "work", concurrency = 4, timeout = "1h", max_attempts = 3, backoff = { first = "50ms", max = "200ms" } },
    { queue = "haste", group = "hasty", timeout = "3s", max_attempts = 3, backoff = { first = "50ms", max = "200ms" } },
]
"#;

/// What takes too long, which is for the queue with little time.
const ENDLESS: [&str; 2] = ["compute", "sleep"];

/// What each message leaves, sorted.
async fn attempts(fixture: &Fixture) -> Vec<String> {
    fixture.probe("probe/kv-list/attempts", "").await.lines().map(str::to_owned).collect()
}

async fn publish(fixture: &Fixture, bodies: &[&str]) {
    for body in bodies {
        let queue = if ENDLESS.contains(body) { "haste" } else { "work" };
        assert_eq!(fixture.probe(&format!("probe/publish/{queue}"), body).await, "ok", "{body}");
    }
}

/// Ends the server and looks at its dead letters.
async fn dead_letters(fixture: Fixture) -> Vec<DeadLetter> {
    assert!(fixture.server.stop().success());
    let data = fixture.directory.path().join("data");
    let engine = embedded::Engine::open(&data, Arc::new(SystemClock)).expect("the embedded engine");
    let broker = engine.broker();
    let mut letters = Vec::new();
    for group in ["worker", "hasty"] {
        let group: Group = group.parse().expect("a group");
        let depth = broker.depth(&group).await.expect("the group's depth");
        assert_eq!((depth.ready, depth.delayed, depth.in_flight), (0, 0, 0), "everything was settled: {depth:?}");
        letters.extend(broker.dead_letters(&group, None, 100).await.expect("dead letters").letters);
    }
    letters
}

#[tokio::test]
async fn what_is_handled_is_done() {
    let fixture = Fixture::start(CONTENT);
    publish(&fixture, &["fine", "second time"]).await;
    let expected = ["fine/1", "second time/1", "second time/2"];
    eventually("both are handled", async || (attempts(&fixture).await == expected).then_some(())).await;
    fixture.server.log.line_with(&["attempt failed: not yet", "attempt=1"]);
    assert!(dead_letters(fixture).await.is_empty());
}

#[tokio::test]
async fn what_fails_is_tried_again_and_kept_with_its_reasons() {
    let fixture = Fixture::start(CONTENT);
    let bodies = ["trap", "compute", "sleep", "grow", "retry", "discard"];
    publish(&fixture, &bodies).await;
    let mut expected: Vec<String> = bodies
        .iter()
        .flat_map(|body| (1..=if *body == "discard" { 1 } else { 3 }).map(move |attempt| format!("{body}/{attempt}")))
        .collect();
    expected.sort();
    eventually("all attempts are made", async || (attempts(&fixture).await == expected).then_some(())).await;
    // The last attempts end too.
    for reason in ["trap: ", "no answer within 3s", "limits.memory", "come again"] {
        fixture.server.log.line_with(&["attempt failed", reason, "attempt=3"]);
    }
    fixture.server.log.line_with(&["given up: not wanted", "attempt=1"]);
    let timeouts = || fixture.server.log.text().matches("no answer within 3s").count();
    eventually("both time out for good", async || (timeouts() == 6).then_some(())).await;

    let letters = dead_letters(fixture).await;
    assert_eq!(letters.len(), bodies.len(), "{letters:?}");
    for (body, reason) in [
        ("trap", "trap: "),
        ("compute", "no answer within 3s"),
        ("sleep", "no answer within 3s"),
        ("grow", "limits.memory"),
        ("retry", "come again"),
        ("discard", "not wanted"),
    ] {
        let letter = letters.iter().find(|letter| letter.message.body == body).unwrap_or_else(|| panic!("{body}"));
        assert!(letter.reason.contains(reason), "{letter:?}");
        assert_eq!(letter.history.len(), if body == "discard" { 1 } else { 3 }, "{letter:?}");
        assert!(letter.history.iter().all(|failure| failure.reason.contains(reason)), "{letter:?}");
    }
}

#[tokio::test]
async fn what_was_in_flight_at_a_crash_comes_again() {
    let fixture = Fixture::start(CONTENT);
    publish(&fixture, &["sleep", "fine"]).await;
    let second = "sleep/2".to_owned();
    eventually("the second attempt runs", async || attempts(&fixture).await.contains(&second).then_some(())).await;
    let Fixture { server, directory } = fixture;
    server.kill();
    let server = Launch::manifest(&directory.path().join("spin.toml")).start(directory.path());
    let fixture = Fixture { server, directory };
    fixture.server.log.line_with(&["attempt failed: no answer within 3s", "attempt=3"]);
    assert_eq!(attempts(&fixture).await, ["fine/1", "sleep/1", "sleep/2", "sleep/3"]);
    assert_eq!(dead_letters(fixture).await.len(), 1);
}
