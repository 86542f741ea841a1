//! Who may import whom in `host/`: contracts know neither WIT nor engines, engines know nothing of
//! the runtime, and the runtime's modules import downwards only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::workspace;

/// The runtime's modules, from the top down: each may use those below its own line.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["compose"],
    &["admin", "telemetry", "trigger"],
    &["app", "server"],
    &["engine"],
    &["bindings", "state", "stdio"],
    &["network"],
    &["counted", "cpu", "grants", "variables"],
    &["log_rate"],
    &["config", "exceeded", "manifest", "stats"],
    &["diagnostic", "trace"],
];

/// Edges between modules of one layer.
const BESIDE: &[(&str, &str)] = &[("state", "bindings")];

/// Only here may engines be named.
const NAMES_ENGINES: &str = "compose";

fn dependencies(package: &str) -> BTreeSet<String> {
    let path = workspace(package).join("Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(path).expect("a manifest").parse().expect("TOML");
    ["dependencies", "build-dependencies"]
        .iter()
        .filter_map(|table| manifest.get(*table)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect()
}

fn has(dependencies: &BTreeSet<String>, prefix: &str) -> bool {
    dependencies.iter().any(|name| name.starts_with(prefix))
}

#[test]
fn packages_depend_in_one_direction() {
    let (capability, backends, runtime) =
        (dependencies("host/capability"), dependencies("host/backends"), dependencies("host/runtime"));
    for package in [&capability, &backends] {
        for forbidden in ["wasmtime", "wit-", "tessera-runtime"] {
            assert!(!has(package, forbidden), "{forbidden} in {package:?}");
        }
    }
    for engine in ["tessera-backends", "redb", "fjall", "redis", "lettre", "rusqlite", "rusqlite"] {
        assert!(!has(&capability, engine), "{engine} in {capability:?}");
    }
    for engine in ["redb", "fjall", "redis", "lettre", "rusqlite"] {
        assert!(!has(&runtime, engine), "{engine} in {runtime:?}");
    }
    assert!(has(&backends, "tessera-capability") && has(&runtime, "tessera-backends"));
}

/// All source files below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// A file's code without comments, and without tests at its end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The modules that follow `crate::` anywhere in the code, those of `crate::{…}` included.
fn used(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut modules = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            modules.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    modules.insert(word(&list[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    modules
}

#[test]
fn imports_are_found() {
    let code = "use crate::app::{self, App};\nuse crate::{cli, engine::{a, b}};\nlet x = crate::state::State;\nuse crate::{\n    manifest,\n};";
    assert_eq!(used(code).into_iter().collect::<Vec<_>>(), ["app", "cli", "engine", "manifest", "state"]);
}

#[test]
fn the_runtimes_modules_import_downwards_only() {
    let root = workspace("host/runtime/src");
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    let mut faults = Vec::new();
    let mut edges = 0;
    for path in sources(&root) {
        let relative = path.strip_prefix(&root).expect("a path below");
        let first = relative.components().next().expect("a name").as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        let from = layer(&module).unwrap_or_else(|| panic!("give the module `{module}` its place in LAYERS"));
        let code = code(&path);
        for other in used(&code).iter().filter(|other| **other != module) {
            let to = layer(other).unwrap_or_else(|| panic!("`{other}` in {}", relative.display()));
            edges += 1;
            if to <= from && !BESIDE.contains(&(module.as_str(), other.as_str())) {
                faults.push(format!("{} uses `{other}`", relative.display()));
            }
        }
        if code.contains("tessera_backends") && module != NAMES_ENGINES {
            faults.push(format!("{} names an engine", relative.display()));
        }
    }
    assert!(edges > 20, "the sources are read");
    assert!(faults.is_empty(), "never upwards: {faults:#?}");
}
