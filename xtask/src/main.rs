//! `cargo xtask`: sets up, builds, runs, tests and lints the workspace, each by one command.
//!
//! It runs the ordinary tools (cargo, apt-get, rustup, pip) and echoes every command, so that whatever it does can
//! be done by hand too. One file per verb; `setup` knows what a machine needs and how to get it.

mod apt;
mod bench;
mod build;
mod command;
mod lint;
mod setup;
mod test;
mod totals;
mod wasi_c;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Part;
use crate::totals::Totals;
use crate::workspace::Workspace;

/// Sets up, builds, runs, tests and lints Tessera.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what this machine lacks for building, linting and testing, saying what and why
    ///
    /// Installs: the Rust target wasm32-wasip2 and the components rustfmt and clippy (rustup), a C compiler and C
    /// library for WebAssembly, redis-server, ffmpeg and python3-venv (apt-get, as root or by passwordless sudo),
    /// aiosmtpd (pip, into target/test-venv) and cargo-deny (cargo, into target/tools).
    ///
    /// With WASI_SDK_PATH set, that WASI SDK is the C compiler for WebAssembly. Without apt-get it lists what is
    /// missing.
    Setup,
    /// Build the tessera binary and all components
    ///
    /// The binary ends up as target/release/tessera, the components as target/wasm32-wasip2/release/*.wasm. Installs
    /// what building needs first (see setup). The first build takes some minutes, Wasmtime's share being the largest.
    Build,
    /// Build everything, then run the application on 127.0.0.1:3000 until Ctrl-C
    Up {
        /// Arguments for `tessera up`, after `--`; a --listen among them replaces 127.0.0.1:3000
        #[arg(last = true, value_name = "ARGUMENTS")]
        arguments: Vec<String>,
    },
    /// Run all tests, or those whose name contains FILTER
    ///
    /// Installs what the tests need (see setup), builds the binary, the components and the test fixtures, and runs
    /// every test of the workspace, end-to-end tests included. Prints the totals last: `N passed, N failed, N skipped`.
    Test {
        /// Run only the tests whose full name contains this text
        filter: Option<String>,
    },
    /// Check format, lints, documentation, licences and sources of dependencies
    Lint,
    /// Lint, then test: what the continuous integration runs
    Ci,
    /// Measure against a peer in the same run, and print the ratio
    ///
    /// Installs wrk and ffmpeg with apt-get if they are missing.
    Bench {
        /// What to measure
        what: bench::Bench,
        /// How many swaps `swap` makes
        #[arg(long, default_value_t = 200)]
        swaps: usize,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match verb {
        Verb::Setup => setup::ensure(&workspace, &[Part::Build, Part::Lint, Part::Test])?,
        Verb::Build => build::everything(&workspace)?,
        Verb::Up { arguments } => build::up(&workspace, &arguments)?,
        Verb::Test { filter } => return Ok(concluded(&test::all(&workspace, filter.as_deref())?)),
        Verb::Lint => lint::check(&workspace)?,
        Verb::Bench { what, swaps } => bench::bench(&workspace, what, swaps)?,
        Verb::Ci => {
            lint::check(&workspace)?;
            return Ok(concluded(&test::all(&workspace, None)?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the totals, with nothing after them.
fn concluded(totals: &Totals) -> ExitCode {
    println!("{totals}");
    if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
