//! Applications made of the components in `tests/fixtures`.

use std::path::{Path, PathBuf};

use super::server::{Launch, Server};
use super::workspace;

/// A component's file, such as `probe` or `gateway`.
pub(crate) fn wasm(name: &str) -> PathBuf {
    let files = [
        format!("wasip2/release/fixture_{name}"),
        format!("wasip2/release/{name}"),
        format!("wasip1/release/fixture_{name}"),
    ];
    let found = files.iter().map(|file| workspace(&format!("target/wasm32-{file}.wasm"))).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name}.wasm is missing: run `cargo xtask test`"))
}

/// Writes a manifest with these components and triggers; `<name>` stands for a component's file.
pub(crate) fn manifest(directory: &Path, content: &str) -> PathBuf {
    let mut text = format!("spin_manifest_version = 2\n[application]\nname = \"fixture\"\n{content}");
    for name in ["auth", "consumer", "gateway", "inbound", "probe", "sdk2", "sdk6", "spin5", "spin7", "wagi", "wasi02"]
    {
        let place = format!("<{name}>");
        if text.contains(&place) {
            text = text.replace(&place, wasm(name).to_str().expect("a path in UTF-8"));
        }
    }
    let path = directory.join("spin.toml");
    std::fs::write(&path, text).expect("room for the manifest");
    path
}

/// A running fixture application, its manifest and state in a directory of their own.
pub(crate) struct Fixture {
    pub(crate) server: Server,
    pub(crate) directory: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn start(content: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), content)
    }

    /// Starts it beside the files that are in `directory` already.
    pub(crate) fn start_in(directory: tempfile::TempDir, content: &str) -> Self {
        let server = Launch::manifest(&manifest(directory.path(), content)).start(directory.path());
        Self { server, directory }
    }

    /// Tries something by the probe, and answers what came of it.
    pub(crate) async fn probe(&self, path: &str, body: &str) -> String {
        let url = format!("{}/{path}", self.server.url);
        let response = reqwest::Client::new().post(&url).body(body.to_owned()).send().await.expect("an answer");
        assert!(response.status().is_success(), "{url}: {}", response.status());
        response.text().await.expect("text")
    }
}
