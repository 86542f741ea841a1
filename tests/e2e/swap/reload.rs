//! Changed files are applied to a running application, all at once or not at all.

mod configuration;
mod consumers;
mod faults;

use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::json;

use super::{INITIAL, variant};
use crate::support::eventually;
use crate::support::fixtures::{Fixture, manifest};
use crate::support::operator;
use crate::support::server::Launch;

const PROBE: &str = r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"

[component.probe]
source = "<probe>"
"#;

const WORKER: &str = r#"
[component.worker]
source = "<consumer>"
key_value_stores = ["attempts"]
[component.worker.tool.tessera]
consume = [{ queue = "work", group = "workers", timeout = "60s" }]
"#;

/// One more route, and what there is then.
const FIXED: &str = "\n[[trigger.http]]\nroute = \"/fixed\"\nstatic_response = { body = \"fixed\" }\n";

impl Fixture {
    /// Writes another manifest.
    fn write(&self, content: &str) {
        manifest(self.root(), content);
    }

    /// Applies what has changed, and answers what that was.
    fn reload(&self) -> Vec<String> {
        let answer = operator::json(self.root(), &["reload"]);
        serde_json::from_value(answer["changes"].clone()).expect("sentences")
    }

    /// Writes another manifest and applies it.
    fn apply(&self, content: &str) -> Vec<String> {
        self.write(content);
        self.reload()
    }

    async fn status(&self, path: &str) -> StatusCode {
        reqwest::get(format!("{}/{path}", self.server.url)).await.expect("an answer").status()
    }
}

/// Starts a manifest with a configuration and more arguments.
fn start(content: &str, config: &str, arguments: &[&str]) -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    let file = configure(directory.path(), config);
    let launch = Launch::manifest(&manifest(directory.path(), content)).argument("--runtime-config-file");
    let launch = launch.argument(file.to_str().expect("UTF-8"));
    let launch = arguments.iter().fold(launch, |launch, argument| launch.argument(argument));
    Fixture { server: launch.start(directory.path()), directory }
}

fn configure(directory: &Path, config: &str) -> PathBuf {
    let file = directory.join("runtime-config.toml");
    std::fs::write(&file, config).expect("room");
    file
}

#[tokio::test]
async fn routes_come_and_go() {
    let fixture = Fixture::start(PROBE);
    assert!(fixture.reload().is_empty(), "nothing has changed");
    let more = format!("{PROBE}{FIXED}[[trigger.http]]\nroute = \"/also/...\"\ncomponent = \"probe\"\n");
    assert_eq!(fixture.status("fixed").await, StatusCode::NOT_FOUND);
    assert_eq!(fixture.apply(&more), ["route /also/... added", "route /fixed added"]);
    assert_eq!(fixture.probe("also/version/-", "").await, INITIAL);
    assert_eq!(fixture.probe("fixed", "").await, "fixed");
    let changes = fixture.apply(&more.replace("body = \"fixed\"", "body = \"other\""));
    assert_eq!(changes, ["route /fixed leads elsewhere"]);
    assert_eq!(fixture.probe("fixed", "").await, "other");
    assert_eq!(fixture.apply(PROBE), ["route /also/... removed", "route /fixed removed"]);
    assert_eq!(fixture.status("also/version/-").await, StatusCode::NOT_FOUND);

    let granted = PROBE.to_owned() + "allowed_outbound_hosts = [\"http://inner.spin.internal\"]\n";
    assert_eq!(fixture.apply(&granted), ["component `probe`: allowed_outbound_hosts changed"]);
    let ask = async || fixture.probe("probe/get/-?http://inner.spin.internal/x/version/-", "").await;
    assert!(!ask().await.starts_with("200"));
    let private = "[[trigger.http]]\nroute = { private = true }\ncomponent = \"inner\"\n[component.inner]\nsource = \"<probe>\"\n";
    assert_eq!(fixture.apply(&(granted + private)), ["component `inner` added", "private route to `inner` added"]);
    assert_eq!(ask().await, format!("200 {INITIAL}"));
}

