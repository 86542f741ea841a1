//! Everything that is checked without running the code.

use anyhow::Result;

use crate::command::run;
use crate::setup::{self, Part};
use crate::wasi_c;
use crate::workspace::{WASM_TARGET, Workspace};

/// Checks format, lints (native and Wasm), documentation, and the dependencies' licences and sources; stops at the
/// first that fails.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace, &[Part::Build, Part::Lint])?;
    format(workspace)?;
    dependencies(workspace)?;
    clippy(workspace)?;
    documentation(workspace)
}

fn format(workspace: &Workspace) -> Result<()> {
    run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    let Some(fixtures) = workspace.fixtures() else { return Ok(()) };
    run(workspace.cargo().args(["fmt", "--all", "--check", "--manifest-path"]).arg(fixtures))
}

/// The advisory database is only to be had by git from a forge, which the continuous integration cannot reach: people
/// check advisories by hand.
fn dependencies(workspace: &Workspace) -> Result<()> {
    let deny = setup::cargo_deny_program(workspace);
    run(workspace.command(deny).args(["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))
}

/// In the release profile, which the tests use too: build scripts and macros are then built once.
fn clippy(workspace: &Workspace) -> Result<()> {
    let native = ["clippy", "--release", "--locked", "--workspace", "--all-targets"];
    run(workspace.cargo().args(native).args(["--", "--deny=warnings"]))?;

    let variables = wasi_c::find(workspace)?.unwrap_or_default();
    let guests = || {
        let mut cargo = workspace.cargo();
        cargo.args(["clippy", "--release", "--locked", "--target", WASM_TARGET]);
        wasi_c::set(&variables, &mut cargo);
        cargo
    };
    let components = workspace.components()?;
    let packages = components.iter().flat_map(|component| ["--package", component]);
    run(guests().args(packages).args(["--", "--deny=warnings"]))?;
    let Some(fixtures) = workspace.fixtures() else { return Ok(()) };
    let mut cargo = guests();
    cargo.args(["--workspace", "--target-dir", "target", "--manifest-path"]).arg(fixtures);
    run(cargo.args(["--", "--deny=warnings"]))
}

fn documentation(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["doc", "--release", "--locked", "--workspace", "--no-deps", "--document-private-items"]);
    run(cargo.env("RUSTDOCFLAGS", "--deny=warnings"))
}
