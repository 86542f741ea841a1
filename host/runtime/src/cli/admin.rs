//! The verbs that look at a running application and steer it: clients of its administration.

mod client;
pub(super) mod drain;
pub(super) mod logs;
pub(super) mod mail;
pub(super) mod ps;
pub(super) mod queues;
pub(super) mod swap;
mod table;

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

pub(super) use self::client::Client;

/// Which running application.
#[derive(Debug, Args)]
pub(super) struct Running {
    #[command(flatten)]
    from: super::From,
    /// The application's state directory. [default: .tessera beside the manifest]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Prints JSON instead of text for people.
    #[arg(long)]
    json: bool,
}

impl Running {
    /// A client of the application.
    ///
    /// # Errors
    /// If nothing runs there.
    pub(super) fn client(&self) -> Result<Client> {
        Client::find(&super::state_dir(self.state_dir.as_deref(), &self.from.manifest()))
    }

    /// Prints what the application answered, as the user wants it.
    ///
    /// # Errors
    /// If stdout cannot be written to.
    pub(super) fn print<T: Serialize>(&self, answer: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        let text = if self.json { serde_json::to_string_pretty(answer)? + "\n" } else { text(answer) };
        match std::io::stdout().lock().write_all(text.as_bytes()) {
            // Whoever reads has seen enough, such as `head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }
}
