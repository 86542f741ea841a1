//! What a machine needs beyond cargo, and how to get it.
//!
//! Every need is looked for by trying it, never by asking a package manager, so that tools from elsewhere count.
//! What does not need root goes below `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::apt;
use crate::command::{output, run, succeeds};
use crate::wasi_c;
use crate::workspace::{MODULE_TARGET, WASM_TARGET, Workspace};

const CARGO_DENY: &str = "0.20.2";
const AIOSMTPD: &str = "1.4.6";
const MOVIEPY: &str = "2.2.1";

/// What the machine is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Building the host and the components.
    Build,
    /// Checking the sources.
    Lint,
    /// The servers and tools that tests start.
    Test,
    /// The peers that benches measure against, and what makes load.
    Bench,
}

/// Debian packages that are wanted together, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) packages: Vec<String>,
    pub(crate) why: &'static str,
}

impl Need {
    fn new(package: &str, why: &'static str) -> Self {
        Self { packages: vec![package.to_owned()], why }
    }
}

/// Installs what the parts need and is missing. Says so on one line if that is nothing.
pub(crate) fn ensure(workspace: &Workspace, parts: &[Part]) -> Result<()> {
    // All, not any: each installs.
    let ready =
        [rust(parts)?, debian(workspace, parts)?, smtp_server(workspace, parts)?, cargo_deny(workspace, parts)?];
    if ready.iter().all(|ready| *ready) {
        eprintln!("Set-up: nothing to do.");
    }
    Ok(())
}

/// The parts of the Rust toolchain. Answers, as the following functions, whether everything was there already.
fn rust(parts: &[Part]) -> Result<bool> {
    let mut ready = true;
    let targets = [
        (true, WASM_TARGET, "Rust's standard library for WebAssembly: components are built with it"),
        (parts.contains(&Part::Test), MODULE_TARGET, "the same for core modules: tests run some"),
    ];
    for (_, target, why) in targets.into_iter().filter(|(wanted, ..)| *wanted) {
        let libraries = output(Command::new("rustc").args(["--print=target-libdir", "--target", target]))?;
        if !Path::new(libraries.trim()).is_dir() {
            rustup(&["target", "add", target], why)?;
            ready = false;
        }
    }
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if parts.contains(&Part::Lint) && !succeeds(Command::new("cargo").args([subcommand, "--version"])) {
            rustup(&["component", "add", component], "checks the sources")?;
            ready = false;
        }
    }
    Ok(ready)
}

fn rustup(arguments: &[&str], why: &str) -> Result<()> {
    let what = arguments.join(" ");
    if !succeeds(Command::new("rustup").arg("--version")) {
        bail!("missing: `rustup {what}` ({why}), but there is no rustup here: install Rust from https://rustup.rs");
    }
    eprintln!("Adding to the Rust toolchain: {why}");
    run(Command::new("rustup").args(arguments))
}

fn debian(workspace: &Workspace, parts: &[Part]) -> Result<bool> {
    let mut needs = Vec::new();
    if wasi_c::find(workspace)?.is_none() {
        needs.push(wasi_c::need()?);
    }
    needs.extend(programs(parts, |program| match program {
        // Debian splits off what venv needs inside.
        "python3-venv" => python().is_some() || test_python(workspace).is_file(),
        program => succeeds(Command::new("sh").args(["-c", "command -v \"$0\"", program])),
    }));
    if needs.is_empty() {
        return Ok(true);
    }
    apt::install(&needs)?;
    if wasi_c::find(workspace)?.is_none() {
        bail!(
            "clang cannot make WebAssembly programs, though its packages are installed: set WASI_SDK_PATH to a WASI SDK"
        );
    }
    Ok(false)
}

