//! `tessera up`: the application from start to shutdown.

mod administration;
mod listen;
mod signals;
mod systemd;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anstream::{eprintln, println};
use anyhow::{Context as _, Result};
use clap::Args;
use tokio_util::sync::CancellationToken;

use self::administration::Administration;
use self::listen::{Listen, Public};
use self::signals::{Signals, Wish};
use super::log::Log;
use super::watch::{self, Rounds};
use crate::compose::{self, Deployment, Inputs};
use crate::cpu::anywhere;
use crate::manifest::{self, Handler, Manifest, Secret};
use crate::server::Tls;
use crate::telemetry::Exporter;
use crate::variables::Given;
use crate::{admin, cli};

/// Runs the application until Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    from: super::From,
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    admin: Administration,
    /// Where embedded engines keep their state. [default: .tessera beside the manifest]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Which engine stands behind each label; without it everything is embedded.
    #[arg(long, value_name = "FILE", env = "RUNTIME_CONFIG_FILE")]
    runtime_config_file: Option<PathBuf>,
    /// Builds the components first.
    #[arg(long)]
    build: bool,
    /// The value of one of the application's variables, or a TOML or JSON file of several. Can be
    /// given several times.
    #[arg(long = "variable", value_name = "KEY=VALUE | @FILE", value_parser = variable)]
    variables: Vec<Given>,
    /// An environment variable for all components. Can be given several times.
    #[arg(short, long = "env", value_name = "KEY=VALUE", value_parser = key_value)]
    environment: Vec<(String, Secret)>,
    /// Runs SQL in the database `default` first: statements, or with `@FILE` those in a file, or with
    /// `@FILE@LABEL` those for another database. Can be given several times.
    #[arg(long = "sqlite", value_name = "STATEMENT|@FILE[@LABEL]")]
    sqlite: Vec<String>,
    /// Sets a key in the store `default` first, whatever was there. Can be given several times.
    #[arg(long = "key-value", value_name = "KEY=VALUE", value_parser = key_value)]
    key_values: Vec<(String, Secret)>,
    /// Runs only this component, and what it depends on. Can be given several times.
    #[arg(short = 'c', long = "component-id", value_name = "ID")]
    components: Vec<String>,
    /// Runs what the components have for this profile.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The most memory for an instance of any component, in bytes; a component's own limit may be
    /// lower.
    #[arg(long, value_name = "BYTES", env = "SPIN_MAX_INSTANCE_MEMORY")]
    max_instance_memory: Option<usize>,
    /// Prints neither the routes nor what components write to stdout and stderr.
    #[arg(short, long, aliases = ["sh", "shush"], conflicts_with = "follow")]
    quiet: bool,
    #[command(flatten)]
    log: Log,
    /// How long requests and deliveries in flight may take to end after Ctrl-C or SIGTERM; then
    /// requests are cut off and messages given back to their queues.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    shutdown_timeout: Duration,
}

/// What `--variable` is given.
pub(super) fn variable(text: &str) -> Result<Given, String> {
    match text.strip_prefix('@') {
        Some(file) => Ok(Given::File(file.into())),
        None => {
            key_value(text).map(|(name, value)| Given::One(name, value)).map_err(|fault| format!("{fault} or @FILE"))
        }
    }
}

fn key_value(text: &str) -> Result<(String, Secret), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "expected KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned().into()))
}

impl Up {
    pub(crate) fn run(self) -> Result<ExitCode> {
        self.watched(None)
    }

    /// The files that say what it runs.
    pub(super) fn inputs(&self) -> watch::Inputs {
        watch::Inputs {
            manifest: self.from.manifest(),
            config: self.runtime_config_file.clone(),
            profile: self.profile.clone(),
            components: self.components.clone(),
        }
    }

    /// Runs it, and applies what changes meanwhile if there is a `watch` on that.
    pub(super) fn watched(self, watch: Option<Rounds>) -> Result<ExitCode> {
        let logs = self.log.start(self.quiet)?;
        if self.build {
            let loaded = manifest::load_profile(&self.from.manifest(), self.profile.as_deref())?;
            cli::build::build(&loaded.manifest, &self.components)?;
        }
        allow_open_files();
        let runtime = tokio::runtime::Builder::new_multi_thread().on_thread_start(anywhere).enable_all().build()?;
        let result = runtime.block_on(self.serve(logs, watch));
        // Everything that matters has ended. Idle instances, or a compilation that a failed start no
        // longer needs, end with the process.
        std::mem::forget(runtime);
        result
    }

