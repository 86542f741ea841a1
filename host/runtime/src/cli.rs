//! The command line, in Spin's words.

mod admin;
mod build;
mod doctor;
mod log;
mod up;
mod watch;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Runs applications made of sandboxed WebAssembly components: HTTP, queues, key-value, blobs and
/// mail in one process.
#[derive(Debug, Parser)]
#[command(name = "tessera", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds the application: runs each component's build command.
    Build(build::Build),
    /// Lets the running application take no new work and end what it has.
    Drain(admin::drain::Drain),
    /// Prints the running application's log.
    Logs(admin::logs::Logs),
    /// Shows mail that the running application keeps in its outbox.
    Mail(admin::mail::MailCommand),
    /// Checks what the application needs, and says how to mend what is missing.
    Doctor(doctor::Doctor),
    /// Lists what runs: components, versions, instances, requests, latency, memory.
    Ps(admin::ps::Ps),
    /// Shows the queues of the running application, and steers them.
    Queues(admin::queues::QueuesCommand),
    /// Applies what has changed in spin.toml, runtime-config.toml and the components' files.
    Reload(admin::swap::Reload),
    /// Lets a component run the version that it had before, or ends its canary.
    Rollback(admin::swap::Rollback),
    /// Puts a new version of a component in place, without dropping a request or a job.
    Swap(admin::swap::Swap),
    /// Lists what was done to the running application: which versions, when, and by whom.
    History(admin::swap::ShowHistory),
    /// Runs the application until Ctrl-C.
    Up(Box<up::Up>),
    /// Runs the application, and builds and swaps whatever changes.
    Watch(Box<watch::Watch>),
}

/// Which application.
#[derive(Debug, Args)]
struct From {
    /// The application's manifest, or the directory that has it as `spin.toml`, or a Wasm file that
    /// gets all HTTP requests.
    #[arg(
        short = 'f',
        long = "from",
        visible_alias = "file",
        alias = "from-file",
        alias = "from-registry",
        value_name = "FILE",
        default_value = "spin.toml"
    )]
    from: PathBuf,
}

impl From {
    fn manifest(&self) -> PathBuf {
        if self.from.is_dir() { self.from.join("spin.toml") } else { self.from.clone() }
    }
}

/// An address to listen on. A name stands for its first address, an IPv4 one if it has any.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map(Vec::from_iter).unwrap_or_default();
    let address = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
    address.ok_or_else(|| "expected an address and a port, such as 127.0.0.1:3000 or [::1]:3000".to_owned())
}

/// The state directory that is meant if `given` is not: beside the manifest.
fn state_dir(given: Option<&Path>, manifest: &Path) -> PathBuf {
    given.map_or_else(|| manifest.parent().unwrap_or(Path::new("")).join(".tessera"), Path::to_owned)
}

/// Runs the command that `cli` names.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Build(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Drain(command) => command.run(),
        Command::Logs(command) => command.run(),
        Command::Mail(command) => command.run(),
        Command::Ps(command) => command.run(),
        Command::Queues(command) => command.run(),
        Command::Reload(command) => command.run(),
        Command::Rollback(command) => command.run(),
        Command::Swap(command) => command.run(),
        Command::History(command) => command.run(),
        Command::Up(command) => command.run(),
        Command::Watch(command) => command.run(),
    }
}
