//! What a component may have too much of, and what becomes of it then: its own loss, said in the log
//! with the limit's name, and nobody else's.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::{Client, Response, StatusCode};
use tokio::sync::mpsc;

use crate::support::client::live;
use crate::support::fixtures::Fixture;
use crate::support::operator::metric_of;
use crate::support::{DEADLINE, eventually};

/// A component at `/probe/…` with these limits, and one at `/other/…` with none of its own.
fn start(tessera: &str) -> Fixture {
    Fixture::start(&format!(
        r##"
[[trigger.http]]
route = "/probe/..."
component = "probe"
[component.probe]
source = "<probe>"
key_value_stores = ["shelf"]
allowed_outbound_hosts = ["http://127.0.0.1:*"]
[component.probe.tool.tessera]
blob_stores = {{ box = "read-write" }}
publish = ["work"]
mail = true
{tessera}

[[trigger.http]]
route = "/other/..."
component = "other"
[component.other]
source = "<probe>"

[component.sink]
source = "<consumer>"
key_value_stores = ["attempts"]
[component.sink.tool.tessera]
limits = {{ cpu_time = "200ms" }}
consume = [{{ queue = "work", timeout = "1m", max_attempts = 1 }}]
"##
    ))
}

async fn get(fixture: &Fixture, path: &str) -> Response {
    let url = format!("{}/{path}", fixture.server.url);
    tokio::time::timeout(DEADLINE, reqwest::get(url)).await.expect("in time").expect("an answer")
}

async fn status_and_text(fixture: &Fixture, path: &str) -> (u16, String) {
    let response = get(fixture, path).await;
    (response.status().as_u16(), response.text().await.expect("text"))
}

