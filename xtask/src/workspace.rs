//! Where things are: the root, the target directory, the packages, and cargo itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// The target that components are built for.
pub(crate) const WASM_TARGET: &str = "wasm32-wasip2";

/// What the fixtures of [`MODULES`] are built for: core modules, as older SDKs make them.
pub(crate) const MODULE_TARGET: &str = "wasm32-wasip1";

/// The fixtures that are core modules.
pub(crate) const MODULES: &[&str] = &["fixture-sdk2", "fixture-wagi"];

/// The workspace this program belongs to.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the root from the package directory that `cargo run` names.
    pub(crate) fn find() -> Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&package).parent().context("the package xtask has no parent directory")?;
        Ok(Self { root: root.to_owned() })
    }

    /// A path inside the workspace.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// The host's binary, once built.
    pub(crate) fn binary(&self) -> PathBuf {
        self.path("target/release/tessera")
    }

    /// A command that runs in the root.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// Cargo, in the root, with the target directory where spin.toml looks for components: `target`, whatever
    /// CARGO_TARGET_DIR says.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = self.command("cargo");
        if std::env::var_os("CARGO_TARGET_DIR").is_some() {
            cargo.env("CARGO_TARGET_DIR", self.path("target"));
        }
        cargo
    }

    /// The packages under `components/`, by name: those that are built for Wasm.
    pub(crate) fn components(&self) -> Result<Vec<String>> {
        let metadata = command::output(self.cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
        let metadata = serde_json::from_str(&metadata).context("cannot read what `cargo metadata` says")?;
        Ok(packages_under(&metadata, &self.path("components")))
    }

    /// The manifest of the components that only tests use. They are a workspace of their own, so that building this
    /// one leaves them out.
    pub(crate) fn fixtures(&self) -> Option<PathBuf> {
        Some(self.path("tests/fixtures/Cargo.toml")).filter(|manifest| manifest.is_file())
    }
}

fn packages_under(metadata: &Value, directory: &Path) -> Vec<String> {
    let packages = metadata.get("packages").and_then(Value::as_array).into_iter().flatten();
    packages
        .filter(|package| {
            package
                .get("manifest_path")
                .and_then(Value::as_str)
                .is_some_and(|path| Path::new(path).starts_with(directory))
        })
        .filter_map(|package| Some(package.get("name")?.as_str()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_packages_by_directory() {
        let metadata = serde_json::json!({"packages": [
            {"name": "auth", "manifest_path": "/w/components/auth/Cargo.toml"},
            {"name": "xtask", "manifest_path": "/w/xtask/Cargo.toml"},
            {"name": "web", "manifest_path": "/w/components-old/web/Cargo.toml"},
        ]});
        assert_eq!(packages_under(&metadata, Path::new("/w/components")), ["auth"]);
    }

    #[test]
    fn finds_the_root() {
        let workspace = Workspace::find().unwrap();
        assert!(workspace.path("xtask/Cargo.toml").is_file());
        assert!(workspace.path("Cargo.lock").is_file());
    }
}
