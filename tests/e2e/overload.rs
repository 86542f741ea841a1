//! More than there is room for: who comes too late is told to come again, nobody is lost, and the
//! operator sees it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use reqwest::{Body, Client, StatusCode};

use crate::support::fixtures::Fixture;
use crate::support::operator::{json, metric_of};
use crate::support::{DEADLINE, eventually};

/// One component, of which two requests at a time are let in.
const TWO: &str = r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"
[component.probe]
source = "<probe>"
[component.probe.tool.tessera]
reuse = "never"
limits = { concurrency = 2, waiting = 0, timeout = "1h" }
"#;

/// As many as the host has room for.
const INSTANCES: usize = 1000;

const CROWD: &str = r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"
[component.probe]
source = "<probe>"
[component.probe.tool.tessera]
publish = ["work"]
reuse = "never"
limits = { concurrency = 2000, timeout = "1h" }

[[trigger.http]]
route = "/other/..."
component = "other"
[component.other]
source = "<wasi02>"

[component.worker]
source = "<consumer>"
key_value_stores = ["attempts"]
[component.worker.tool.tessera]
consume = [{ queue = "work", timeout = "1m", max_attempts = 1 }]
"#;

#[tokio::test]
async fn without_room_for_an_instance_requests_are_refused_and_deliveries_wait() {
    let fixture = Fixture::start(CROWD);
    let state = fixture.directory.path();
    json(state, &["queues", "pause", "worker"]);
    assert_eq!(fixture.probe("probe/publish/work", "fine").await, "ok");

    // Each connection may have 128 requests.
    let clients: Vec<_> = (0..10).map(|_| Client::builder().http2_prior_knowledge().build().unwrap()).collect();
    let hang = format!("{}/probe/hang/-", fixture.server.url);
    let mut crowd: FuturesUnordered<_> = (0..INSTANCES + 100)
        .map(|number| {
            let request = clients[number % clients.len()].get(&hang).send();
            tokio::spawn(async move { request.await.expect("an answer") })
        })
        .collect();
    for _ in 0..100 {
        let refused = tokio::time::timeout(DEADLINE, crowd.next()).await.expect("some are refused");
        let refused = refused.expect("one").expect("it runs");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(&refused.headers()["retry-after"], "1");
    }
    let other = format!("{}/other/x", fixture.server.url);
    let refused = reqwest::get(&other).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    fixture.server.log.line_with(&["no room for another instance", "probe"]);
    json(state, &["queues", "resume", "worker"]);
    fixture.server.log.line_with(&["no room for another instance", "worker"]);
    assert!(metric_of(state, "tessera_instances_exceeded_total", "probe").await >= 100.0);
    assert!(metric_of(state, "tessera_rejected_total", "probe").await >= 100.0);
    assert_eq!(metric_of(state, "tessera_instances", "probe").await, INSTANCES as f64);

    // The clients go away, and with them what they asked for.
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
    drop((crowd, clients));
    eventually("there is room again", async || {
        (reqwest::get(&other).await.expect("an answer").status() == StatusCode::OK).then_some(())
    })
    .await;
    eventually("the delivery is handled", async || {
        (metric_of(state, "tessera_deliveries_total", "worker").await == 1.0).then_some(())
    })
    .await;
    // It was its first attempt and its only one.
    assert_eq!(json(state, &["queues"])["groups"][0]["dead"], 0);
}

