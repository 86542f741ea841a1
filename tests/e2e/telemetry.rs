//! One request from HTTP to the mail: its ids in headers, in the log and in what a collector gets.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::client::Visitor;
use crate::support::fixtures::Fixture;
use crate::support::server::Launch;
use crate::support::{eventually, mail, media, operator};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

type Received = Arc<Mutex<Vec<(String, Value)>>>;

/// A receiver of OTLP over HTTP, and where it is.
async fn collector() -> (Received, String) {
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let messages = Arc::clone(&received);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let messages = Arc::clone(&messages);
            let service = service_fn(move |request: Request<Incoming>| {
                let messages = Arc::clone(&messages);
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    messages.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (received, url)
}

fn spans(received: &Received) -> Vec<Value> {
    let messages = received.lock().unwrap();
    let traces = messages.iter().filter(|(path, _)| path == "/v1/traces");
    let spans = traces.flat_map(|(_, message)| message["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array());
    spans.flatten().filter(|span| span["traceId"] == TRACE).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_from_the_upload_to_the_mail() {
    let (received, url) = collector().await;
    let state = tempfile::tempdir().unwrap();
    let config = state.path().join("runtime-config.toml");
    std::fs::write(&config, format!("[telemetry]\nendpoint = \"{url}\"\ninterval = \"1s\"\n")).unwrap();
    let launch = Launch::application().argument("--runtime-config-file").argument(config.to_str().unwrap());
    let server = launch.start(state.path());
    let user = Visitor::of(&server).user().await;
    let request = user.request(reqwest::Method::POST, "/upload").query(&[("filename", "short.wav")]);
    let request = request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let request = request.header("x-request-id", "from-the-client").header("content-type", "audio/wav");
    let response = request.body(std::fs::read(media::short()).unwrap()).send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "from-the-client");
    let id = crate::support::client::accepted(response).await;
    mail::arrived(state.path(), &id).await;
    let line = server.log.line_with(&["mail", "request_id=from-the-client"]);
    assert!(line.contains(&format!("trace_id={TRACE}")), "{line}");

    let wanted = ["POST", "process video", "process mp3", "send mail", "kv commit", "blob put"];
    eventually("all spans arrive", async || {
        let names: BTreeSet<_> =
            spans(&received).iter().map(|span| span["name"].as_str().unwrap().to_owned()).collect();
        wanted.iter().all(|name| names.contains(*name)).then_some(())
    })
    .await;
    let spans = spans(&received);
    let root = spans.iter().find(|span| span["name"] == "POST").unwrap();
    assert_eq!((&root["parentSpanId"], &root["kind"]), (&"00f067aa0ba902b7".into(), &2.into()));
    // Every other span hangs, in the end, below the request.
    let ids: BTreeSet<_> = spans.iter().map(|span| span["spanId"].as_str().unwrap()).collect();
    let below = spans.iter().filter(|span| ids.contains(span["parentSpanId"].as_str().unwrap())).count();
    assert!(below + 1 >= spans.len(), "{spans:#?}");
    eventually("metrics arrive", async || {
        let messages = received.lock().unwrap();
        let text = messages.iter().filter(|(path, _)| path == "/v1/metrics").map(|(_, message)| message.to_string());
        text.into_iter().any(|text| text.contains("tessera.work.ended") && text.contains("converter")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_components_print_bears_the_ids_of_their_request() {
    let fixture = Fixture::start(
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"<probe>\"\n\
         [component.probe.tool.tessera]\nreuse = { requests = 100, concurrent = 10 }\n",
    );
    let get = |path: &str, id: &str| {
        let request = reqwest::Client::new().get(format!("{}/probe/{path}", fixture.server.url));
        request.header("x-request-id", id).header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01")).send()
    };
    // Others are in the same instance meanwhile.
    let others = ["other-1", "other-2"].map(|id| tokio::spawn(get("hang/-", id)));
    let state = fixture.directory.path();
    eventually("the others are in", async || {
        (operator::metric_of(state, "tessera_http_requests_in_flight", "probe").await == 2.0).then_some(())
    })
    .await;
    for id in ["mine-1", "mine-2"] {
        assert_eq!(get(&format!("print/-?{id}"), id).await.unwrap().status(), 200);
        for output in ["stdout", "stderr"] {
            let line = fixture.server.log.line_with(&[&format!("{id} to {output}")]);
            assert!(line.contains(&format!("request_id={id} trace_id={TRACE}")), "{line}");
        }
    }
    assert!(operator::metric_of(state, "tessera_instances_created_total", "probe").await <= 2.0, "they shared them");
    let lines = operator::text(state, &["logs", "probe", "--json"]);
    let line = lines.lines().find(|line| line.contains("mine-2 to stdout")).expect("the line");
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["fields"]["request_id"], &line["fields"]["trace_id"]), (&"mine-2".into(), &TRACE.into()));
    others.iter().for_each(tokio::task::JoinHandle::abort);
}