#[tokio::test]
async fn grants_limits_and_variables_change() {
    let fixture = Fixture::start(PROBE);
    assert_eq!(fixture.probe("probe/kv-set/attempts", "x").await, "Denied");
    assert_eq!(fixture.probe("probe/variable/greeting", "").await, "Undefined");
    let granted = format!("{PROBE}key_value_stores = [\"attempts\"]\nenvironment = {{ PLACE = \"here\" }}\n");
    let changes = fixture.apply(&granted);
    assert_eq!(changes, ["component `probe`: environment, key_value_stores changed"]);
    assert_eq!(fixture.probe("probe/kv-set/attempts", "x").await, "ok");
    assert!(fixture.probe("probe/environment/-", "").await.contains("PLACE=here"));

    let variable = |value: &str| {
        let used = "[component.probe.variables]\ngreeting = \"{{ greeting }}\"\n";
        format!("[variables]\ngreeting = {{ default = \"{value}\" }}\n{granted}{used}")
    };
    assert_eq!(fixture.apply(&variable("hello")), ["component `probe`: variables changed"]);
    assert_eq!(fixture.probe("probe/variable/greeting", "").await, "hello");
    assert_eq!(fixture.apply(&variable("hi")), ["component `probe`: variables changed"]);
    assert_eq!(fixture.probe("probe/variable/greeting", "").await, "hi");

    let limited = granted.clone() + "[component.probe.tool.tessera]\nlimits = { request_body = \"10B\" }\n";
    assert_eq!(fixture.apply(&limited), ["component `probe`: variables, limits changed"]);
    let send = async |length: usize| {
        let url = format!("{}/probe/echo/-", fixture.server.url);
        reqwest::Client::new().post(url).body(vec![b'x'; length]).send().await.expect("an answer").status()
    };
    assert_eq!((send(10).await, send(11).await), (StatusCode::OK, StatusCode::PAYLOAD_TOO_LARGE));
    assert_eq!(fixture.apply(PROBE), ["component `probe`: environment, key_value_stores, limits changed"]);
    assert_eq!(fixture.probe("probe/kv-set/attempts", "x").await, "Denied");
    assert_eq!(send(11).await, StatusCode::OK);
}

#[tokio::test]
async fn unchanged_components_keep_their_instances_and_changed_files_are_swapped() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = variant(directory.path(), "probe", "version-one");
    let second =
        "[[trigger.http]]\nroute = \"/second/...\"\ncomponent = \"second\"\n[component.second]\nsource = \"<probe>\"\n";
    let content = PROBE.replace("<probe>", file.to_str().expect("UTF-8")) + second;
    let fixture = Fixture::start_in(directory, &content);
    assert_eq!(fixture.probe("second/version/-", "").await, INITIAL);
    std::fs::copy(variant(fixture.root(), "probe", "version-two"), &file).expect("the file is replaced");
    let changes = fixture.reload();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].starts_with("component `probe`: binary ("), "{changes:?}");
    assert_eq!(fixture.version().await, "version-two");
    let second = operator::component(fixture.root(), "second");
    assert_eq!(second["requests"], 1, "the same version as before goes on counting");
    let actions: Vec<_> = fixture.done("probe").into_iter().map(|(action, ..)| action).collect();
    assert_eq!(actions, ["start", "reload"]);
    operator::json(fixture.root(), &["rollback", "probe"]);
    assert_eq!(fixture.version().await, "version-one");
}

#[tokio::test]
async fn a_hangup_reloads() {
    let fixture = Fixture::start(PROBE);
    fixture.write("[component.x");
    fixture.server.signal(Signal::HUP);
    fixture.server.log.line_with(&["the application stays as it was"]);
    assert_eq!(fixture.version().await, INITIAL);
    fixture.write(&format!("{PROBE}{FIXED}"));
    fixture.server.signal(Signal::HUP);
    eventually("the route is there", async || (fixture.status("fixed").await == StatusCode::OK).then_some(())).await;
    let history = operator::json(fixture.root(), &["history"]);
    let last = history["entries"].as_array().expect("a list").last().expect("an entry");
    assert_eq!((&last["action"], &last["by"]), (&json!("reload"), &json!("SIGHUP")));
    fixture.server.signal(Signal::HUP);
    fixture.server.log.line_with(&["say nothing new"]);
}
