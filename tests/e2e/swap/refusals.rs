//! What is not fit is refused with its reason, and the old version serves on.

use std::path::PathBuf;

use super::{CONTENT, INITIAL, hash};
use crate::support::fixtures::{Fixture, manifest, wasm};
use crate::support::operator::{json, refused};
use crate::support::server::Launch;

/// Without triggers: one that is called by another.
const CALLEE: &str = r#"(component
    (core module $m (func (export "f") (result i32) i32.const 7))
    (core instance $i (instantiate $m))
    (func $f (result u32) (canon lift (core func $i "f")))
    (instance $api (export "seven" (func $f)))
    (export "demo:numbers/source@1.0.0" (instance $api)))"#;

/// The same with another type.
const OTHER_TYPE: &str = r#"(component
    (core module $m (func (export "f") (result i64) i64.const 7))
    (core instance $i (instantiate $m))
    (func $f (result u64) (canon lift (core func $i "f")))
    (instance $api (export "seven" (func $f)))
    (export "demo:numbers/source@1.0.0" (instance $api)))"#;

const CALLER: &str =
    r#"(component (import "demo:numbers/source@1.0.0" (instance (export "seven" (func (result u32))))))"#;

/// One that runs `code` when it is instantiated.
fn starting(code: &str) -> String {
    format!("(component (core module $m (func $s {code}) (start $s)) (core instance (instantiate $m)))")
}

fn start(more: &str) -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, content) in [("callee", CALLEE), ("caller", CALLER)] {
        std::fs::write(directory.path().join(format!("{name}.wat")), content).expect("room");
    }
    // Those that nothing calls would be left out.
    let used = "[component.probe.dependencies]\n\"demo:numbers/source\" = { component = \"callee\" }\n\
        \"demo:caller/x\" = { component = \"caller\" }\n";
    let used = used.to_owned()
        + if more.contains("[component.idle]") { "\"demo:idle/x\" = { component = \"idle\" }\n" } else { "" };
    let content = format!(
        "{CONTENT}\n{used}[component.callee]\nsource = \"callee.wat\"\n{more}\n[component.caller]\nsource = \"caller.wat\"\n\
         [component.caller.dependencies]\n\"demo:numbers/source\" = {{ component = \"callee\" }}\n"
    );
    Fixture::start_in(directory, &content)
}

impl Fixture {
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.root().join(name);
        std::fs::write(&path, content).expect("room");
        path
    }

    /// Swaps a component by the verb, which has to be refused.
    fn refused(&self, component: &str, content: &[u8], arguments: &[&str]) -> String {
        let file = self.file("new.wasm", content);
        refused(self.root(), &[&["swap", component, file.to_str().expect("UTF-8")], arguments].concat())
    }
}

#[tokio::test]
async fn the_answer_says_what_is_wrong() {
    let fixture = start("[component.callee.tool.tessera]\nlimits = { timeout = \"2s\" }");
    let before = json(fixture.root(), &["ps"]);
    let history = json(fixture.root(), &["history"]);
    let consumer = std::fs::read(wasm("consumer")).expect("the fixture");
    let cut = &consumer[..consumer.len() / 2];
    let imports = |name: &str| format!("(component (import \"{name}\" (instance (export \"f\" (func)))))");
    for (component, content, reasons) in [
        ("probe", b"hello" as &[u8], &["`probe`: this is not a component that can run here"] as &[&str]),
        ("probe", b"", &["the file is empty"]),
        ("probe", cut, &["`probe`: this is not a component that can run here"]),
        ("probe", b"\0asm\x01\0\0\0", &["core module", "nothing can call it"]),
        ("probe", b"(component)", &["the route /probe/...", "exports neither `wasi:http/handler@0.3`"]),
        ("probe", &consumer, &["the route /probe/..."]),
        ("worker", b"(component)", &["`worker`", "does not export `tessera:queue/consumer@0.1.0`"]),
        (
            "callee",
            imports("nobody:home/door@1.0.0").as_bytes(),
            &["`callee` imports `nobody:home/door@1.0.0`, which nothing provides"],
        ),
        ("worker", imports("demo:numbers/source@1.0.0").as_bytes(), &["component `callee` exports it, so add"]),
        ("callee", imports("wasi:nothing/here@0.2.0").as_bytes(), &["imports what this host does not provide"]),
        ("callee", b"(component)", &["`caller`", "component `callee` does not export `demo:numbers/source@1.0.0`"]),
        ("callee", OTHER_TYPE.as_bytes(), &["`seven` of `demo:numbers/source@1.0.0` has other types"]),
        ("nobody", b"(component)", &["no component `nobody`; it has callee, caller, probe, worker"]),
    ] {
        let answer = fixture.refused(component, content, &[]);
        for reason in reasons {
            assert!(answer.contains(reason), "{component}, {reason}: {answer}");
        }
    }
    // Whatever the answer, the old versions serve, and nothing is written down.
    assert_eq!(fixture.version().await, INITIAL);
    let digests = |status: &serde_json::Value| -> Vec<_> {
        status["components"].as_array().expect("a list").iter().map(|version| version["digest"].clone()).collect()
    };
    assert_eq!(digests(&json(fixture.root(), &["ps"])), digests(&before));
    assert_eq!(json(fixture.root(), &["history"]), history);
    let left = std::fs::read_dir(fixture.root().join("versions")).expect("the directory").count();
    assert_eq!(left, 5, "four binaries and the record: what was refused is not kept");
}

