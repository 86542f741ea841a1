//! Starting: what is printed, what is kept between starts, and what is refused with which words.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use reqwest::StatusCode;

use crate::support::client::Visitor;
use crate::support::fixtures::manifest;
use crate::support::server::Launch;
use crate::support::workspace;

const PROBE: &str = r#"
[[trigger.http]]
route = "/..."
component = "probe"
[component.probe]
source = "<probe>"
"#;

/// Every compiled component in a cache, and when it was written. Statistics of use are left out.
fn compiled(cache: &Path) -> BTreeMap<String, SystemTime> {
    let mut found = BTreeMap::new();
    let mut directories = vec![cache.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("the cache") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_none() {
                let written = path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
                found.insert(path.display().to_string(), written);
            }
        }
    }
    found
}

#[tokio::test]
async fn the_second_start_compiles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = manifest(directory.path(), PROBE);
    let cache = directory.path().join("cache");
    let server = Launch::manifest(&path).with_own_cache().start(directory.path());
    server.kill();
    let first = compiled(&cache);
    assert!(!first.is_empty(), "nothing was compiled");
    let server = Launch::manifest(&path).with_own_cache().start(directory.path());
    assert_eq!(reqwest::get(format!("{}/x/environment/-", server.url)).await.unwrap().status(), StatusCode::OK);
    assert_eq!(compiled(&cache), first);
    server.kill();
    // What it found there is what it runs: without the file it compiles again.
    for file in first.keys() {
        fs::remove_file(file).expect("the file goes");
    }
    Launch::manifest(&path).with_own_cache().start(directory.path());
    let again = compiled(&cache);
    assert!(again.keys().eq(first.keys()) && again != first, "{again:?}");
}

#[tokio::test]
async fn it_says_what_runs_where() {
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().start(state.path());
    server.output.line_with(&["Mail goes to", "mail"]);
    assert!(server.output.line_with(&["gateway", "/..."]).contains(&server.url));
    server.output.line_with(&["reporter", "/api/v1/report/list"]);
    server.output.line_with(&["converter", "video"]);
    server.output.line_with(&["notifier", "mp3"]);
    // Port 0 was asked for, and a real one is printed.
    assert!(!server.address().ends_with(":0"), "{}", server.url);
    let health = Visitor::of(&server).request(reqwest::Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    let other = tempfile::tempdir().unwrap();
    let refusal = Launch::application().listen(server.address()).refused(other.path());
    assert!(refusal.contains(&format!("{} is in use", server.address())), "{refusal}");
}

#[tokio::test]
async fn quiet_means_quiet() {
    let directory = tempfile::tempdir().unwrap();
    let path = manifest(directory.path(), PROBE);
    let server = Launch::manifest(&path).argument("--quiet").start(directory.path());
    let response = reqwest::get(format!("{}/x/print/-?hello", server.url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let output = server.output.clone();
    let log = server.log.clone();
    assert!(server.stop().success());
    assert_eq!(output.text().lines().count(), 1, "{}", output.text());
    assert!(!log.text().contains("hello"), "{}", log.text());
}

#[tokio::test]
async fn one_state_directory_is_for_one_process() {
    let state = tempfile::tempdir().unwrap();
    let _server = Launch::application().start(state.path());
    let refusal = Launch::application().refused(state.path());
    assert!(refusal.contains("already uses") && refusal.contains("--state-dir"), "{refusal}");
}

#[tokio::test]
async fn an_import_that_nothing_provides_is_named_with_the_line_to_add() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = r#"
[[trigger.http]]
route = "/..."
component = "front"
[component.front]
source = "<gateway>"
key_value_stores = ["jobs"]
[component.front.tool.tessera]
blob_stores = { videos = "read-write", mp3s = "read-write" }
"#;
    let alone = manifest(directory.path(), gateway);
    let refusal = Launch::manifest(&alone).refused(directory.path());
    assert!(refusal.contains("component `front` imports `tessera:auth/"), "{refusal}");
    assert!(refusal.contains("[component.front.dependencies]"), "{refusal}");

    // The lines it says are the lines that help. At first nothing uses `users`, so it does not run.
    let mut content =
        format!("{gateway}[component.users]\nsource = \"<auth>\"\nkey_value_stores = [\"accounts\", \"keys\"]\n");
    let path = manifest(directory.path(), &content);
    let first = Launch::manifest(&path).refused(directory.path());
    let line = |refusal: &str| {
        let line = refusal.lines().find(|line| line.contains("{ component = \""));
        line.unwrap_or_else(|| panic!("no line to add in: {refusal}")).replace("<id>", "users")
    };
    content = format!("{content}[component.front.dependencies]\n{}\n", line(&first));
    let path = manifest(directory.path(), &content);
    let second = Launch::manifest(&path).refused(directory.path());
    assert!(second.contains("component `users` exports it"), "{second}");
    content = format!("{content}{}\n", line(&second));
    assert_ne!(first, second);
    let path = manifest(directory.path(), &content);
    let server = Launch::manifest(&path).start(directory.path());
    let response = Visitor::of(&server).login("nobody@example.org", "whatever it is").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn faults_are_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    for (content, parts) in [
        (PROBE.replace("<probe>", "nowhere.wasm"), ["component `probe`", "nowhere.wasm", "tessera build"]),
        (
            format!("{PROBE}[component.probe.tool.tessera]\nconsume = [{{ queue = \"work\" }}]\n"),
            ["component `probe`", "consume", "tessera:queue/consumer"],
        ),
        (PROBE.replace("source = \"<probe>\"", "source = \"<consumer>\""), ["component `probe`", "/...", "wasi:http"]),
        (format!("{PROBE}key_value_store = [\"x\"]\n"), ["spin.toml", "key_value_store", "key_value_stores"]),
    ] {
        let path = manifest(directory.path(), &content);
        let refusal = Launch::manifest(&path).refused(directory.path());
        for part in parts {
            assert!(refusal.contains(part), "`{part}` is not in: {refusal}");
        }
    }
    let missing = workspace("no/such/spin.toml");
    let refusal = Launch::manifest(&missing).refused(directory.path());
    assert!(refusal.contains("no/such/spin.toml"), "{refusal}");
}

#[tokio::test]
async fn components_are_built_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let content = PROBE.replace("source = \"<probe>\"", "source = \"made/probe.wasm\"")
        + "[component.probe.build]\ncommand = [\"mkdir -p made\", \"cp <probe> made/probe.wasm\"]\n";
    let path = manifest(directory.path(), &content);
    let refusal = Launch::manifest(&path).refused(directory.path());
    assert!(refusal.contains("tessera up --build"), "{refusal}");
    let server = Launch::manifest(&path).argument("--build").argument("--env").argument("A=b").start(directory.path());
    let response = reqwest::get(format!("{}/x/environment/-", server.url)).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "A=b\n");

    let path = manifest(directory.path(), &content.replace("\"mkdir -p made\"", "\"exit 3\""));
    let refusal = Launch::manifest(&path).argument("--build").refused(directory.path());
    assert!(refusal.contains("component `probe`") && refusal.contains("exit 3"), "{refusal}");
}
