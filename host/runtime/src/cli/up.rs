//! `tessera up`: the application from start to shutdown.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli;
use crate::compose::{Deployment, Inputs};
use crate::manifest::{self, Handler, Manifest, Secret};
use crate::server::{self, Limits};
use crate::trigger::http;

/// Requests and deliveries in flight may take this long to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the application until Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    from: super::From,
    /// The address and port to serve HTTP on; port 0 picks a free one and prints it.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where embedded engines keep their state. [default: .tessera beside the manifest]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Which engine stands behind each label; without it everything is embedded.
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// Builds the components first.
    #[arg(long)]
    build: bool,
    /// The value of one of the application's variables. Can be given several times.
    #[arg(long = "variable", value_name = "KEY=VALUE", value_parser = key_value)]
    variables: Vec<(String, Secret)>,
    /// An environment variable for all components. Can be given several times.
    #[arg(short, long = "env", value_name = "KEY=VALUE", value_parser = key_value)]
    environment: Vec<(String, Secret)>,
    /// Prints neither the routes nor what components write to stdout and stderr.
    #[arg(short, long)]
    quiet: bool,
}

fn key_value(text: &str) -> Result<(String, Secret), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "expected KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned().into()))
}

impl Up {
    pub(crate) fn run(self) -> Result<ExitCode> {
        log(self.quiet);
        if self.build {
            cli::build::build(&manifest::load(&self.from.manifest())?.manifest, &[])?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(self.serve());
        // Everything that matters has ended. Idle instances, or a compilation that a failed start no
        // longer needs, end with the process.
        std::mem::forget(runtime);
        result
    }

    async fn serve(self) -> Result<ExitCode> {
        let inputs = Inputs {
            manifest: self.from.manifest(),
            config: self.runtime_config_file,
            variables: self.variables,
            environment: self.environment,
        };
        let declared = inputs.read()?;
        for warning in &declared.warnings {
            eprintln!("{warning}");
        }
        let manifest = declared.manifest.clone();
        let state_dir = state_dir(self.state_dir.as_deref(), &manifest)?;

        // Bound first: a port in use is reported before anything else is done.
        let listener =
            server::listen(self.listen, &Limits::default()).map_err(|error| listen_error(self.listen, &error))?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        let deployment = Deployment::start(inputs, declared, state_dir, shutdown.clone(), GRACE).await?;
        announce(address, &manifest, &deployment.mail_to().await, self.quiet);
        let serving = http::serve(Arc::clone(deployment.app()), listener, shutdown.clone(), GRACE);
        deployment.tasks().spawn(serving);

        interrupted().await?;
        eprintln!("Shutting down; press Ctrl-C again to stop at once");
        shutdown.cancel();
        tokio::select! {
            () = deployment.ended() => Ok(ExitCode::SUCCESS),
            again = interrupted() => again.map(|()| ExitCode::from(130)),
        }
    }
}

/// Ends at the next Ctrl-C or SIGTERM.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn log(quiet: bool) {
    // The storage engine reports its housekeeping as information.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,fjall=warn,lsm_tree=warn"));
    let filter = match "guest=off".parse() {
        Ok(directive) if quiet => filter.add_directive(directive),
        _ => filter,
    };
    let terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false)
        .init();
}

fn state_dir(given: Option<&Path>, manifest: &Manifest) -> Result<PathBuf> {
    let dir = given.map_or_else(|| manifest.directory.join(".tessera"), Path::to_owned);
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("cannot make the state directory {}; name another with --state-dir", dir.display()))?;
    dir.canonicalize().with_context(|| format!("cannot read the state directory {}", dir.display()))
}

fn listen_error(address: SocketAddr, error: &std::io::Error) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!("{address} is in use: stop what listens there, or choose another with --listen")
        }
        _ => anyhow!("cannot listen on {address}: {error}"),
    }
}

/// Tells people and scripts what runs where.
fn announce(address: SocketAddr, manifest: &Manifest, mail_to: &str, quiet: bool) {
    println!("Serving http://{address}");
    if quiet {
        return;
    }
    println!("\nRoutes");
    for trigger in &manifest.http {
        let Some(route) = &trigger.route else { continue };
        let handler = match &trigger.handler {
            Handler::Component(id) => id.as_str(),
            Handler::Static(_) => "(static response)",
        };
        println!("  {handler:<16} http://{address}{route}");
    }
    let consumers: Vec<_> = manifest
        .components
        .iter()
        .flat_map(|(id, component)| component.consume.iter().map(move |consume| (id, consume)))
        .collect();
    if !consumers.is_empty() {
        println!("\nConsumers");
    }
    for (id, consume) in consumers {
        let patterns: Vec<_> = consume.patterns.iter().map(|pattern| pattern.as_str()).collect();
        println!("  {id:<16} {} ({} at a time)", patterns.join(", "), consume.concurrency);
    }
    if manifest.components.values().any(|component| component.mail.is_some()) {
        println!("\nMail goes to {mail_to}");
    }
    println!();
}
