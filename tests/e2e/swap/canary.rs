//! Canaries: their share, and what becomes of them.

use futures::future::join_all;
use serde_json::json;

use super::{CONTENT, INITIAL, hash};
use crate::support::eventually;
use crate::support::fixtures::Fixture;
use crate::support::operator::{self, refused};

/// Asks so often, and answers how often which version did. Failures count.
async fn ask(fixture: &Fixture, times: usize, version: &str) -> usize {
    let client = reqwest::Client::new();
    let mut count = 0;
    for _ in 0..times {
        let answer = client.get(format!("{}/probe/version/-", fixture.server.url)).send().await.expect("an answer");
        count += usize::from(answer.text().await.expect("text") == version);
    }
    count
}

/// Asks, so often at a time, until the canary has come to its end, and answers what that is and why.
async fn end(fixture: &Fixture, times: usize) -> (String, String) {
    eventually("the canary ends", async || {
        join_all((0..times).map(|_| ask(fixture, 1, INITIAL))).await;
        let history = operator::json(fixture.root(), &["history", "probe"]);
        let last = history["entries"].as_array().expect("a list").last().expect("an entry").clone();
        let action = last["action"].as_str().expect("an action").to_owned();
        (action != "canary").then(|| (action, last["note"].as_str().unwrap_or_default().to_owned()))
    })
    .await
}

#[tokio::test]
async fn it_has_its_share() {
    let fixture = Fixture::start(CONTENT);
    let answer = fixture.swap_to("probe", "probe", "version-two", &["--canary", "10%", "--window", "1h"]);
    assert_eq!(answer["canary"], json!({"percent": 10, "window_seconds": 3600}));
    assert_eq!(ask(&fixture, 200, "version-two").await, 20);
    assert_eq!(fixture.roles("probe"), ["serving", "canary"]);
    // One at a time, and nothing else meanwhile.
    let file = fixture.root().join("probe-version-two.wasm");
    let again = ["swap", "probe", file.to_str().expect("UTF-8")];
    assert!(refused(fixture.root(), &again).contains("has a canary"));
    assert!(refused(fixture.root(), &["reload"]).contains("has a canary"));
}

#[tokio::test]
async fn it_is_promoted_when_it_is_as_good() {
    let fixture = Fixture::start(CONTENT);
    let answer = fixture.swap_to("probe", "probe", "version-two", &["--canary", "10%", "--window", "3s"]);
    // So few that a busy machine, which makes some requests slow, says nothing about latency.
    ask(&fixture, 100, INITIAL).await;
    let (action, note) = end(&fixture, 0).await;
    assert_eq!(action, "promote", "{note}");
    assert!(note.starts_with("0 of "), "{note}");
    assert_eq!(ask(&fixture, 20, "version-two").await, 20);
    let (new, old) = (hash(&answer, "hash"), hash(&answer, "previous"));
    let steps = ["start", "canary", "promote"].map(str::to_owned);
    let [start, canary, promote] = steps;
    assert_eq!(
        fixture.done("probe"),
        [(start, old.clone(), String::new()), (canary, new.clone(), old.clone()), (promote, new, old)]
    );
    eventually("the old one is dropped", async || (fixture.roles("probe") == ["serving"]).then_some(())).await;
    assert_eq!(operator::json(fixture.root(), &["rollback", "probe"])["hash"], answer["previous"]);
    assert_eq!(fixture.version().await, INITIAL);
}

#[tokio::test]
async fn it_is_returned_at_once_when_it_fails() {
    let fixture = Fixture::start(CONTENT);
    fixture.swap_to("probe", "probe", "failing-one", &["--canary", "50%", "--window", "1h"]);
    // Long before its window's end.
    let (action, note) = end(&fixture, 10).await;
    assert_eq!(action, "return", "{note}");
    assert!(note.starts_with("its error rate is worse: "), "{note}");
    assert_eq!(ask(&fixture, 50, INITIAL).await, 50);
    eventually("it is dropped", async || (fixture.roles("probe") == ["serving"]).then_some(())).await;
    // It was never put in place, so there is nothing to go back to.
    assert!(refused(fixture.root(), &["rollback", "probe"]).contains("nothing to go back to"));
}

#[tokio::test]
async fn it_is_returned_when_it_is_slower() {
    let fixture = Fixture::start(CONTENT);
    fixture.swap_to("probe", "probe", "slow-answer", &["--canary", "50%", "--window", "1h"]);
    let (action, note) = end(&fixture, 40).await;
    assert_eq!(action, "return", "{note}");
    assert!(note.starts_with("its latency is worse: "), "{note}");
    assert_eq!(ask(&fixture, 50, INITIAL).await, 50);
}

#[tokio::test]
async fn it_is_taken_back_by_hand_and_by_a_restart() {
    let fixture = Fixture::start(CONTENT);
    let canary = ["--canary", "50%", "--window", "10m"];
    fixture.swap_to("probe", "probe", "version-two", &canary);
    operator::json(fixture.root(), &["rollback", "probe"]);
    assert_eq!(ask(&fixture, 20, INITIAL).await, 20);
    fixture.swap_to("probe", "probe", "version-3rd", &canary);
    assert_eq!(ask(&fixture, 20, INITIAL).await, 10);
    let Fixture { server, directory } = fixture;
    server.kill();
    let server = crate::support::server::Launch::manifest(&directory.path().join("spin.toml")).start(directory.path());
    let fixture = Fixture { server, directory };
    assert_eq!(ask(&fixture, 20, INITIAL).await, 20);
    let actions: Vec<_> = fixture.done("probe").into_iter().map(|(action, ..)| action).collect();
    assert_eq!(actions, ["start", "canary", "return", "canary", "return"]);
}

#[tokio::test]
async fn deliveries_are_shared_too() {
    let fixture = Fixture::start(CONTENT);
    fixture.swap_to("worker", "consumer", "version-two", &["--canary", "50%", "--window", "10m"]);
    assert_eq!(fixture.probe("probe/kv-set/attempts", "open").await, "ok");
    for number in 0..20 {
        assert_eq!(fixture.probe("probe/publish/work", &format!("wait for {number:02}")).await, "ok");
    }
    let done = eventually("all are done", async || {
        let keys = fixture.probe("probe/kv-list/attempts", "").await;
        let done: Vec<_> = keys.lines().filter(|key| key.contains(" by ")).map(str::to_owned).collect();
        (done.len() == 20).then_some(done)
    });
    let done = done.await;
    assert_eq!(done.iter().filter(|key| key.ends_with("version-two")).count(), 10, "{done:?}");
}
