//! Where log lines go and how they look.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, fmt};

/// How to log.
#[derive(Debug, Args)]
pub(super) struct Log {
    /// How log lines look. [default: text on a terminal, JSON otherwise]
    #[arg(long, value_enum, value_name = "FORMAT", env = "TESSERA_LOG_FORMAT")]
    log_format: Option<Format>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

impl Log {
    /// Logs to stderr from now on; what components print only if not `quiet`. `RUST_LOG` says how
    /// much.
    pub(super) fn start(&self, quiet: bool) {
        // The storage engine reports its housekeeping as information.
        let filter =
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,fjall=warn,lsm_tree=warn"));
        let filter = match "guest=off".parse() {
            Ok(directive) if quiet => filter.add_directive(directive),
            _ => filter,
        };
        let terminal = std::io::stderr().is_terminal();
        let format = self.log_format.unwrap_or(if terminal { Format::Text } else { Format::Json });
        let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match format {
            Format::Text => log.with_ansi(terminal).with_target(false).init(),
            Format::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        }
    }
}
