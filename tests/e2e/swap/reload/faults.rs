//! A reload that cannot be done whole is not done at all.

use reqwest::StatusCode;

use super::{FIXED, INITIAL, PROBE, WORKER, configure, start};
use crate::support::fixtures::{Fixture, manifest};
use crate::support::operator::{self, refused};

impl Fixture {
    /// Expects that a reload is refused for `reason`, and changes nothing.
    async fn refuses(&self, reason: &str) {
        let answer = refused(self.root(), &["reload"]);
        assert!(answer.contains(reason), "{reason}: {answer}");
        assert_eq!(self.status("fixed").await, StatusCode::NOT_FOUND, "{answer}");
        assert_eq!(self.version().await, INITIAL);
    }
}

#[tokio::test]
async fn a_fault_changes_nothing() {
    let content = PROBE.to_owned() + "key_value_stores = [\"attempts\"]\n" + WORKER;
    let more = content.clone() + FIXED;
    let other =
        |table: &str| format!("{more}[[trigger.http]]\nroute = \"/x\"\ncomponent = \"x\"\n[component.x]\n{table}");
    let fixture = start(&content, "", &[]);
    let root = fixture.root();
    let before = operator::json(root, &["history"]);
    for (wrong, reason) in [
        (more.clone() + "[component.x", "spin.toml"),
        (other("source = \"x.wasm\"\nsauce = 1\n"), "sauce"),
        (other("source = \"x.wasm\"\n"), "component `x` has no file"),
        (other("source = \"spin.toml\"\n"), "component `x`: this is not a component"),
        (more.replace("<probe>", "<consumer>"), "the route /probe/..."),
        (more.replace("source = \"<consumer>\"", "source = \"<probe>\""), "does not export `tessera:queue/consumer"),
    ] {
        fixture.write(&wrong);
        fixture.refuses(reason).await;
    }

    // What cannot change while it runs.
    let path = manifest(root, &more);
    let renamed = std::fs::read_to_string(&path).expect("it").replace("name = \"fixture\"", "name = \"other\"");
    std::fs::write(&path, renamed).expect("room");
    fixture.refuses("the application's name cannot change").await;
    fixture.write(&more);
    let redis = "type = \"redis\"\nurl = \"redis://127.0.0.1:1\"\n";
    for (config, reason) in [
        (format!("[queue]\n{redis}"), "[queue] cannot change while"),
        (format!("[key_value_store.attempts]\n{redis}"), "[key_value_store.attempts] cannot change while components"),
        ("[mail]\nfrm = \"a@example.org\"\n".to_owned(), "frm"),
    ] {
        configure(root, &config);
        fixture.refuses(reason).await;
    }
    assert_eq!(operator::json(root, &["history"]), before);
    configure(root, "");
    assert_eq!(fixture.reload(), ["route /fixed added"]);
}
