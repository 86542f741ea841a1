//! Where log lines go and how they look.

mod format;

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use self::format::{Json, Text};
use crate::admin::Logs;

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
    /// much. Answers where the latest lines are kept, with all that components print.
    pub(super) fn start(&self, quiet: bool) -> Logs {
        // The storage engine reports its housekeeping as information.
        let filter =
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,fjall=warn,lsm_tree=warn"));
        let terminal = std::io::stderr().is_terminal();
        let format = self.log_format.unwrap_or(if terminal { Format::Text } else { Format::Json });
        let logs = Logs::default();
        let registry = tracing_subscriber::registry().with(filter).with(logs.clone());
        let printed = filter_fn(move |metadata| !quiet || metadata.target() != "guest");
        let log = fmt::layer().with_writer(std::io::stderr);
        match format {
            Format::Text => {
                let text = fmt::format().with_target(false).with_ansi(terminal);
                registry.with(log.with_ansi(terminal).event_format(Text(text)).with_filter(printed)).init();
            }
            Format::Json => registry.with(log.event_format(Json).with_filter(printed)).init(),
        }
        logs
    }
}