/// The missing ones of the programs that the parts need.
fn programs(parts: &[Part], present: impl Fn(&str) -> bool) -> Vec<Need> {
    let all = [
        (Part::Build, "make", "make", "builds LAME"),
        (Part::Test, "redis-server", "redis-server", "tests start Redis servers of their own, on free ports"),
        (Part::Test, "ffmpeg", "ffmpeg", "tests compare the converter's work with it"),
        (Part::Bench, "ffmpeg", "ffmpeg", "benches compare the converter's speed with it"),
        (Part::Bench, "wrk", "wrk", "benches make requests with it"),
        (Part::Test, "python3-venv", "python3-venv", "tests start an SMTP server that is written in Python"),
    ];
    let wanted = all.into_iter().filter(|(part, program, ..)| parts.contains(part) && !present(program));
    wanted.map(|(_, _, package, why)| Need::new(package, why)).collect()
}

/// A Python that can make virtual environments.
fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(|python| succeeds(Command::new(python).args(["-c", "import venv, ensurepip"])))
}

/// The Python of the virtual environment that `Part::Test` makes: it has aiosmtpd.
pub(crate) fn test_python(workspace: &Workspace) -> PathBuf {
    workspace.path("target/test-venv/bin/python")
}

fn smtp_server(workspace: &Workspace, parts: &[Part]) -> Result<bool> {
    let installed = test_python(workspace);
    if !parts.contains(&Part::Test) || succeeds(Command::new(&installed).args(["-c", "import aiosmtpd"])) {
        return Ok(true);
    }
    eprintln!("Installing aiosmtpd into target/test-venv: the SMTP server that tests send mail to");
    let Some(python) = python() else {
        bail!("python3 cannot make virtual environments: install its modules venv and ensurepip");
    };
    run(workspace.command(python).args(["-m", "venv", "target/test-venv"]))?;
    run(Command::new(&installed).args(["-m", "pip", "install", "--quiet", &format!("aiosmtpd=={AIOSMTPD}")]))?;
    Ok(false)
}

/// What converted videos before, for the bench.
pub(crate) fn moviepy(workspace: &Workspace) -> Result<()> {
    ensure(workspace, &[Part::Test])?;
    let python = test_python(workspace);
    if succeeds(Command::new(&python).args(["-c", "import moviepy"])) {
        return Ok(());
    }
    eprintln!("Installing moviepy into target/test-venv: the converter is measured against it");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", &format!("moviepy=={MOVIEPY}")]))
}

/// cargo-deny: the one on the PATH, or the one installed below `target/`.
pub(crate) fn cargo_deny_program(workspace: &Workspace) -> PathBuf {
    let own = workspace.path("target/tools/bin/cargo-deny");
    if own.is_file() { own } else { PathBuf::from("cargo-deny") }
}

fn cargo_deny(workspace: &Workspace, parts: &[Part]) -> Result<bool> {
    if !parts.contains(&Part::Lint) || succeeds(Command::new(cargo_deny_program(workspace)).arg("--version")) {
        return Ok(true);
    }
    eprintln!("Installing cargo-deny into target/tools: checks the dependencies' licences and sources");
    // Unoptimised and without its own TLS roots it builds in about a minute, and runs in a second.
    let mut cargo = workspace.command("cargo");
    cargo.args(["install", "--quiet", "--locked", "cargo-deny", "--version", CARGO_DENY]);
    cargo.args(["--debug", "--no-default-features", "--root", "target/tools"]);
    run(cargo.env("CARGO_PROFILE_DEV_DEBUG", "false").env_remove("CARGO_TARGET_DIR"))?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(parts: &[Part], present: &[&str]) -> Vec<String> {
        programs(parts, |program| present.contains(&program)).into_iter().flat_map(|need| need.packages).collect()
    }

    #[test]
    fn asks_only_for_what_is_missing() {
        assert_eq!(packages(&[Part::Build, Part::Test], &["make", "ffmpeg"]), ["redis-server", "python3-venv"]);
        assert!(packages(&[Part::Test], &["redis-server", "ffmpeg", "python3-venv"]).is_empty());
    }

    #[test]
    fn asks_only_for_the_parts_wanted() {
        assert_eq!(packages(&[Part::Build], &[]), ["make"]);
        assert!(packages(&[Part::Lint], &[]).is_empty());
    }
}
