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
    let fixtures = workspace.fixtures();
    let variables = wasi_c::find(workspace)?.unwrap_or_default();

    run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    run(workspace.cargo().args(["fmt", "--all", "--check", "--manifest-path"]).arg(&fixtures))?;

    // The advisory database is only to be had by git from a forge, which the continuous integration cannot reach;
    // `cargo deny check advisories` is for people. It needs no build, so it comes before the long ones.
    let deny = setup::cargo_deny_program(workspace);
    run(workspace.command(deny).args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;

    // In the release profile, which the tests use too: build scripts and macros are then built once.
    let clippy = ["clippy", "--release", "--locked"];
    run(workspace.cargo().args(clippy).args(["--workspace", "--all-targets", "--", "--deny=warnings"]))?;
    let components = workspace.components()?;
    let packages = components.iter().flat_map(|component| ["--package", component]);
    let mut guests = workspace.cargo();
    guests.args(clippy).args(["--target", WASM_TARGET]).args(packages).args(["--", "--deny=warnings"]);
    run(wasi_c::set(&variables, &mut guests))?;
    let mut guests = workspace.cargo();
    guests.args(clippy).args(["--target", WASM_TARGET, "--workspace", "--target-dir", "target", "--manifest-path"]);
    run(guests.arg(&fixtures).args(["--", "--deny=warnings"]))?;

    let documentation = ["doc", "--release", "--locked", "--workspace", "--no-deps", "--document-private-items"];
    run(workspace.cargo().args(documentation).env("RUSTDOCFLAGS", "--deny=warnings"))
}
