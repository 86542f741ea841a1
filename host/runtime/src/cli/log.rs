//! Where log lines go and how they look.

mod format;
mod guest;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use self::format::{Json, Text};
use self::guest::{Files, Printed, TARGET};
use crate::admin::Logs;

/// How to log.
#[derive(Debug, Args)]
pub(super) struct Log {
    /// How log lines look. [default: text on a terminal, JSON otherwise]
    #[arg(long, value_enum, value_name = "FORMAT", env = "TESSERA_LOG_FORMAT")]
    log_format: Option<Format>,
    /// Also appends what components print to files in this directory: `<component>_stdout.txt` and
    /// `<component>_stderr.txt`.
    #[arg(short = 'L', long, value_name = "DIR", env = "SPIN_LOG_DIR")]
    log_dir: Option<PathBuf>,
    /// Empties those files first.
    #[arg(long, requires = "log_dir")]
    truncate_logs: bool,
    /// Prints what this component writes to stdout and stderr, and not what others do. Can be given
    /// several times.
    #[arg(long, value_name = "ID")]
    follow: Vec<String>,
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
    /// much, but for the files. Answers where the latest lines are kept, with all that components
    /// print.
    ///
    /// # Errors
    /// If the directory for files cannot be made.
    pub(super) fn start(&self, quiet: bool) -> Result<Logs> {
        // The storage engine reports its housekeeping as information.
        let filter =
            || EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,fjall=warn,lsm_tree=warn"));
        let terminal = std::io::stderr().is_terminal();
        let format = self.log_format.unwrap_or(if terminal { Format::Text } else { Format::Json });
        let logs = Logs::default();
        let directory = self.log_dir.clone().filter(|directory| !directory.as_os_str().is_empty());
        let files = directory.map(|directory| {
            let shown = directory.display().to_string();
            Files::new(directory, self.truncate_logs).with_context(|| format!("make the directory {shown} for logs"))
        });
        let of_guests = filter_fn(|metadata| metadata.target() == TARGET).with_max_level_hint(LevelFilter::INFO);
        let files = files.transpose()?.map(|files| files.with_filter(of_guests));
        let registry = tracing_subscriber::registry().with(files).with(logs.clone().with_filter(filter()));
        let printed = filter().and(Printed { quiet, followed: self.follow.clone() });
        // Whoever reads the log may be gone, and then there is nobody to tell.
        let log = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
        match format {
            Format::Text => {
                let text = fmt::format().with_target(false).with_ansi(terminal);
                let log = log.with_ansi(terminal).event_format(Text(text)).with_filter(printed);
                registry.with(log).init();
            }
            Format::Json => registry.with(log.event_format(Json).with_filter(printed)).init(),
        }
        Ok(logs)
    }
}
