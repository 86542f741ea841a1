//! Building the host and the components, and running them.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::command::{self, run};
use crate::setup::{self, Part};
use crate::wasi_c;
use crate::workspace::Workspace;

/// Where `up` listens unless its arguments say otherwise.
const ADDRESS: &str = "127.0.0.1:3000";

/// Builds the tessera binary and every component, after installing what that needs.
pub(crate) fn everything(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace, &[Part::Build])?;
    run(workspace.cargo().args(["build", "--release", "--package", "tessera-runtime"]))?;
    components(workspace)
}

/// Builds the components by their build commands in spin.toml. The binary must be built.
pub(crate) fn components(workspace: &Workspace) -> Result<()> {
    let variables = wasi_c::find(workspace)?.unwrap_or_default();
    let mut tessera = workspace.command(workspace.binary());
    if std::env::var_os("CARGO_TARGET_DIR").is_some() {
        tessera.env("CARGO_TARGET_DIR", workspace.path("target"));
    }
    run(wasi_c::set(&variables, tessera.arg("build")))
}

/// Builds everything, then becomes `tessera up`.
pub(crate) fn up(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    everything(workspace)?;
    let mut tessera = workspace.command(workspace.binary());
    tessera.args(up_arguments(arguments));
    command::echo(&tessera);
    // By replacing this process: signals reach the server itself, and its exit status is ours.
    Err(tessera.exec()).with_context(|| format!("cannot start {}", workspace.binary().display()))
}

fn up_arguments(arguments: &[String]) -> Vec<&str> {
    let listens = arguments.iter().any(|argument| argument == "--listen" || argument.starts_with("--listen="));
    let default = if listens { vec!["up"] } else { vec!["up", "--listen", ADDRESS] };
    default.into_iter().chain(arguments.iter().map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn listens_on_a_fixed_port_unless_told() {
        assert_eq!(up_arguments(&[]), ["up", "--listen", "127.0.0.1:3000"]);
        assert_eq!(up_arguments(&arguments("--quiet")), ["up", "--listen", "127.0.0.1:3000", "--quiet"]);
        assert_eq!(up_arguments(&arguments("--listen [::1]:0")), ["up", "--listen", "[::1]:0"]);
        assert_eq!(up_arguments(&arguments("--listen=[::1]:0")), ["up", "--listen=[::1]:0"]);
    }
}
