//! One request from HTTP to the mail: its ids in headers, in the log and in what a collector gets.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::client::Visitor;
use crate::support::fixtures::{Fixture, manifest};
use crate::support::server::{Launch, binary};
use crate::support::{eventually, mail, media, operator, otlp};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Paths, and bodies as they came.
type Received = Arc<Mutex<Vec<(String, Bytes)>>>;

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
                    messages.lock().unwrap().push((path, body));
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (received, url)
}

/// What a collector would take of what came so far; it would take all of it.
fn messages(received: &Received) -> Vec<(String, Value)> {
    let received = received.lock().unwrap().clone();
    let check = |(path, body): (String, Bytes)| {
        otlp::check(&path, &body);
        (path, serde_json::from_slice(&body).unwrap())
    };
    received.into_iter().map(check).collect()
}

fn spans(received: &Received) -> Vec<Value> {
    let messages = messages(received);
    let traces = messages.iter().filter(|(path, _)| path == "/v1/traces");
    let spans = traces.flat_map(|(_, message)| message["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array());
    spans.flatten().filter(|span| span["traceId"] == TRACE).cloned().collect()
}

/// The latest point of the histogram of a component's work, once there was some.
fn duration(received: &Received, component: &str, work: &str) -> Option<Value> {
    let messages = messages(received);
    let (_, message) = messages.iter().rfind(|(path, _)| path == "/v1/metrics")?;
    let metrics = message["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array()?;
    let metric = metrics.iter().find(|metric| metric["name"] == "tessera.work.duration")?;
    let has = |point: &Value, value: &str| {
        point["attributes"].as_array().unwrap().iter().any(|attribute| attribute["value"]["stringValue"] == value)
    };
    let mut points = metric["histogram"]["dataPoints"].as_array()?.iter();
    points.find(|point| has(point, component) && has(point, work) && point["count"] != "0").cloned()
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
        let messages = messages(&received);
        let text = messages.iter().filter(|(path, _)| path == "/v1/metrics").map(|(_, message)| message.to_string());
        text.into_iter().any(|text| text.contains("tessera.work.ended") && text.contains("converter")).then_some(())
    })
    .await;
    // How long the one delivery to the converter took is in one bucket of its histogram.
    let point =
        eventually("the histogram has the delivery", async || duration(&received, "converter", "delivery")).await;
    let buckets: Vec<u64> = point["bucketCounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|count| count.as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(buckets.len(), point["explicitBounds"].as_array().unwrap().len() + 1);
    assert_eq!((buckets.iter().sum::<u64>(), point["count"].as_str()), (1, Some("1")), "{point}");
    assert!(point["sum"].as_f64().unwrap() > 0.0, "{point}");
}

#[tokio::test]
async fn the_trace_goes_out_with_requests() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = connection.read(&mut request).await.unwrap();
        connection.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
        String::from_utf8(request[..length].to_vec()).unwrap().to_lowercase()
    });
    // The destination is granted by way of a variable.
    let fixture = Fixture::start(&format!(
        "[variables]\nupstream = {{ default = \"{upstream}\" }}\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"<probe>\"\n\
         allowed_outbound_hosts = [\"http://{{{{ upstream }}}}\"]\n"
    ));
    let request = reqwest::Client::new().get(format!("{}/x/http/-?http://{upstream}/", fixture.server.url));
    let request = request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let request = request.header("tracestate", "vendor=value").header("x-request-id", "from-the-client");
    assert!(request.send().await.unwrap().text().await.unwrap().starts_with("204"));
    let sent = served.await.unwrap();
    for header in
        [&format!("traceparent: 00-{TRACE}-"), "tracestate: vendor=value\r", "x-request-id: from-the-client\r"]
    {
        assert!(sent.contains(header), "{header} is not in {sent}");
    }
    // A port that the variable does not name stays closed.
    let other = fixture.probe(&format!("x/http/-?http://127.0.0.1:{}/", upstream.port() ^ 1), "").await;
    assert!(other.contains("HttpRequestDenied"), "{other}");
}

