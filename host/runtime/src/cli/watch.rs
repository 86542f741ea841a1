//! `tessera watch`: runs the application; what changes is built and goes live without a restart.

mod events;
mod files;

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anstream::eprintln;
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use tokio_util::sync::CancellationToken;

use self::events::Events;
pub(super) use self::files::Watched;
use super::build;
use super::up::Up;
use crate::compose::Deployment;
use crate::manifest::{self, Manifest};

/// Runs the application, and builds and swaps whatever changes.
///
/// Builds the components first. Then, when a file changes that a component's `build.watch` names,
/// runs its build command and puts the result in place as `tessera reload` does: work in flight ends
/// on the old version. While something does not build the old version runs on. A changed manifest,
/// runtime configuration, Wasm file, or file that a component may read is applied too.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Clears the screen before each round.
    #[arg(short, long)]
    clear: bool,
    /// How many milliseconds nothing may change before something is done about it.
    #[arg(short, long, value_name = "MILLISECONDS", default_value_t = 100)]
    debounce: u64,
    /// Builds nothing: watches the Wasm files instead of what they are built from.
    #[arg(long, conflicts_with = "build")]
    skip_build: bool,
    #[command(flatten)]
    up: Up,
}

impl Watch {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let inputs = self.up.inputs();
        let declared = inputs.read()?;
        for (id, component) in declared.components.iter().filter(|_| !self.skip_build) {
            if component.build.as_ref().is_some_and(|build| build.watch.is_empty()) {
                eprintln!("Component {id} has no `watch` in its `build`: only its Wasm file is watched");
            }
        }
        let watched = Watched::of(&declared, inputs.config.as_deref(), self.skip_build);
        let events = Events::of(&watched.directories()).context("cannot watch the application's files")?;
        let debounce = Duration::from_millis(self.debounce);
        let builds = declared.components.iter().filter(|(_, component)| component.build.is_some());
        let pending = if self.skip_build { BTreeSet::new() } else { builds.map(|(id, _)| id.clone()).collect() };
        let Self { clear, skip_build, up, .. } = self;
        let mut rounds = Rounds { inputs, skip_build, clear, debounce, declared, watched, events, pending };
        rounds.first()?;
        up.watched(Some(rounds))
    }
}

/// The files that say what runs, and which part of it.
pub(super) struct Inputs {
    pub(super) manifest: PathBuf,
    pub(super) config: Option<PathBuf>,
    pub(super) profile: Option<String>,
    /// Ids; empty: all that something calls.
    pub(super) components: Vec<String>,
}

impl Inputs {
    /// What is to be built and run, as the manifest is now.
    fn read(&self) -> Result<Manifest> {
        let mut manifest = manifest::load_profile(&self.manifest, self.profile.as_deref())?.manifest;
        if self.components.is_empty() {
            manifest.drop_unused();
        } else {
            manifest.select(&self.components).map_err(|why| anyhow!("--component-id: {why}"))?;
        }
        Ok(manifest)
    }
}

/// What is watched, and what is to be done.
pub(super) struct Rounds {
    inputs: Inputs,
    skip_build: bool,
    clear: bool,
    debounce: Duration,
    /// As it was when it could last be read.
    declared: Manifest,
    watched: Watched,
    events: Events,
    /// Components that are to be built.
    pending: BTreeSet<String>,
}

impl Rounds {
    /// Builds everything; waits for changes as long as something is missing that has never been
    /// built.
    fn first(&mut self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        build(&self.declared, &mut self.pending);
        let missing = |rounds: &Self| {
            let mut components = rounds.pending.iter().filter_map(|id| rounds.declared.components.get(id));
            components.any(|component| component.remote.is_none() && !component.source.exists())
        };
        while missing(self) {
            eprintln!("Waiting for a change");
            if runtime.block_on(self.change()).is_none() {
                break;
            }
            build(&self.declared, &mut self.pending);
        }
        Ok(())
    }

    /// Does what is to be done after each change, until `shutdown`.
    pub(super) async fn run(mut self, deployment: Arc<Deployment>, shutdown: CancellationToken) {
        loop {
            let changed = tokio::select! {
                changed = self.change() => changed,
                () = shutdown.cancelled() => return,
            };
            let Some(changed) = changed else { return };
            self.round(&deployment, changed).await;
        }
    }

