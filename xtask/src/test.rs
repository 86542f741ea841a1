//! Running every test, and adding up the results.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::build;
use crate::command::{self, run};
use crate::setup::{self, Part};
use crate::totals::Totals;
use crate::workspace::{MODULE_TARGET, MODULES, WASM_TARGET, Workspace};

/// Installs what tests need, builds the host, the components and the fixtures, and runs the tests whose name
/// contains the filter.
pub(crate) fn all(workspace: &Workspace, filter: Option<&str>) -> Result<Totals> {
    setup::ensure(workspace, &[Part::Test])?;
    build::everything(workspace)?;
    fixtures(workspace)?;

    // The runtime alone, as `up` builds it: together with the others Cargo would unify the features of what they
    // share, and build Wasmtime a second time.
    let selections: [&[&str]; 2] =
        [&["--package", "tessera-runtime"], &["--workspace", "--exclude", "tessera-runtime"]];
    let mut totals = Totals::default();
    for selection in selections {
        let mut cargo = workspace.cargo();
        cargo.args(["test", "--release", "--no-fail-fast"]).args(selection).args(filter);
        // Every server was just installed, so a test that misses one has to fail.
        cargo.env("REQUIRE_SERVICES", "1").env("TESSERA_TEST_PYTHON", setup::test_python(workspace));
        totals += count(&mut cargo, &mut std::io::stdout())?;
    }
    Ok(totals)
}

/// Builds the components that only tests use, beside the others.
pub(crate) fn fixtures(workspace: &Workspace) -> Result<()> {
    let Some(manifest) = workspace.fixtures() else { return Ok(()) };
    let build = |target, packages: &[String]| {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--release", "--target", target, "--target-dir", "target"]);
        run(cargo.arg("--manifest-path").arg(&manifest).args(packages))
    };
    let all = ["--workspace".to_owned()].into_iter().chain(MODULES.iter().map(|name| format!("--exclude={name}")));
    build(WASM_TARGET, &all.collect::<Vec<_>>())?;
    build(MODULE_TARGET, &MODULES.iter().map(|name| format!("--package={name}")).collect::<Vec<_>>())
}

/// Runs `cargo test`, copying its output to `out` as it comes, and adds up what it reports. A failure outside of the tests,
/// such as one to compile or a test binary that is killed, counts as a failed test.
fn count(cargo: &mut Command, out: &mut impl Write) -> Result<Totals> {
    command::echo(cargo);
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut output = BufReader::new(child.stdout.take().context("cargo has no output")?);
    let mut totals = Totals::default();
    let mut line = Vec::new();
    // By bytes: tests may print anything.
    while output.read_until(b'\n', &mut line)? > 0 {
        out.write_all(&line)?;
        totals.add_line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    let status = child.wait()?;
    if !status.success() && totals.failed == 0 {
        eprintln!("cargo test failed ({status}), though no test reported a failure: counted as one");
        totals.failed = 1;
    }
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(script: &str) -> Totals {
        count(Command::new("sh").args(["-c", script]), &mut std::io::sink()).unwrap()
    }

    #[test]
    fn adds_up_the_output() {
        let script = "printf '\\377\\n'; echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured'";
        let mut out = Vec::new();
        let totals = count(Command::new("sh").args(["-c", script]), &mut out).unwrap();
        assert_eq!(totals, Totals { passed: 2, failed: 0, skipped: 1 });
        assert_eq!(out, b"\xff\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured\n");
    }

    #[test]
    fn a_crash_is_a_failure() {
        let totals = counted("echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured'; kill -9 $$");
        assert_eq!(totals, Totals { passed: 2, failed: 1, skipped: 0 });
    }

    #[test]
    fn a_reported_failure_counts_once() {
        let totals = counted("echo 'test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured'; exit 101");
        assert_eq!(totals.failed, 3);
    }
}
