//! `tessera ps`: what runs.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{Running, table};
use crate::admin::Status;

/// Lists the components of the running application: versions, instances, requests, latency, memory.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    #[command(flatten)]
    running: Running,
}

impl Ps {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let status: Status = self.running.client()?.get("/v1/components")?;
        self.running.print(&status, text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(status: &Status) -> String {
    let header =
        ["COMPONENT", "VERSION", "ROLE", "INSTANCES", "MEMORY", "REQUESTS", "ERRORS", "IN FLIGHT", "P50", "P99"];
    let rows = status.components.iter().map(|component| {
        vec![
            component.id.clone(),
            table::short(&component.digest),
            component.role.name().to_owned(),
            component.instances.to_string(),
            table::bytes(component.memory),
            component.requests.to_string(),
            component.errors.to_string(),
            component.in_flight.to_string(),
            table::millis(component.p50_ms),
            table::millis(component.p99_ms),
        ]
    });
    let table = table::render(&header, &[3, 4, 5, 6, 7, 8, 9], rows);
    let uptime = table::duration(status.uptime_seconds);
    let draining = if status.draining { ", taking no new work" } else { "" };
    format!("{} (pid {}, up {uptime}{draining})\n\n{table}", status.application, status.pid)
}