#[tokio::test]
async fn every_limit_is_counted() {
    let fixture = Fixture::start(
        r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"
[component.probe]
source = "<probe>"
[component.probe.tool.tessera]
reuse = "never"
limits = { memory = "16MiB", cpu_time = "100ms", request_body = "1KB", response_body = "1KB", log_rate = 1 }
[[trigger.http]]
route = "/narrow/..."
component = "narrow"
[component.narrow]
source = "<probe>"
[component.narrow.tool.tessera]
limits = { timeout = "1h", concurrency = 1, waiting = 0 }
[[trigger.http]]
route = "/hasty/..."
component = "hasty"
[component.hasty]
source = "<probe>"
[component.hasty.tool.tessera]
limits = { timeout = "1s" }
"#,
    );
    let state = fixture.directory.path();
    let url = |path: &str| format!("{}/{path}", fixture.server.url);
    let get = async |path: &str| reqwest::get(url(path)).await.expect("an answer").status().as_u16();
    assert_eq!(get("probe/compute/-").await, 500);
    assert_eq!(get("probe/allocate/-").await, 500);
    let long = Client::new().post(url("probe/environment/-")).body(vec![b'x'; 1001]);
    assert_eq!(long.send().await.expect("an answer").status(), 413);
    assert_eq!(get("probe/send/announced?1001").await, 500);
    assert_eq!(get("probe/flood/-?10").await, 200);
    let late = tokio::spawn(reqwest::get(url("narrow/hang/-")));
    eventually("it is in", async || {
        (metric_of(state, "tessera_http_requests_in_flight", "narrow").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(get("narrow/environment/-").await, 503);
    late.abort();
    assert_eq!(get("hasty/hang/-").await, 504);
    for (name, component, count) in [
        ("tessera_cpu_time_exceeded_total", "probe", 1.0),
        ("tessera_memory_exceeded_total", "probe", 1.0),
        ("tessera_request_body_exceeded_total", "probe", 1.0),
        ("tessera_response_body_exceeded_total", "probe", 1.0),
        ("tessera_timeouts_total", "hasty", 1.0),
        ("tessera_rejected_total", "narrow", 1.0),
    ] {
        assert_eq!(metric_of(state, name, component).await, count, "{name}");
    }
    // A second may end while the lines are printed, and let one more pass.
    let suppressed = async || metric_of(state, "tessera_log_lines_suppressed_total", "probe").await;
    let printed = || fixture.server.log.text().matches("of a flood").count();
    eventually("each line is logged or counted", async || {
        (suppressed().await + printed() as f64 == 10.0).then_some(())
    })
    .await;
    assert!(suppressed().await > 0.0 && printed() > 0, "{} logged", printed());
}

#[tokio::test]
async fn a_body_that_stalls_gives_its_place_back() {
    let fixture = Fixture::start(
        r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"
[component.probe]
source = "<probe>"
[component.probe.tool.tessera]
limits = { timeout = "1s", concurrency = 1, waiting = 0 }
"#,
    );
    let url = format!("{}/probe/environment/-", fixture.server.url);
    let clients = [Client::new(), Client::builder().http2_prior_knowledge().build().expect("a client")];
    for client in clients {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"and then"))]);
        let stalled = Body::wrap_stream(first.chain(futures::stream::pending()));
        let answer = tokio::time::timeout(DEADLINE, client.post(&url).body(stalled).send()).await.expect("in time");
        assert_eq!(answer.expect("an answer").status(), StatusCode::GATEWAY_TIMEOUT);
        eventually("there is room again", async || {
            (reqwest::get(&url).await.expect("an answer").status() == StatusCode::OK).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_costs_bounded_memory() {
    let fixture = Fixture::start(
        r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"
[component.probe]
source = "<probe>"
[component.probe.tool.tessera]
limits = { timeout = "1h" }
"#,
    );
    fixture.probe("probe/environment/-", "").await;
    let before = fixture.server.resident();
    let url = format!("{}/probe/send/-?1000000000", fixture.server.url);
    let clients = [Client::new(), Client::builder().http2_prior_knowledge().build().expect("a client")];
    let mut unread = Vec::new();
    for client in &clients {
        for _ in 0..4 {
            unread.push(client.get(&url).send().await.expect("an answer"));
        }
    }
    // Long enough to fill what is not bounded.
    let mut most = 0;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(fixture.server.resident());
    }
    assert!(most < before + (128 << 20), "{} MiB more", (most - before) >> 20);
    drop(unread);
}

#[tokio::test]
async fn clients_that_go_away_leave_no_instances_behind() {
    let fixture = Fixture::start(TWO);
    let state = fixture.directory.path();
    let get = |path: &str| Client::new().get(format!("{}/probe/{path}", fixture.server.url)).send();
    // Before an answer: the place stays taken until the instance is gone, which has some seconds for that.
    let hanging = [(), ()].map(|()| tokio::spawn(get("hang/-")));
    eventually("both are in", async || {
        (metric_of(state, "tessera_http_requests_in_flight", "probe").await == 2.0).then_some(())
    })
    .await;
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(get("environment/-").await.expect("an answer").status(), 503);
    eventually("the abandoned are gone", async || (get("environment/-").await.ok()?.status() == 200).then_some(()))
        .await;
    // In the middle of an answer: the instances do not know it, and are as many as may be.
    let mut most = 0.0_f64;
    let mut admitted = 0;
    let begin = Instant::now();
    for _ in 0..10 {
        let answer = get("send-and-hang/-?5").await.expect("an answer");
        admitted += usize::from(answer.status() != StatusCode::SERVICE_UNAVAILABLE);
        drop(answer);
        most = most.max(metric_of(state, "tessera_instances", "probe").await);
    }
    // Each of the two places is free again after five seconds at the earliest.
    let places = 4 + 2 * (begin.elapsed().as_secs() as usize / 5);
    assert!(most <= 4.0 && admitted <= places, "{most} instances, {admitted} admitted to {places} places");
}