    async fn serve(self, logs: admin::Logs, watch: Option<Rounds>) -> Result<ExitCode> {
        let inputs = Inputs {
            manifest: self.from.manifest(),
            config: self.runtime_config_file,
            variables: self.variables,
            environment: self.environment,
            sqlite: self.sqlite,
            key_values: self.key_values,
            profile: self.profile,
            components: self.components,
            max_memory: self.max_instance_memory,
        };
        let declared = tokio::task::block_in_place(|| inputs.read())?;
        for warning in &declared.warnings {
            eprintln!("{warning}");
        }
        let manifest = declared.manifest.clone();
        let recorded = declared.config.collector();
        let state_dir = state_dir(self.state_dir.as_deref(), &inputs.manifest)?;

        let mut signals = Signals::new().context("listen to signals")?;
        // Bound first: a port in use is reported before anything else is done.
        let public = self.listen.open(&declared.config)?;
        let admin = self.admin.open(public.certificate(), &state_dir)?;
        let shutdown = CancellationToken::new();
        let grace = self.shutdown_timeout;
        let deployment = Deployment::start(inputs, declared, state_dir.clone(), shutdown.clone(), grace).await?;
        let exporter = recorded.map(|settings| Exporter::start(&settings, Arc::clone(deployment.app())));
        let exporter = exporter.transpose().context("start the telemetry's thread")?;
        let administration = admin.as_ref().map(admin::Bound::url);
        if let Some(bound) = admin {
            let app = Arc::clone(deployment.app());
            let context = admin::Context::new(&manifest.name, app, deployment.clone(), logs, shutdown.clone());
            let routes = admin::routes(context.clone()).merge(compose::swap_routes(context, Arc::clone(&deployment)));
            deployment.tasks().spawn(admin::serve(bound, &state_dir, routes, shutdown.clone(), grace));
        }
        announce(&public, administration, &manifest, &deployment.mail_to().await, self.quiet);
        let (url, certificate) = (public.url.clone(), public.certificate());
        deployment.app().serves_at(url.parse().context("the application's own URL")?);
        public.serve(deployment.app(), deployment.tasks(), &shutdown, grace)?;
        systemd::ready(&url);
        tokio::spawn(systemd::watchdog());
        if let Some(watch) = watch {
            tokio::spawn(watch.run(Arc::clone(&deployment), shutdown.clone()));
        }

        while signals.next().await == Wish::Reload {
            systemd::reloading();
            reload(certificate.as_ref(), &deployment).await;
            systemd::ready(&url);
        }
        eprintln!("Shutting down; press Ctrl-C again to stop at once");
        systemd::stopping();
        shutdown.cancel();
        tokio::select! {
            () = deployment.ended() => {
                if let Some(exporter) = exporter {
                    tokio::task::block_in_place(|| exporter.end());
                }
                Ok(ExitCode::SUCCESS)
            }
            () = signals.stop() => Ok(ExitCode::from(130)),
        }
    }
}

/// Raises the number of open files as far as the administrator lets it: the usual 1024 are fewer
/// than the connections and blobs that the limits allow.
fn allow_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
}

/// Reads changed files on SIGHUP, as `tessera reload` does, and the certificate; a fault leaves what
/// was.
async fn reload(certificate: Option<&Tls>, deployment: &Deployment) {
    match certificate.map(Tls::reload) {
        Some(Ok(())) => tracing::info!("read the TLS certificate again"),
        Some(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the TLS certificate stays as it was");
        }
        None => {}
    }
    match deployment.reload("SIGHUP").await {
        Ok(applied) => {
            applied.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            if applied.changes.is_empty() {
                tracing::info!("the application's files say nothing new");
            }
        }
        Err(refusal) => tracing::error!("the application stays as it was: {refusal}"),
    }
}

fn state_dir(given: Option<&Path>, manifest: &Path) -> Result<PathBuf> {
    let dir = cli::state_dir(given, manifest);
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("cannot make the state directory {}; name another with --state-dir", dir.display()))?;
    dir.canonicalize().with_context(|| format!("cannot read the state directory {}", dir.display()))
}

/// Tells people and scripts what runs where.
fn announce(public: &Public, admin: Option<String>, manifest: &Manifest, mail_to: &str, quiet: bool) {
    let url = &public.url;
    println!("Serving {url}");
    if quiet {
        return;
    }
    if let Some(redirect) = &public.redirect_url {
        println!("Redirecting {redirect}");
    }
    println!("\nRoutes");
    for trigger in &manifest.http {
        let Some(route) = &trigger.route else { continue };
        let handler = match &trigger.handler {
            Handler::Component(id) => id.as_str(),
            Handler::Static(_) => "(static response)",
        };
        println!("  {handler:<16} {url}{route}");
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
    if let Some(url) = admin {
        println!("\nAdministration at {url}: `tessera ps --help`");
    }
    println!();
}
