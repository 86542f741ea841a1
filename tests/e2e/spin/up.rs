//! `tessera up` with the options and environment variables that `spin up` has.

use reqwest::StatusCode;

use crate::support::eventually;
use crate::support::fixtures::{Fixture, manifest, wasm};
use crate::support::server::{Launch, Server};

const CONTENT: &str = r#"
[[trigger.http]]
route = "/5/..."
component = "five"
[[trigger.http]]
route = "/old/..."
component = "old"
[component.five]
source = "<spin5>"
key_value_stores = ["default"]
[component.old]
source = "does-not-exist.wasm"
[component.old.profile.debug]
source = "<wasi02>"
[component.old.profile.debug.build]
command = "touch built"
"#;

fn launch(directory: &std::path::Path, content: &str, arguments: &[&str]) -> Launch {
    let launch = Launch::manifest(&manifest(directory, content));
    arguments.iter().fold(launch, |launch, argument| launch.argument(argument))
}

async fn status(server: &Server, path: &str) -> StatusCode {
    reqwest::get(format!("{}{path}", server.url)).await.expect("an answer").status()
}

#[tokio::test]
async fn a_selected_component_runs_alone_with_values_set_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = ["-c", "five", "--key-value", "greeting=hello=you", "--key-value", "other=x"];
    let server = launch(directory.path(), CONTENT, &arguments).start(directory.path());
    assert_eq!(status(&server, "/old/").await, StatusCode::NOT_FOUND);
    let app = Fixture { server, directory };
    assert_eq!(app.probe("5/key-value/get/default/greeting", "").await, "hello=you");
    assert_eq!(app.probe("5/key-value/exists/default/other", "").await, "true");
}

#[test]
fn a_selection_names_components() {
    let directory = tempfile::tempdir().expect("a directory");
    let refused = launch(directory.path(), CONTENT, &["-c", "six"]).refused(directory.path());
    assert!(refused.contains("--component-id: there is no component `six`; there are five, old"), "{refused}");
    let refused = launch(directory.path(), CONTENT, &["--profile", "debgu"]).refused(directory.path());
    assert!(refused.contains("no component has the profile `debgu`"), "{refused}");
}

#[tokio::test]
async fn a_profile_is_built_and_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = launch(directory.path(), CONTENT, &["--profile", "debug", "--build"]).start(directory.path());
    assert_eq!(status(&server, "/old/").await, StatusCode::OK);
    assert!(directory.path().join("built").exists());
}

#[tokio::test]
async fn a_wasm_file_is_an_application() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("hello.wasm");
    std::fs::copy(wasm("wasi02"), &file).expect("room");
    let server = Launch::manifest(&file).start(directory.path());
    assert_eq!(status(&server, "/any/path").await, StatusCode::OK);
}

#[tokio::test]
async fn what_components_print_is_appended_to_files_and_shown_if_followed() {
    let content = "[[trigger.http]]\nroute = \"/a/...\"\ncomponent = \"a\"\nexecutor = { type = \"wagi\" }\n\
                   [[trigger.http]]\nroute = \"/b/...\"\ncomponent = \"b\"\nexecutor = { type = \"wagi\" }\n\
                   [component.a]\nsource = \"<wagi>\"\n[component.b]\nsource = \"<wagi>\"\n";
    let directory = tempfile::tempdir().expect("a directory");
    let logs = directory.path().join("logs");
    std::fs::create_dir(&logs).expect("room");
    std::fs::write(logs.join("a_stderr.txt"), "of an earlier process\n").expect("room");
    let arguments = ["--log-dir", logs.to_str().expect("UTF-8"), "--follow", "b"];
    let server = launch(directory.path(), content, &arguments).environment("RUST_LOG", "warn").start(directory.path());
    assert_eq!(status(&server, "/a/").await, StatusCode::ACCEPTED);
    assert_eq!(status(&server, "/b/").await, StatusCode::ACCEPTED);
    for (name, before) in [("a", "of an earlier process\n"), ("b", "")] {
        let wanted = format!("{before}to the log\n");
        eventually("the line is in the file", async || {
            std::fs::read_to_string(logs.join(format!("{name}_stderr.txt"))).ok().filter(|text| *text == wanted)
        })
        .await;
    }
    server.log.line_with(&["to the log", "component=\"b\""]);
    assert!(!server.log.text().contains("component=\"a\""), "{}", server.log.text());
}

#[tokio::test]
async fn a_port_in_use_is_passed_over_if_asked() {
    let content = "[[trigger.http]]\nroute = \"/...\"\nstatic_response = { body = \"x\" }\n";
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let directory = tempfile::tempdir().expect("a directory");
    let refused = launch(directory.path(), content, &[]).listen(&address.to_string()).refused(directory.path());
    assert!(refused.contains("is in use"), "{refused}");
    let launch = launch(directory.path(), content, &["--find-free-port"]).listen(&address.to_string());
    let server = launch.start(directory.path());
    assert_ne!(server.url, format!("http://{address}"));
    assert_eq!(status(&server, "/").await, StatusCode::OK);
}
