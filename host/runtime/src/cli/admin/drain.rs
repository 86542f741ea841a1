//! `tessera drain`: out of work, and back in.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use super::Running;
use crate::admin;

/// How often is asked whether everything has ended.
const ASK: Duration = Duration::from_millis(200);

/// A time as users write it.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a time such as 30s or 5m".to_owned())
}

/// Lets the running application take no new work and end what it has, before it is stopped.
///
/// New requests get 503, so that a load balancer goes elsewhere; messages wait in their queues.
/// The process runs on: stop it, or say `--resume`. Exits with 1 if work is left after the timeout.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Takes new work again.
    #[arg(long)]
    resume: bool,
    /// Does not wait until everything has ended.
    #[arg(long, conflicts_with = "resume")]
    no_wait: bool,
    /// How long to wait at most.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    running: Running,
}

impl Drain {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let client = self.running.client()?;
        if self.resume {
            let state: admin::Drain = client.delete("/v1/drain")?;
            self.running.print(&state, |_| "new work is taken again\n".to_owned())?;
            return Ok(ExitCode::SUCCESS);
        }
        let start = Instant::now();
        let mut state: admin::Drain = client.post("/v1/drain", &())?;
        while !self.no_wait && !state.is_idle() && start.elapsed() < self.timeout {
            thread::sleep(ASK);
            state = client.get("/v1/drain")?;
        }
        self.running.print(&state, |state| {
            if state.is_idle() {
                return "nothing runs any more, and no new work is taken\n".to_owned();
            }
            format!(
                "no new work is taken; still running: {} requests, {} deliveries, {} calls\n",
                state.requests, state.deliveries, state.calls
            )
        })?;
        Ok(if state.is_idle() || self.no_wait { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
