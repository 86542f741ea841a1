//! Administration: the verbs as an operator runs them against a running application, and what its
//! clients may and may not do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::fixtures::{Fixture, manifest};
use crate::support::operator::{self, api, json, metric, refused, request, run, text, token};
use crate::support::server::{Launch, Server, binary};
use crate::support::{eventually, workspace};

const CONTENT: &str = r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"

[component.probe]
source = "<probe>"
key_value_stores = ["attempts"]
[component.probe.tool.tessera]
publish = ["work"]
mail = true

[component.worker]
source = "<consumer>"
key_value_stores = ["attempts"]
[component.worker.tool.tessera]
consume = [{ queue = "work", timeout = "20s", max_attempts = 1 }]
"#;

impl Fixture {
    fn state(&self) -> &Path {
        self.directory.path()
    }

    fn component(&self, id: &str) -> Value {
        operator::component(self.state(), id)
    }

    fn group(&self, name: &str) -> Value {
        let queues = json(self.state(), &["queues"]);
        let groups = queues["groups"].as_array().expect("a list");
        groups.iter().find(|group| group["group"] == name).expect("the group").clone()
    }

    async fn status_of(&self, path: &str) -> StatusCode {
        reqwest::Client::new().post(format!("{}/{path}", self.server.url)).send().await.expect("an answer").status()
    }
}