#[tokio::test]
async fn away_from_a_terminal_each_line_is_json() {
    let directory = tempfile::tempdir().unwrap();
    let content =
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"<probe>\"\n";
    let mut child = Command::new(binary())
        .args(["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--from"])
        .arg(manifest(directory.path(), content))
        .env_remove("TESSERA_LOG_FORMAT")
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let url = output.find_map(|line| line.strip_prefix("Serving ").map(str::to_owned)).expect("it serves");
    let request = reqwest::Client::new().get(format!("{url}/x/print/-?hello")).header("x-request-id", "mine");
    let request = request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut lines =
        lines.map(|line| serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let line = lines.find(|line| line["message"] == "hello to stderr").expect("what the component printed");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((&line["level"], &line["component"]), (&"WARN".into(), &"probe".into()), "{line}");
    assert_eq!((&line["request_id"], &line["trace_id"]), (&"mine".into(), &TRACE.into()), "{line}");
    assert!(line["timestamp"].is_string() && line["target"].is_string(), "{line}");
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
    for number in 1..=20 {
        let id = &format!("mine-{number}-");
        assert_eq!(get(&format!("print/-?{id}"), id).await.unwrap().status(), 200);
        for output in ["stdout", "stderr"] {
            let line = fixture.server.log.line_with(&[&format!("{id} to {output}")]);
            assert!(line.contains(&format!("request_id={id} trace_id={TRACE}")), "{line}");
        }
    }
    assert!(operator::metric_of(state, "tessera_instances_created_total", "probe").await < 20.0, "some shared one");
    let lines = operator::text(state, &["logs", "probe", "--json"]);
    let line = lines.lines().find(|line| line.contains("mine-2- to stdout")).expect("the line");
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["fields"]["request_id"], &line["fields"]["trace_id"]), (&"mine-2-".into(), &TRACE.into()));
    others.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn operations_on_stores_are_counted_by_what_came_of_them() {
    let fixture = Fixture::start(
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"<probe>\"\n\
         key_value_stores = [\"shelf\"]\n[component.probe.tool.tessera]\nblob_stores = { box = \"read-write\" }\n",
    );
    for (path, answer) in [
        ("kv-set/shelf", "ok"),
        ("kv-get/shelf", "ok"),
        ("kv-get/shelf", "ok"),
        ("blob-head/box", "NotFound"),
        ("blob-put/box", "ok"),
        ("blob-delete/box", "ok"),
    ] {
        assert_eq!(fixture.probe(&format!("x/{path}"), "content").await, answer, "{path}");
    }
    let text = operator::metrics(fixture.directory.path()).await;
    let count = |kind: &str, store: &str, operation: &str, outcome: &str| {
        let labels = format!("kind=\"{kind}\",store=\"{store}\",operation=\"{operation}\",outcome=\"{outcome}\"}}");
        let line =
            text.lines().find(|line| line.starts_with("tessera_store_operations_total") && line.contains(&labels));
        line.unwrap_or_else(|| panic!("{labels}: {text}")).rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!((count("key_value", "shelf", "get", "ok"), count("key_value", "shelf", "commit", "ok")), (2, 1));
    assert_eq!((count("blob", "box", "head", "refused"), count("blob", "box", "head", "ok")), (1, 0));
    assert_eq!((count("blob", "box", "put", "ok"), count("blob", "box", "delete", "ok")), (1, 1));
}

#[tokio::test]
async fn what_operators_do_is_counted_by_what_came_of_it() {
    let fixture = Fixture::start(
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"<probe>\"\n",
    );
    let state = fixture.directory.path();
    let other = crate::support::fixtures::wasm("spin7");
    let broken = state.join("broken.wasm");
    std::fs::write(&broken, "nothing").unwrap();
    operator::refused(state, &["swap", "probe", broken.to_str().unwrap()]);
    operator::json(state, &["swap", "probe", other.to_str().unwrap()]);
    operator::json(state, &["rollback", "probe"]);
    operator::json(state, &["swap", "probe", other.to_str().unwrap(), "--canary", "10%"]);
    operator::json(state, &["rollback", "probe"]);
    operator::json(state, &["reload"]);
    let text = operator::metrics(state).await;
    for (action, result, count) in [
        ("swap", "ok", 2.0),
        ("swap", "refused", 1.0),
        ("rollback", "ok", 2.0),
        ("canary", "returned", 1.0),
        ("canary", "promoted", 0.0),
        ("reload", "ok", 1.0),
        ("reload", "refused", 0.0),
    ] {
        let start = format!("tessera_changes_total{{action=\"{action}\",result=\"{result}\"}}");
        assert_eq!(operator::metric(&text, &start), count, "{start}");
    }
}
