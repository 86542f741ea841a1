//! `tessera doctor`: what is wrong is found, with what to do about it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::fixtures::manifest;
use crate::support::server::binary;

const PROBE: &str = "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"<probe>\"\nkey_value_stores = [\"jobs\"]\n";

fn examine(directory: &Path, arguments: &[&str]) -> (bool, Vec<Value>) {
    let mut command = Command::new(binary());
    command.args(["doctor", "--json", "--from"]).arg(directory.join("spin.toml")).args(arguments);
    let output = command.output().unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.success(), findings.as_array().unwrap().clone())
}

fn finding<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["check"].as_str().unwrap().starts_with(check));
    found.unwrap_or_else(|| panic!("no {check} in {findings:#?}"))
}

#[test]
fn a_sound_application_passes() {
    let directory = tempfile::tempdir().unwrap();
    manifest(directory.path(), PROBE);
    let (healthy, findings) = examine(directory.path(), &["--listen", "127.0.0.1:0"]);
    assert!(healthy, "{findings:#?}");
    assert_eq!(finding(&findings, "component probe")["status"], "ok");
    assert_eq!(finding(&findings, "clock")["status"], "ok");
}

#[test]
fn every_fault_is_named_with_its_remedy() {
    let directory = tempfile::tempdir().unwrap();
    manifest(directory.path(), &PROBE.replace("<probe>", "nowhere.wasm"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = directory.path().join("runtime-config.toml");
    let text = format!("[key_value_store.jobs]\ntype = \"redis\"\nurl = \"redis://:hunter2@{silent}\"\n");
    std::fs::write(&config, text).unwrap();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("admin.token"), "x").unwrap();
    std::fs::set_permissions(state.join("admin.token"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["--listen", &address, "--runtime-config-file", config.to_str().unwrap()];
    let arguments = [&arguments[..], &["--state-dir", state.to_str().unwrap()]].concat();
    let (healthy, findings) = examine(directory.path(), &arguments);
    assert!(!healthy);
    for (check, fix) in [
        ("component probe", "tessera build"),
        ("Redis 127.0.0.1", "url"),
        ("address 127.0.0.1", "--listen"),
        ("admin token", "chmod 600"),
    ] {
        let finding = finding(&findings, check);
        assert_eq!(finding["status"], "error", "{finding}");
        assert!(finding["fix"].as_str().unwrap().contains(fix), "{finding}");
    }
    assert!(
        findings.iter().any(|finding| finding["status"] == "warning" && finding["message"].to_string().contains("644"))
    );
    assert!(!format!("{findings:?}").contains("hunter2"));
}
