//! What of Spin is not here stops the start, by name, and says what to do.

use crate::support::fixtures::{manifest, wasm};
use crate::support::server::Launch;

/// A component that imports one interface with one function, and does nothing.
fn importing(interface: &str) -> String {
    format!("(component (import \"{interface}\" (instance (export \"f\" (func)))))")
}

#[test]
fn interfaces_are_refused_by_name() {
    for (interface, what) in [
        ("fermyon:spin/llm@2.0.0", "large language models"),
        ("fermyon:spin/llm", "large language models"),
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
            "[[trigger.http]]\nroute = \"/\"\ncomponent = \"old\"\n[component.old]\nsource = \"component.wat\"\n",
        );
        let refused = Launch::manifest(&path).refused(directory.path());
        assert!(refused.contains(&format!("`old` imports `{interface}`")), "{refused}");
        assert!(refused.contains(what) && refused.contains("not provided here"), "{refused}");
    }
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
        "[trigger]\n[component.a]\nsource = \"{probe}\"\nkey_value_stores = [\"default\"]\nsqlite_databases = [\"default\"]\n"
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