#[tokio::test]
async fn ps_counts_what_components_do() {
    let fixture = Fixture::start(CONTENT);
    for _ in 0..3 {
        assert_eq!(fixture.probe("probe/publish/work", "fine").await, "ok");
    }
    assert_eq!(fixture.status_of("probe/trap/-").await, StatusCode::INTERNAL_SERVER_ERROR);
    fixture.status_of("nowhere").await;
    let probe =
        eventually("all have ended", async || Some(fixture.component("probe")).filter(|probe| probe["in_flight"] == 0))
            .await;
    let counts = ["requests", "errors", "traps"].map(|key| probe[key].as_u64().expect("a number"));
    assert_eq!(counts, [4, 1, 1], "{probe}");
    assert_eq!(probe["http"], json!({"ended": 4, "errors": 1, "in_flight": 0}));
    assert_eq!(probe["digest"].as_str().map(str::len), Some(64));
    assert_eq!(probe["role"], "serving");
    let (p50, p99) = (probe["p50_ms"].as_f64().expect("a time"), probe["p99_ms"].as_f64().expect("a time"));
    assert!(p50 > 0.0 && p99 >= p50, "{probe}");
    let handled = eventually("all are handled", async || {
        let worker = fixture.component("worker");
        (worker["deliveries"]["ended"] == 3).then_some(worker)
    });
    let worker = handled.await;
    assert_eq!((&worker["requests"], &worker["errors"]), (&json!(3), &json!(0)));
    // An instance is kept for the next request.
    fixture.probe("probe/environment/-", "").await;
    let probe = fixture.component("probe");
    assert!(probe["instances"].as_u64() >= Some(1) && probe["memory"].as_u64() >= Some(1 << 16), "{probe}");
    let table = text(fixture.state(), &["ps"]);
    for part in ["fixture (pid ", "COMPONENT", "P99", "probe", "worker"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[tokio::test]
async fn queues_are_seen_and_steered() {
    let fixture = Fixture::start(CONTENT);
    let state = fixture.state();
    for body in ["discard", "discard"] {
        assert_eq!(fixture.probe("probe/publish/work", body).await, "ok");
    }
    let dead = |count: u64| eventually("they are dead", async move || (fixture_dead(state) == count).then_some(()));
    dead(2).await;
    let page = json(state, &["queues", "peek", "worker", "--part", "dead"]);
    let letter = &page["messages"][0];
    assert_eq!(
        (&letter["body"], &letter["queue"], &letter["attempts"]),
        (&json!("discard"), &json!("work"), &json!(1))
    );
    assert!(letter["state"].as_str().expect("a text").contains("not wanted"), "{letter}");
    assert!(text(state, &["queues", "peek", "worker", "--part", "dead"]).contains("    discard\n"));

    // Delivered again, and given up again.
    assert_eq!(json(state, &["queues", "replay", "worker", "--all"]), json!({"count": 2}));
    let handled = || fixture.component("worker")["deliveries"]["ended"].as_u64();
    eventually("they are tried again", async || (handled() == Some(4)).then_some(())).await;
    dead(2).await;
    let page = json(state, &["queues", "peek", "worker", "--part", "dead"]);
    let id = page["messages"][0]["id"].as_str().expect("an id");
    assert_eq!(json(state, &["queues", "purge", "worker", "--id", id]), json!({"count": 1}));
    assert!(refused(state, &["queues", "purge", "worker", "--dead-letters"]).contains("--yes"));
    assert_eq!(json(state, &["queues", "purge", "worker", "--dead-letters", "--yes"]), json!({"count": 1}));
    assert_eq!(fixture.group("worker")["dead"], 0);

    // Nothing is delivered while it is paused.
    text(state, &["queues", "pause", "worker"]);
    assert_eq!(fixture.probe("probe/publish/work", "fine").await, "ok");
    let group = fixture.group("worker");
    assert_eq!((&group["paused"], &group["ready"], &group["queues"]), (&json!(true), &json!(1), &json!(["work"])));
    assert!(group["oldest_age_ms"].is_u64(), "{group}");
    let page = json(state, &["queues", "peek", "worker"]);
    assert_eq!((&page["messages"][0]["body"], &page["messages"][0]["attempts"]), (&json!("fine"), &json!(0)));
    assert_eq!(handled(), Some(4));
    assert!(text(state, &["queues"]).contains("paused"));
    text(state, &["queues", "resume", "worker"]);
    eventually("it is handled", async || (handled() == Some(5)).then_some(())).await;

    assert!(refused(state, &["queues", "pause", "nobody"]).contains("there is no group `nobody`"));
    assert!(refused(state, &["queues", "replay", "worker", "--id", "nothing"]).contains("no dead letter `nothing`"));
}

fn fixture_dead(state: &Path) -> u64 {
    json(state, &["queues"])["groups"][0]["dead"].as_u64().expect("a number")
}

#[tokio::test]
async fn logs_are_read_and_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    let launch = Launch::manifest(&manifest(directory.path(), CONTENT)).argument("--shutdown-timeout").argument("1h");
    let fixture = Fixture { server: launch.start(directory.path()), directory };
    let state = fixture.state();
    fixture.probe("probe/print/-?first", "").await;
    let lines = eventually("the line is there", async || {
        let lines = text(state, &["logs", "probe"]);
        lines.contains("probe| first to stdout").then_some(lines)
    });
    assert!(lines.await.contains("WARN probe| first to stderr"));
    assert_eq!(text(state, &["logs", "worker"]), "");
    for verb in [&["logs"][..], &["logs", "-f"], &["history"]] {
        let unknown = refused(state, &[verb, &["prob"]].concat());
        assert!(unknown.contains("no component `prob`; it has probe, worker"), "{verb:?}: {unknown}");
    }

    let mut follower = Command::new(binary())
        .args(["logs", "-f", "probe", "--json", "--state-dir"])
        .arg(state)
        .stdout(Stdio::piped())
        .spawn()
        .expect("tessera runs");
    let mut followed = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    let mut next =
        || -> Value { serde_json::from_str(&followed.next().expect("a line").expect("text")).expect("JSON") };
    while next()["message"] != "first to stderr" {}
    // Everything until now came at once; from here on it follows.
    fixture.probe("probe/print/-?second", "").await;
    let line = next();
    assert_eq!((&line["message"], &line["guest"]), (&json!("second to stdout"), &json!(true)), "{line}");
    assert_eq!((&line["component"], &line["level"]), (&json!("probe"), &json!("INFO")));
    // A follower does not hold up the end, though there is time for it, and ends with it.
    assert!(fixture.server.stop().success());
    follower.wait().expect("it ends");
}

#[tokio::test]
async fn mail_is_listed_and_shown() {
    let fixture = Fixture::start(CONTENT);
    let state = fixture.state();
    assert_eq!(text(state, &["mail", "ls"]), "no mail\n");
    assert_eq!(fixture.probe("probe/mail/-?me@example.org", "").await, "ok");
    let mails = json(state, &["mail", "ls"]);
    let mail = &mails["messages"][0];
    assert_eq!((&mail["to"], &mail["subject"]), (&json!(["me@example.org"]), &json!("A probe")), "{mails}");
    let id = mail["id"].as_str().expect("an id");
    assert!(text(state, &["mail", "ls"]).contains(id));
    let letter = json(state, &["mail", "show", id]);
    assert!(letter["text"].as_str().expect("a text").starts_with("It arrived."), "{letter}");
    let shown = text(state, &["mail", "show", id]);
    assert!(shown.contains("Subject: A probe\n") && shown.contains("\n\nIt arrived."), "{shown}");
    let raw = text(state, &["mail", "show", id, "--raw"]);
    assert!(raw.starts_with("X-Envelope-To: me@example.org\r\n") && raw.contains("Message-ID: <"), "{raw}");
    assert!(refused(state, &["mail", "show", "../../etc/passwd"]).contains("no message"));
}

#[tokio::test]
async fn draining_ends_what_runs_and_begins_nothing() {
    let fixture = Fixture::start(&CONTENT.replace("timeout = \"20s\"", "timeout = \"10s\""));
    let state = fixture.state();
    assert_eq!(fixture.probe("probe/publish/work", "sleep").await, "ok");
    eventually("it is in flight", async || (fixture.group("worker")["in_flight"] == 1).then_some(())).await;
    let still = json(state, &["drain", "--no-wait"]);
    assert_eq!((&still["draining"], &still["deliveries"]), (&json!(true), &json!(1)), "{still}");
    // Waits for the delivery, which takes too long for its limit.
    let done = json(state, &["drain"]);
    assert_eq!((&done["deliveries"], &done["requests"]), (&json!(0), &json!(0)));
    assert_eq!(fixture.component("worker")["timeouts"], 1);
    let client = reqwest::Client::new();
    let answer = client.get(format!("{}/probe/environment/-", fixture.server.url)).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(text(state, &["ps"]).contains("taking no new work"));
    json(state, &["drain", "--resume"]);
    assert_eq!(fixture.probe("probe/publish/work", "fine").await, "ok");
    eventually("it is handled", async || (fixture.component("worker")["deliveries"]["ended"] == 2).then_some(())).await;
}

#[tokio::test]
async fn only_the_token_opens() {
    let fixture = Fixture::start(CONTENT);
    let state = fixture.state();
    let mode = std::fs::metadata(state.join("admin.token")).expect("the token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = reqwest::Client::new();
    let url = format!("{}/v1/components", api(state));
    for wrong in [None, Some(String::new()), Some("x".repeat(64)), Some(token(state) + "0")] {
        let mut request = client.get(&url);
        if let Some(wrong) = &wrong {
            request = request.bearer_auth(wrong);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong:?}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    assert_eq!(request(state, Method::GET, "/v1/components").send().await.expect("an answer").status(), StatusCode::OK);
    assert!(
        !fixture.server.log.text().contains(&token(state)) && !fixture.server.output.text().contains(&token(state))
    );
    // The token outlives the process; the address does not.
    let (before, Fixture { server, directory }) = (token(state), fixture);
    assert!(server.stop().success());
    let state = directory.path();
    assert!(!state.join("admin.json").exists());
    assert!(refused(state, &["ps"]).contains("no application runs with the state directory"));
    let server = Launch::manifest(&state.join("spin.toml")).start(state);
    assert_eq!(token(state), before);
    server.kill();
    assert!(refused(state, &["ps"]).contains("it has ended without removing"), "after a crash");
}

#[tokio::test]
async fn every_verb_that_shows_something_does_so_in_json() {
    let fixture = Fixture::start(CONTENT);
    let state = fixture.state();
    assert_eq!(fixture.probe("probe/publish/work", "discard").await, "ok");
    assert_eq!(fixture.probe("probe/mail/-?me@example.org", "").await, "ok");
    eventually("it is dead", async || (fixture_dead(state) == 1).then_some(())).await;
    text(state, &["queues", "pause", "worker"]);
    assert_eq!(fixture.probe("probe/publish/work", "fine").await, "ok");
    let mail = json(state, &["mail", "ls"])["messages"][0]["id"].as_str().expect("an id").to_owned();
    // A verb, what its answer lists under which name, and whether one of those has that value.
    for (verb, list, key, value) in [
        (&["ps"][..], "/components", "id", json!("worker")),
        (&["queues"], "/groups", "group", json!("worker")),
        (&["queues", "ls"], "/groups", "paused", json!(true)),
        (&["queues", "peek", "worker"], "/messages", "body", json!("fine")),
        (&["queues", "peek", "worker", "--part", "dead"], "/messages", "body", json!("discard")),
        (&["queues", "peek", "worker", "--part", "delayed"], "/messages", "", json!(null)),
        (&["queues", "peek", "worker", "--part", "in-flight"], "/messages", "", json!(null)),
        (&["mail", "ls"], "/messages", "id", json!(mail)),
        (&["mail", "show", &mail], "/headers", "", json!(["Subject", "A probe"])),
        (&["history"], "/entries", "action", json!("start")),
        (&["doctor", "--listen", "127.0.0.1:0"], "", "check", json!("manifest")),
    ] {
        let manifest = state.join("spin.toml");
        let of_manifest = ["--from", manifest.to_str().expect("UTF-8")];
        let answer = json(state, &[verb, if verb[0] == "doctor" { &of_manifest } else { &[] }].concat());
        let listed = answer.pointer(list).and_then(Value::as_array);
        let listed = listed.unwrap_or_else(|| panic!("{verb:?} lists nothing at `{list}`: {answer}"));
        let mut values = listed.iter().map(|listed| if key.is_empty() { listed } else { &listed[key] });
        assert!(
            if value.is_null() { listed.is_empty() } else { values.any(|found| *found == value) },
            "{verb:?}: {answer}"
        );
    }
    // A log may be without end, so each of its lines is JSON by itself.
    let lines = text(state, &["logs", "-n", "3", "--json"]);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert!(line["time"].is_string() && line["message"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn the_document_describes_the_api() {
    let fixture = Fixture::start(CONTENT);
    let answer = request(fixture.state(), Method::GET, "/openapi.json").send().await.expect("an answer");
    let served: Value = answer.json().await.expect("JSON");
    let text = serde_json::to_string_pretty(&served).expect("text") + "\n";
    let path = workspace("docs/openapi.json");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &text).expect("room");
    }
    let committed = std::fs::read_to_string(&path).expect("docs/openapi.json");
    assert!(committed == text, "docs/openapi.json is of another API: run this test with INSTA_UPDATE=always");
    // What is described is there, and closed without the token.
    for (path, methods) in served["paths"].as_object().expect("paths") {
        let url = format!("{}{}", api(fixture.state()), path.replace(['{', '}'], "x"));
        for method in methods.as_object().expect("methods").keys().filter(|_| path != "/metrics") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let answer = reqwest::Client::new().request(method.clone(), &url).send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn prometheus_reads_metrics() {
    let fixture = Fixture::start(CONTENT);
    let state = fixture.state();
    assert_eq!(fixture.probe("probe/publish/work", "discard").await, "ok");
    fixture.status_of("probe/trap/-").await;
    fixture.status_of("nowhere").await;
    eventually("it is dead", async || (fixture.group("worker")["dead"] == 1).then_some(())).await;
    // Prometheus has no token, but is on this machine.
    let url = format!("{}/metrics", api(state));
    let answer = reqwest::get(&url).await.expect("an answer");
    assert!(answer.headers()["content-type"].to_str().expect("text").starts_with("application/openmetrics-text"));
    let text = answer.text().await.expect("text");
    assert!(text.ends_with("# EOF\n"));
    let with = |name: &str, component: &str, rest: &str| {
        let start = format!("{name}{{component=\"{component}\",version=\"");
        let line = text.lines().find(|line| line.starts_with(&start) && line.contains(rest));
        metric(line.unwrap_or_else(|| panic!("{start} {rest}: {text}")), &start)
    };
    assert_eq!(with("tessera_http_requests_total", "probe", "status=\"2xx\""), 1.0);
    assert_eq!(with("tessera_http_requests_total", "probe", "status=\"5xx\""), 1.0);
    assert_eq!(with("tessera_traps_total", "probe", ""), 1.0);
    assert_eq!(with("tessera_deliveries_total", "worker", "outcome=\"failed\""), 1.0);
    assert_eq!(with("tessera_dead_letters_total", "worker", ""), 1.0);
    assert_eq!(with("tessera_http_request_duration_seconds_count", "probe", ""), 2.0);
    assert_eq!(metric(&text, "tessera_queue_messages{group=\"worker\",state=\"dead\"}"), 1.0);
    assert_eq!(metric(&text, "tessera_http_unrouted_requests_total"), 1.0);
    assert!(metric(&text, "process_resident_memory_bytes") > 1e6);
    let infinite = text
        .lines()
        .find(|line| line.starts_with("tessera_http_request_duration_seconds_bucket{le=\"+Inf\",component=\"probe\""));
    assert!(infinite.is_some_and(|line| line.ends_with(" 2")), "{infinite:?}");
    // The documentation names each of them.
    let documentation = std::fs::read_to_string(workspace("docs/administration.md")).expect("the page");
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().expect("a name");
        assert!(documentation.contains(&format!("`{name}")), "docs/administration.md does not name {name}");
    }
    // A web page whose name resolves to this machine gets nothing.
    let answer = reqwest::Client::new().get(&url).header("host", "evil.example").send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

/// How long the application takes to answer.
async fn answer_time(server: &Server) -> Duration {
    let start = Instant::now();
    let answer = reqwest::get(format!("{}/probe/environment/-", server.url)).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    start.elapsed()
}

#[tokio::test]
async fn a_hostile_client_does_not_reach_the_application() {
    let fixture = Fixture::start(CONTENT);
    let state = fixture.state();
    let before = fixture.server.resident();
    let address = api(state).trim_start_matches("http://").to_owned();
    // More connections than there is room for: silent ones, unfinished headers, unread answers.
    let mut connections = Vec::new();
    for number in 0..300 {
        let Ok(mut connection) = TcpStream::connect(&address) else { continue };
        connection.set_nonblocking(true).expect("a socket");
        let text: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /v1/components HTTP/1.1\r\nhost: x\r\n",
            _ => b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n",
        };
        // A full buffer is as hostile.
        _ = connection.write_all(text);
        connections.push(connection);
    }
    // And wrong tokens as fast as can be.
    let (client, url) = (reqwest::Client::new(), format!("{}/v1/logs", api(state)));
    let guessing = futures::stream::iter(0..500).for_each_concurrent(50, |_| async {
        _ = client.get(&url).bearer_auth("wrong").timeout(Duration::from_secs(1)).send().await;
    });
    let working = async {
        for _ in 0..50 {
            let time = answer_time(&fixture.server).await;
            assert!(time < Duration::from_secs(5), "{time:?}");
        }
    };
    // The guesses are slowed down, so they may take longer than what is watched.
    let guessing = async { _ = tokio::time::timeout(Duration::from_secs(15), guessing).await };
    tokio::join!(working, guessing);
    assert!(fixture.server.resident() < before + (64 << 20), "{} {before}", fixture.server.resident());
    drop(connections);
    // The operator gets in again.
    eventually("ps works", async || run(state, &["ps"]).status.success().then_some(())).await;
    // Nor does a body that is too large.
    let body = vec![b' '; 1 << 20];
    let answer = request(state, Method::POST, "/v1/queues/worker/replay").body(body).send().await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == StatusCode::PAYLOAD_TOO_LARGE));
}
