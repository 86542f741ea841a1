//! What of Spin is not here stops the start, by name, and says what to do.

use crate::support::fixtures::{Fixture, manifest, wasm};
use crate::support::server::Launch;

/// A component that imports one interface with one function, and does nothing.
fn importing(interface: &str) -> String {
    format!("(component (import \"{interface}\" (instance (export \"f\" (func)))))")
}

#[test]
fn interfaces_are_refused_by_name() {
    for (interface, what) in [
        ("fermyon:spin/mqtt@2.0.0", "MQTT"),
        ("spin:mqtt/mqtt@3.0.0", "MQTT"),
        ("fermyon:spin/mysql@2.0.0", "MySQL"),
        ("spin:mysql/mysql@3.0.0", "MySQL"),
        ("fermyon:spin/postgres@2.0.0", "PostgreSQL"),
        ("spin:postgres/postgres@3.0.0", "PostgreSQL"),
        ("wasi:blobstore/blobstore@0.2.0-draft-2024-09-01", "wasi:blobstore"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("component.wat"), importing(interface)).unwrap();
        let path = manifest(
            directory.path(),
            "[[trigger.http]]\nroute = \"/\"\ncomponent = \"old\"\n[component.old]\nsource = \"component.wat\"\n\
             allowed_outbound_hosts = [\"mqtt://a.example\", \"mysql://a.example\", \"postgres://a.example\"]\n",
        );
        let refused = Launch::manifest(&path).refused(directory.path());
        assert!(refused.contains(&format!("`old` imports `{interface}`")), "{refused}");
        assert!(refused.contains(what) && refused.contains("not provided here"), "{refused}");
    }
}

/// Components of Python import all that their SDK knows, and run as long as they do not use it.
#[tokio::test]
async fn what_is_imported_without_a_grant_is_denied_when_it_is_called() {
    let app = Fixture::start(
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"five\"\n[component.five]\nsource = \"<spin5>\"\n\
         [component.five.variables]\nword = \"hello\"\n",
    );
    assert_eq!(app.probe("5/variables/get/word", "").await, "hello");
    let answer = app.probe("5/mysql/open?mysql://db.example/shop", "").await;
    assert_eq!(answer, "Error::ConnectionFailed(\"address mysql://db.example/shop is not permitted\")");
    app.server.log.line_with(&["denied: MySQL is not granted by `allowed_outbound_hosts`", "five"]);
    let answer = app.probe("5/llm/infer?llama2-chat", "").await;
    assert!(
        answer.starts_with("Error::InvalidInput(\"The component does not have access to use 'llama2-chat'"),
        "{answer}"
    );
    assert_eq!(app.probe("5/variables/get/word", "").await, "hello");
}

#[test]
fn an_application_without_triggers_is_refused() {
    let probe = wasm("probe").display().to_string();
    let directory = tempfile::tempdir().expect("a directory");
    let content = format!("[trigger]\n[component.a]\nsource = \"{probe}\"\n");
    let refused = Launch::manifest(&manifest(directory.path(), &content)).refused(directory.path());
    assert!(refused.contains("No triggers in app"), "{refused}");
}

/// Spin loads what a trigger calls; the rest of a manifest may be for elsewhere.
#[tokio::test]
async fn a_component_that_nothing_calls_may_need_what_is_not_here() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("component.wat"), importing("nonspin:crimes/unsupported")).unwrap();
    let app = Fixture::start_in(
        directory,
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"old\"\n[component.old]\nsource = \"<wasi02>\"\n\
         [component.idle]\nsource = \"component.wat\"\n",
    );
    assert!(reqwest::get(&app.server.url).await.expect("an answer").status().is_success());
    app.server.log.line_with(&["nothing uses the component `idle`"]);
}

#[test]
fn registries_are_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let launch = Launch::manifest(std::path::Path::new("registry.example/team/shop:v1"));
    let refused = launch.refused(directory.path());
    assert!(refused.contains("registry.example/team/shop:v1 is an application in a registry"), "{refused}");
}

#[test]
fn triggers_and_models_are_refused_by_name() {
    let probe = wasm("probe").display().to_string();
    for (content, complaint) in [
        (format!("[[trigger.mqtt]]\ntopic = \"t\"\n[component.a]\nsource = \"{probe}\"\n"), "`mqtt` is not supported"),
        (format!("[trigger]\n[component.a]\nsource = \"{probe}\"\nai_models = [\"llama2-chat\"]\n"), "llama2-chat"),
        (
            format!("[[trigger.redis]]\nchannel = \"c\"\ncomponent = \"a\"\n[component.a]\nsource = \"{probe}\"\n"),
            "no Redis server",
        ),
        (
            format!(
                "[[trigger.http]]\nroute = \"/\"\ncomponent = \"a\"\ndependencies.middleware = [{{ component = \"b\" }}]\n\
                 [component.a]\nsource = \"{probe}\"\n[component.b]\nsource = \"{probe}\"\n"
            ),
            "middleware (`dependencies` of a trigger) is not supported",
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let refused = Launch::manifest(&manifest(directory.path(), &content)).refused(directory.path());
        assert!(refused.contains(complaint), "{refused}");
    }
}

#[test]
fn engines_are_refused_by_name() {
    let probe = wasm("probe").display().to_string();
    let content = format!(
        "[[trigger.http]]\nroute = \"/\"\ncomponent = \"a\"\n[component.a]\nsource = \"{probe}\"\nkey_value_stores = [\"default\"]\nsqlite_databases = [\"default\"]\n"
    );
    for (table, complaint) in [
        ("[key_value_store.default]\ntype = \"azure_cosmos\"\n", "`azure_cosmos` is not provided"),
        ("[key_value_store.default]\ntype = \"aws_dynamo\"\n", "`aws_dynamo` is not provided"),
        ("[sqlite_database.default]\ntype = \"libsql\"\nurl = \"https://a\"\n", "`libsql` is not provided"),
        ("[llm_compute]\ntype = \"spin\"\n", "AI models are not provided"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("runtime.toml");
        std::fs::write(&config, table).unwrap();
        let launch = Launch::manifest(&manifest(directory.path(), &content))
            .argument("--runtime-config-file")
            .argument(config.to_str().unwrap());
        let refused = launch.refused(directory.path());
        assert!(refused.contains(complaint), "{refused}");
    }
}