#[tokio::test]
async fn an_instance_is_tried_first() {
    let fixture = start(
        "[component.idle]\nsource = \"callee.wat\"\n[component.idle.tool.tessera]\nlimits = { timeout = \"2s\" }",
    );
    let answer = fixture.refused("idle", starting("unreachable").as_bytes(), &[]);
    assert!(answer.contains("component `idle` cannot be instantiated") && answer.contains("unreachable"), "{answer}");
    let answer = fixture.refused("idle", starting("(loop br 0)").as_bytes(), &[]);
    assert!(answer.contains("component `idle` cannot be instantiated"), "{answer}");
    let large = "(component (core module $m (memory 30000)) (core instance (instantiate $m)))";
    let answer = fixture.refused("idle", large.as_bytes(), &[]);
    assert!(answer.contains("component `idle` cannot be instantiated") && answer.contains("memory"), "{answer}");
    // A canary is checked as well.
    let answer = fixture.refused("idle", starting("unreachable").as_bytes(), &["--canary", "10%"]);
    assert!(answer.contains("cannot be instantiated"), "{answer}");
    assert_eq!(fixture.roles("idle"), ["serving"]);
    assert_eq!(fixture.version().await, INITIAL);
}

#[tokio::test]
async fn what_is_asked_for_has_to_make_sense() {
    let fixture = start("");
    for (arguments, reason) in [
        (&["--canary", "0%"] as &[&str], "is no share such as `10%`"),
        (&["--canary", "100%"], "is no share"),
        (&["--canary", "some"], "is no share"),
        (&["--canary", "10%", "--window", "soon"], "`window` is no duration"),
        (&["--drain", "never"], "`drain` is no duration"),
    ] {
        let answer = fixture.refused("callee", CALLEE.as_bytes(), arguments);
        assert!(answer.contains(reason), "{reason}: {answer}");
    }
    assert!(refused(fixture.root(), &["rollback", "callee"]).contains("nothing to go back to"));
    assert!(refused(fixture.root(), &["rollback", "nobody"]).contains("no component `nobody`"));
    // The same file changes nothing.
    let same = fixture.swap("callee", &fixture.root().join("callee.wat"), &[]);
    assert_eq!(hash(&same, "hash"), hash(&same, "previous"));
    assert_eq!(fixture.done("callee").len(), 1, "the start");
}

#[tokio::test]
async fn nothing_is_swapped_without_an_application() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = manifest(directory.path(), CONTENT);
    let wasm = wasm("probe");
    let swap = ["swap", "probe", wasm.to_str().expect("UTF-8")];
    assert!(refused(directory.path(), &swap).contains("no application runs with the state directory"));
    Launch::manifest(&path).start(directory.path()).kill();
    assert!(refused(directory.path(), &swap).contains("no application answers at"));
}
