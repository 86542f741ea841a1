//! Consumers come and go; their messages stay.

use super::{INITIAL, PROBE, WORKER};
use crate::support::eventually;
use crate::support::fixtures::Fixture;
use crate::support::operator;

impl Fixture {
    async fn attempts(&self) -> Vec<String> {
        self.probe("probe/kv-list/attempts", "").await.lines().map(str::to_owned).collect()
    }

    async fn attempted(&self, what: &str) {
        eventually(what, async || self.attempts().await.iter().any(|key| key == what).then_some(())).await;
    }
}

fn ready(fixture: &Fixture) -> u64 {
    let queues = operator::json(fixture.root(), &["queues"]);
    let groups = queues["groups"].as_array().expect("a list").iter();
    let mut workers = groups.filter(|group| group["group"] == "workers");
    workers.next().expect("the group")["ready"].as_u64().expect("a number")
}

#[tokio::test]
async fn they_end_what_they_have_and_their_messages_wait() {
    let producer =
        PROBE.to_owned() + "key_value_stores = [\"attempts\"]\n[component.probe.tool.tessera]\npublish = [\"work\"]\n";
    let fixture = Fixture::start(&producer);
    let publish = async |body: &'static str| fixture.probe("probe/publish/work", body).await;
    assert_eq!(publish("early").await, "NotFound");
    let both = producer.clone() + WORKER;
    assert_eq!(fixture.apply(&both), ["component `worker` added"]);
    assert_eq!(publish("wait for one").await, "ok");
    fixture.attempted("wait for one/1").await;

    // It goes, but ends what it has, though its component is gone; then nobody receives.
    assert_eq!(fixture.apply(&producer), ["component `worker` removed"]);
    assert_eq!(fixture.roles("worker"), ["ending"]);
    assert_eq!(fixture.probe("probe/kv-set/attempts", "open").await, "ok");
    fixture.attempted(&format!("wait for one/1 by {INITIAL}")).await;
    eventually("it is dropped", async || fixture.roles("worker").is_empty().then_some(())).await;
    assert_eq!(publish("nobody").await, "NotFound");

    // What it had not received waits for it to come back.
    assert_eq!(fixture.apply(&both), ["component `worker` added"]);
    operator::text(fixture.root(), &["queues", "pause", "workers"]);
    for body in ["a", "b"] {
        assert_eq!(publish(body).await, "ok");
    }
    fixture.apply(&producer);
    let changed = both.replace("timeout = \"60s\"", "timeout = \"50s\", concurrency = 3");
    assert_eq!(fixture.apply(&changed), ["component `worker` added"]);
    assert_eq!(ready(&fixture), 2, "still paused");
    operator::text(fixture.root(), &["queues", "resume", "workers"]);
    for key in ["a/1", "b/1"] {
        fixture.attempted(key).await;
    }
    assert_eq!(fixture.apply(&both), ["component `worker`: consume changed"]);
    assert_eq!(publish("c").await, "ok");
    fixture.attempted("c/1").await;
    let keys = fixture.attempts().await;
    assert!(!keys.iter().any(|key| key.contains("/2")), "nothing was delivered twice: {keys:?}");
}
