//! Hot swap: a running application changes and drops nothing.

mod canary;
mod crash;
mod flight;
mod history;
mod load;
mod memory;
mod refusals;
mod reload;
mod watch;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::fixtures::{Fixture, wasm};
use crate::support::operator::json;

/// Something for HTTP, and a consumer.
const CONTENT: &str = r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"

[component.probe]
source = "<probe>"
key_value_stores = ["attempts"]
[component.probe.tool.tessera]
publish = ["work"]

[component.worker]
source = "<consumer>"
key_value_stores = ["attempts"]
[component.worker.tool.tessera]
consume = [{ queue = "work", timeout = "60s", max_attempts = 2 }]
"#;

/// The version that the fixtures are when nobody has changed them.
const INITIAL: &str = "initial-ver";

/// A copy of a fixture that is another version, with a name of eleven letters.
fn variant(directory: &Path, fixture: &str, name: &str) -> PathBuf {
    assert_eq!(name.len(), INITIAL.len(), "{name}");
    let mut bytes = std::fs::read(wasm(fixture)).expect("the fixture");
    let at = bytes.windows(name.len()).position(|window| window == INITIAL.as_bytes()).expect("the version's name");
    bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
    let path = directory.join(format!("{fixture}-{name}.wasm"));
    std::fs::write(&path, bytes).expect("room for a copy");
    path
}

impl Fixture {
    fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Swaps a component by the verb, which has to work.
    fn swap(&self, component: &str, file: &Path, arguments: &[&str]) -> Value {
        json(self.root(), &[&["swap", component, file.to_str().expect("UTF-8")], arguments].concat())
    }

    /// Makes another version of a fixture and swaps to it.
    fn swap_to(&self, component: &str, fixture: &str, name: &str, arguments: &[&str]) -> Value {
        self.swap(component, &variant(self.root(), fixture, name), arguments)
    }

    /// Which version answers.
    async fn version(&self) -> String {
        self.probe("probe/version/-", "").await
    }

    /// What each version of a component is there for, oldest first.
    fn roles(&self, component: &str) -> Vec<String> {
        let status = json(self.root(), &["ps"]);
        let components = status["components"].as_array().expect("a list").iter();
        let versions = components.filter(|version| version["id"] == component);
        versions.map(|version| version["role"].as_str().expect("a role").to_owned()).collect()
    }

    /// What was done to a component, oldest first: what, which version, which other.
    fn done(&self, component: &str) -> Vec<(String, String, String)> {
        let history = json(self.root(), &["history", component]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = history["entries"].as_array().expect("a list").iter();
        entries.map(|entry| (text(&entry["action"]), text(&entry["hash"]), text(&entry["previous"]))).collect()
    }
}

/// A hash in an answer.
fn hash(answer: &Value, key: &str) -> String {
    answer[key].as_str().expect("a hash").to_owned()
}
