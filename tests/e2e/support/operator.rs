//! An operator: the verbs against a running application, and its administration's API.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::server::binary;

/// Runs a verb against the application with this state directory.
pub(crate) fn run(state: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).arg("--state-dir").arg(state).stdin(Stdio::null()).env_remove("RUST_LOG");
    command.output().expect("tessera runs")
}

/// What a verb prints if it works.
pub(crate) fn text(state: &Path, arguments: &[&str]) -> String {
    let output = run(state, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The same as JSON.
pub(crate) fn json(state: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&text(state, &[arguments, &["--json"]].concat())).expect("JSON")
}

/// What is said of a component that runs: of its oldest version, if there are several.
pub(crate) fn component(state: &Path, id: &str) -> Value {
    let status = json(state, &["ps"]);
    let components = status["components"].as_array().expect("a list");
    components.iter().find(|component| component["id"] == id).expect("the component").clone()
}

/// What a verb says is wrong.
pub(crate) fn refused(state: &Path, arguments: &[&str]) -> String {
    let output = run(state, arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// The administration's token.
pub(crate) fn token(state: &Path) -> String {
    std::fs::read_to_string(state.join("admin.token")).expect("the token").trim().to_owned()
}

/// The administration's URL.
pub(crate) fn api(state: &Path) -> String {
    let text = std::fs::read_to_string(state.join("admin.json")).expect("the address");
    let address: Value = serde_json::from_str(&text).expect("JSON");
    address["url"].as_str().expect("a URL").to_owned()
}

/// A request to the administration.
pub(crate) fn request(state: &Path, method: Method, path: &str) -> RequestBuilder {
    reqwest::Client::new().request(method, format!("{}{path}", api(state))).bearer_auth(token(state))
}

/// The value of a metric's line that begins so.
pub(crate) fn metric(text: &str, start: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// All metrics, as Prometheus reads them.
pub(crate) async fn metrics(state: &Path) -> String {
    let answer = reqwest::get(format!("{}/metrics", api(state))).await.expect("an answer");
    answer.text().await.expect("text")
}

/// The value of a component's metric.
pub(crate) async fn metric_of(state: &Path, name: &str, component: &str) -> f64 {
    metric(&metrics(state).await, &format!("{name}{{component=\"{component}\",version=\""))
}