#[tokio::test]
async fn a_busy_loop_ends_with_its_cpu_time() {
    let fixture = start(r#"limits = { cpu_time = "300ms", timeout = "60s" }"#);
    let begin = Instant::now();
    let (status, text) = status_and_text(&fixture, "probe/compute/-").await;
    assert_eq!((status, text.as_str()), (500, "the component failed\n"));
    assert!(begin.elapsed() < Duration::from_secs(30), "long before the timeout");
    let line = fixture.server.log.line_with(&["computed for more than 300ms"]);
    assert!(line.contains("limits.cpu_time") && line.contains("[component.probe.tool.tessera]"), "{line}");
    // What waits does not compute, however long it takes, and each request has its own time.
    for _ in 0..4 {
        assert_eq!(fixture.probe("probe/compute-for/-?120", "").await, "ok");
    }
}

#[tokio::test]
async fn a_delivery_that_computes_for_too_long_is_given_up() {
    let fixture = start("");
    assert_eq!(fixture.probe("probe/publish/work", "compute").await, "ok");
    fixture.server.log.line_with(&["attempt failed", "limits.cpu_time", "component.sink.tool.tessera"]);
}

#[tokio::test]
async fn what_computes_does_so_on_threads_of_its_own() {
    let fixture = start(r#"limits = { cpu_time = "200ms" }"#);
    // A delivery goes there as it is.
    assert_eq!(fixture.probe("probe/publish/work", "compute").await, "ok");
    fixture.server.log.line_with(&["attempt failed", "limits.cpu_time"]);
    let by_delivery = fixture.server.computed_by("computing");
    assert!(by_delivery >= 15, "of 200 ms it computed {by_delivery}0 ms there");
    // So does the next request for HTTP, in another instance, when it is known that the component computes.
    assert_eq!(fixture.probe("probe/compute-for/-?120", "").await, "ok");
    assert_eq!(status_and_text(&fixture, "probe/compute/-").await.0, 500);
    let by_requests = fixture.server.computed_by("computing") - by_delivery;
    assert!(by_requests >= 15, "of 200 ms they computed {by_requests}0 ms there");
}

#[tokio::test]
async fn a_request_body_over_its_limit_is_refused_before_or_midway() {
    let fixture = start(r#"limits = { request_body = "1KB" }"#);
    let url = format!("{}/probe/kv-set/shelf", fixture.server.url);
    for (length, status) in [(1000, StatusCode::OK), (1001, StatusCode::PAYLOAD_TOO_LARGE)] {
        let response = Client::new().post(&url).body(vec![b'x'; length]).send().await.expect("an answer");
        assert_eq!(response.status(), status, "{length} announced bytes");
    }
    let (sender, body) = live();
    let request = tokio::spawn(Client::new().post(&url).body(body).send());
    for _ in 0..11 {
        // The server stops reading once it has answered.
        _ = sender.send(Bytes::from_static(&[b'x'; 100])).await;
    }
    drop(sender);
    let response = request.await.expect("it runs").expect("an answer");
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "1100 bytes in chunks");
    fixture.server.log.line_with(&["limits.request_body"]);
    // What was sent before still is: nothing longer was stored.
    let (sender, body) = live();
    let request = tokio::spawn(Client::new().post(&url).body(body).send());
    for _ in 0..10 {
        sender.send(Bytes::from_static(&[b'x'; 100])).await.expect("room");
    }
    drop(sender);
    assert_eq!(request.await.expect("it runs").expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_response_body_over_its_limit_is_refused_or_cut() {
    let fixture = start(r#"limits = { response_body = "100KiB" }"#);
    let whole = get(&fixture, "probe/send/-?102400").await;
    assert_eq!(whole.bytes().await.expect("all of it").len(), 102_400);
    let (status, text) = status_and_text(&fixture, "probe/send/announced?102401").await;
    assert_eq!((status, text.as_str()), (500, "the answer is too large\n"));
    // Whether the header gets out before the connection is cut is a race; the answer never looks complete.
    let url = format!("{}/probe/send/-?1000000", fixture.server.url);
    let cut = async { reqwest::get(url).await?.bytes().await };
    assert!(cut.await.is_err(), "a body that was cut does not look complete");
    fixture.server.log.line_with(&["the response was cut off", "limits.response_body"]);
}

#[tokio::test]
async fn who_finds_all_permits_taken_waits_and_then_is_told_to_come_again() {
    let fixture = start("limits = { concurrency = 1, waiting = 1 }");
    let held = get(&fixture, "probe/send-and-hang/-").await;
    let url = format!("{}/probe/environment/-", fixture.server.url);
    let waiting = tokio::spawn(async move {
        loop {
            let answer = reqwest::get(&url).await.expect("an answer");
            // The third may have come to wait before it; that one soon gives up.
            if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    // As soon as the other one waits, there is no room for a third.
    let refused = eventually("one waits", async || {
        let request = tokio::time::timeout(Duration::from_millis(300), get(&fixture, "probe/environment/-"));
        request.await.ok()
    })
    .await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(&refused.headers()["retry-after"], "1");
    fixture.server.log.line_with(&["requests are refused", "limits.waiting"]);
    assert!(!waiting.is_finished());
    assert_eq!(get(&fixture, "other/environment/-").await.status(), StatusCode::OK, "others have their own");
    drop(held);
    assert_eq!(waiting.await.expect("it runs").status(), StatusCode::OK);
}

#[tokio::test]
async fn an_instance_that_traps_tells_all_its_requests() {
    let fixture = start("reuse = { requests = 100, concurrent = 10 }");
    let url = |path: &str| format!("{}/probe/{path}", fixture.server.url);
    let streaming = get(&fixture, "probe/send-and-hang/-?5").await;
    let waiting = tokio::spawn(reqwest::get(url("hang/-")));
    // Both are given to the instance before the third comes.
    let state = fixture.directory.path();
    eventually("both are in", async || {
        (metric_of(state, "tessera_http_requests_in_flight", "probe").await == 2.0).then_some(())
    })
    .await;
    let (status, text) = status_and_text(&fixture, "probe/trap/-").await;
    assert_eq!(status, 500);
    assert!(text.contains("several requests shared its instance"), "{text}");
    let waiting = waiting.await.expect("it runs").expect("an answer");
    assert_eq!(waiting.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let text = waiting.text().await.expect("text");
    assert!(text.contains("several requests shared its instance"), "{text}");
    let chunks: Vec<_> = streaming.bytes_stream().collect().await;
    assert!(chunks.last().is_some_and(Result::is_err), "what was sent is not complete: {chunks:?}");
    fixture.server.log.line_with(&["component=\"probe\"", "requests=3"]);
    assert!(fixture.server.log.text().contains("fixture_probe::"), "the backtrace has the functions' names");
    assert_eq!(fixture.probe("probe/environment/-", "").await, "", "and the next one is served");
}

#[tokio::test]
async fn an_instance_for_each_request_fails_alone() {
    let fixture = start(r#"reuse = "never""#);
    let streaming = get(&fixture, "probe/send-and-hang/-?5").await;
    assert_eq!(status_and_text(&fixture, "probe/trap/-").await, (500, "the component failed\n".to_owned()));
    let mut chunks = streaming.bytes_stream();
    assert_eq!(chunks.next().await.expect("a chunk").expect("a chunk"), "xxxxx");
    let more = tokio::time::timeout(Duration::from_millis(300), chunks.next()).await;
    assert!(more.is_err(), "it still streams: {more:?}");
}

#[tokio::test]
async fn streams_and_blobs_have_an_end() {
    let fixture = start("limits = { resources = 200 }");
    assert_eq!(fixture.probe("probe/streams/-?50", "").await, "50");
    let (status, _) = status_and_text(&fixture, "probe/streams/-?100000").await;
    assert_eq!(status, 500);
    fixture.server.log.line_with(&["too many resources, streams and futures", "limits.resources"]);
    assert_eq!(fixture.probe("probe/blob-put/box", &"x".repeat(1 << 20)).await, "ok");
    let opened = fixture.probe("probe/open-blobs/box?1000", "").await;
    assert!(opened.starts_with("25 then Error::Unavailable"), "{opened}");
    fixture.server.log.line_with(&["too many blobs are open", "limits.resources"]);
    assert_eq!(fixture.probe("probe/open-blobs/box?20", "").await, "20", "what was dropped is free again");
    // The instance, and the blob that was one too many.
    let exceeded = metric_of(fixture.directory.path(), "tessera_resources_exceeded_total", "probe").await;
    assert_eq!(exceeded, 2.0);
}

#[tokio::test]
async fn outgoing_requests_wait_for_one_another() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, mut arrived) = mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            sender.send(connection).await.expect("the test waits");
        }
    });
    let fixture = start("limits = { connections = 2 }");
    let url = format!("{}/probe/http/-?http://127.0.0.1:{port}/", fixture.server.url);
    let requests: Vec<_> = (0..3).map(|_| tokio::spawn(reqwest::get(url.clone()))).collect();
    let mut first = [arrived.recv().await.expect("one"), arrived.recv().await.expect("two")];
    let third = tokio::time::timeout(Duration::from_millis(500), arrived.recv()).await;
    assert!(third.is_err(), "the third waits");
    let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    _ = first[0].read(&mut [0; 4096]).await;
    first[0].write_all(answer).await.expect("room");
    let mut third = arrived.recv().await.expect("its turn");
    for connection in [&mut first[1], &mut third] {
        _ = connection.read(&mut [0; 4096]).await;
        connection.write_all(answer).await.expect("room");
    }
    for request in requests {
        let text = request.await.expect("it runs").expect("an answer").text().await.expect("text");
        assert!(text.starts_with("204"), "{text}");
    }
}

#[tokio::test]
async fn a_flood_of_lines_is_suppressed_and_counted() {
    let fixture = start("limits = { log_rate = 20 }");
    assert_eq!(fixture.probe("probe/flood/-?5000", "").await, "ok");
    let line = fixture.server.log.line_with(&["lines suppressed", "limits.log_rate", "component=\"probe\""]);
    assert!(line.contains("more than 20 in a second"), "{line}");
    let printed = fixture.server.log.text().matches("of a flood").count();
    assert!((20..400).contains(&printed), "{printed}");
    fixture.probe("other/print/-?hello", "").await;
    fixture.server.log.line_with(&["hello to stdout"]);
}