    async fn round(&mut self, deployment: &Deployment, changed: Instant) {
        if self.clear && std::io::stderr().is_terminal() {
            _ = std::io::stderr().write_all(b"\x1b[2J\x1b[1;1H");
        }
        let (declared, mut pending) = (self.declared.clone(), std::mem::take(&mut self.pending));
        let building = !pending.is_empty();
        let built = tokio::task::spawn_blocking(move || {
            build(&declared, &mut pending);
            pending
        });
        match built.await {
            Ok(pending) => self.pending = pending,
            Err(error) => tracing::error!(%error, "a build broke off"),
        }
        let built = Instant::now();
        match deployment.reload("tessera watch").await {
            Ok(applied) => {
                applied.warnings.iter().for_each(|warning| eprintln!("{warning}"));
                applied.changes.iter().for_each(|change| eprintln!("  {change}"));
                let (apply, all) = (milliseconds(built), milliseconds(changed));
                if !applied.changes.is_empty() && building {
                    eprintln!("Live {apply} ms after the build, {all} ms after the change");
                } else if !applied.changes.is_empty() {
                    eprintln!("Live {all} ms after the change");
                } else if building && self.pending.is_empty() {
                    eprintln!("The same as before was built");
                }
            }
            Err(refusal) => eprintln!("error: {refusal}"),
        }
        if !self.pending.is_empty() {
            let names: Vec<_> = self.pending.iter().map(String::as_str).collect();
            eprintln!("The old version runs on of what was not built: {}", names.join(", "));
        }
    }

    /// Waits for a change that matters and for a pause after it, and notes what is to be built;
    /// answers when the change was. `None` if nothing can change any more.
    async fn change(&mut self) -> Option<Instant> {
        let mut first = None;
        loop {
            let event = match first {
                None => self.events.next().await?,
                Some(_) => match tokio::time::timeout(self.debounce, self.events.next()).await {
                    Ok(event) => event?,
                    Err(_) => break,
                },
            };
            let matters = match event {
                Some(path) => self.notes(&path),
                // Too much at once: anything may have changed.
                None => {
                    self.pending.extend(self.watched.built().map(str::to_owned));
                    true
                }
            };
            if matters {
                first.get_or_insert_with(Instant::now);
            }
        }
        first
    }

    /// Notes what a changed path asks for; false if that is nothing.
    fn notes(&mut self, path: &Path) -> bool {
        if path.is_dir() {
            // What came with it may be watched too.
            self.watch();
        }
        let concerns = self.watched.concerns(path);
        self.pending.extend(concerns.build);
        if concerns.manifest {
            self.read();
        }
        concerns.matters
    }

    /// Reads the manifest again: other files may be watched, and other components have to be built.
    fn read(&mut self) {
        // What is wrong with it is said when it is applied.
        let Ok(declared) = self.inputs.read() else { return };
        let before = std::mem::replace(&mut self.declared, declared);
        for (id, component) in self.declared.components.iter().filter(|_| !self.skip_build) {
            let known = before.components.get(id).and_then(|component| component.build.as_ref());
            if component.build.is_some() && component.build.as_ref() != known {
                self.pending.insert(id.clone());
            }
        }
        self.pending.retain(|id| self.declared.components.contains_key(id));
        self.watch();
    }

    fn watch(&mut self) {
        self.watched = Watched::of(&self.declared, self.inputs.config.as_deref(), self.skip_build);
        if let Err(error) = self.events.add(&self.watched.directories()) {
            eprintln!("error: cannot watch what is new: {error}");
        }
    }
}

/// Builds what is pending; what fails stays so, with what the compiler said on the screen.
fn build(manifest: &Manifest, pending: &mut BTreeSet<String>) {
    pending.retain(|id| {
        let Some(build) = manifest.components.get(id).and_then(|component| component.build.as_ref()) else {
            return false;
        };
        let result = build::one(id, build);
        if let Err(error) = &result {
            eprintln!("error: {error:#}");
        }
        result.is_err()
    });
}

fn milliseconds(since: Instant) -> u128 {
    since.elapsed().as_millis()
}
