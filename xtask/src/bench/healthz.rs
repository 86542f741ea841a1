//! The cost of the sandbox: the cheapest request through a component, against hyper alone.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::server::Server;
use crate::command::{output, run};
use crate::workspace::Workspace;

const ROUNDS: usize = 3;

pub(super) fn bench(workspace: &Workspace) -> Result<()> {
    run(workspace.cargo().args(["build", "--release", "--package", "tessera-runtime", "--example", "bare_hyper"]))?;
    let tessera = Server::tessera(workspace)?;
    let bare = Server::start(Command::new(workspace.path("target/release/examples/bare_hyper")))?;
    // In turns, so that whatever else the machine does meets both.
    let mut best = [0.0_f64; 2];
    for _ in 0..ROUNDS {
        for (server, best) in [&tessera, &bare].into_iter().zip(&mut best) {
            *best = best.max(requests_per_second(&server.url)?);
        }
    }
    let [tessera, bare] = best;
    println!("tessera /healthz   {tessera:>8.0} requests/s");
    println!("bare hyper         {bare:>8.0} requests/s");
    println!("ratio              {:>8.3}", tessera / bare);
    Ok(())
}

fn requests_per_second(url: &str) -> Result<f64> {
    let text = output(Command::new("wrk").args(["-t1", "-c32", "-d5s", &format!("{url}/healthz")]))?;
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).context("wrk printed no rate")?;
    Ok(rate.trim().parse()?)
}
