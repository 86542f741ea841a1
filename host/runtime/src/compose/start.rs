//! The start of an application: engines, components, queues, and whoever works on them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::consumers::Consumers;
use super::deployment::{Current, Deployment, insert, short};
use super::listeners::Listeners;
use super::statements::Statements;
use super::versions::{Action, Change, Entry, Versions};
use super::{
    Binary, Builder, Declared, Engines, FILES, Inputs, binaries, fetch, routes, sources, subscriptions, try_out,
    values, whole,
};
use crate::app::slot::{Slot, Version};
use crate::app::{App, Snapshot, link};
use crate::engine;

/// Who started the application, in its history.
const OPERATOR: &str = "tessera up";

impl Deployment {
    /// Opens the engines, makes everything ready, and starts the consumers, which end with
    /// `shutdown` and have `grace` for that.
    ///
    /// # Errors
    /// Names what cannot be opened or run, and what to do about it.
    pub(crate) async fn start(
        inputs: Inputs,
        declared: Declared,
        state_dir: PathBuf,
        shutdown: CancellationToken,
        grace: Duration,
    ) -> Result<Arc<Self>> {
        let Declared { manifest, config, resolved, .. } = &declared;
        let engines = Arc::new(Engines::open(manifest, config, &state_dir).await?);
        let statements = Statements::first(&inputs.sqlite, &engines).await?;
        values::set(&inputs.key_values, &engines).await?;
        let wasm = engine::new(&state_dir.join("cache")).map_err(whole).context("start Wasmtime")?;
        let linker = link::host(&wasm).map_err(whole).context("set up the host functions")?;
        // Left behind by a process that was killed.
        match std::fs::remove_dir_all(state_dir.join(FILES)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("empty the directory of components' files");
            }
            _ => {}
        }
        let mut versions = Versions::open(state_dir.join("versions"))?;
        // Before anything runs there is nothing to hold up.
        tokio::task::block_in_place(|| fetch::all(manifest, &state_dir))?;
        let binaries = binaries(&wasm, &sources(manifest, &state_dir), &versions, &BTreeMap::new()).await?;

        let app = Arc::new(App::default());
        let builder = Builder {
            app: &app,
            linker: &linker,
            binaries: &binaries,
            engines: &engines,
            state_dir: &state_dir,
            manifest,
            resolved,
        };
        let mut components = HashMap::new();
        for id in binaries.keys() {
            let component = builder.component(id, None, None)?;
            try_out(&component).await?;
            insert(&mut components, Slot::of(Arc::new(Version::new(Arc::new(component)))));
        }
        let routes = routes(manifest, &components)?;
        let broker = engines.broker();
        broker.declare(&subscriptions(manifest)).await.context("declare the queues")?;
        started(&mut versions, &binaries)?;
        app.replace(Snapshot { components, routes });

        let tasks = TaskTracker::new();
        let mut consumers = Consumers {
            app: Arc::clone(&app),
            broker,
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
            grace,
            running: BTreeMap::new(),
        };
        consumers.apply(manifest);
        let mut listeners = Listeners {
            app: Arc::clone(&app),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
            grace,
            running: BTreeMap::new(),
        };
        listeners.apply(resolved, &engines);
        let (relaying, relays) = (shutdown.clone(), Arc::clone(&engines));
        tasks.spawn(async move { relays.relay(relaying).await });
        let directory = versions.directory().to_owned();
        let current = Mutex::new(Current { declared, binaries, engines, versions, consumers, listeners, statements });
        Ok(Arc::new(Self { inputs, app, wasm, linker, state_dir, versions: directory, tasks, shutdown, current }))
    }
}

/// Writes down what runs for the first time.
fn started(versions: &mut Versions, binaries: &BTreeMap<String, Binary>) -> Result<()> {
    let mut changes = Vec::new();
    let mut entries = Vec::new();
    for (id, Binary { hash, .. }) in binaries {
        if let Some(canary) = versions.canary(id) {
            changes.push(Change::Try(id, None));
            let entry = Entry::new(Some(id), Action::Return, OPERATOR).versions(&canary, Some(hash));
            entries.push(entry.note("the application was started again"));
        }
    }
    for (id, Binary { hash, source, .. }) in binaries {
        let before = versions.live(id);
        if before.as_ref() != Some(hash) {
            changes.push(Change::Run { component: id, hash, source });
            let entry = Entry::new(Some(id), Action::Start, OPERATOR).versions(hash, before.as_ref());
            entries.push(if before.is_some() {
                entry.note("the file that the manifest names has changed")
            } else {
                entry
            });
        } else if hash != source {
            tracing::info!(component = id, version = short(hash), "runs the version that was swapped in");
        }
    }
    if changes.is_empty() { Ok(()) } else { versions.commit(&changes, entries) }
}
