//! Benches: what Tessera does, next to a peer that does the same in the same run. Only the ratios mean something on a
//! machine that others use too.

mod convert;
mod healthz;
mod isolation;
mod memory;
mod server;
mod swap;

use anyhow::Result;
use clap::ValueEnum;

use crate::build;
use crate::command::run;
use crate::setup::{self, Part};
use crate::test;
use crate::workspace::Workspace;

/// What to measure.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Bench {
    /// Requests per second of /healthz, against a bare hyper server
    Healthz,
    /// Publishing and consuming messages on the embedded engine, against bare fdatasync calls
    Queue,
    /// Converting films, long and short ones, against ffmpeg and moviepy on the same files
    Convert,
    /// What misbehaving neighbours do to a component's p99, and to the host's memory
    Isolation,
    /// Memory of the idle process, and during an upload of 1 GiB
    Memory,
    /// Swaps under load: failed requests, lost and doubled jobs, latency of swaps and of requests meanwhile
    Swap,
}

/// Installs and builds what a bench needs, and runs it.
pub(crate) fn bench(workspace: &Workspace, what: Bench, swaps: usize) -> Result<()> {
    setup::ensure(workspace, &[Part::Build, Part::Bench])?;
    if let Bench::Queue = what {
        let example = ["run", "--release", "--package", "tessera-backends", "--example", "queue_bench"];
        return run(workspace.cargo().args(example));
    }
    build::everything(workspace)?;
    match what {
        Bench::Healthz => healthz::bench(workspace),
        Bench::Convert => convert::bench(workspace),
        Bench::Isolation => {
            test::fixtures(workspace)?;
            isolation::bench(workspace)
        }
        Bench::Swap => {
            test::fixtures(workspace)?;
            swap::bench(workspace, swaps)
        }
        Bench::Memory | Bench::Queue => memory::bench(workspace),
    }
}
