//! The application as it is deployed: the only writer of snapshots.
//!
//! Every change (a swap, a rollback, a reload) builds the next snapshot beside the current one,
//! checks it, writes the record, and then stores it with one write. What is not changed keeps its
//! components and their instances. Up to that write anything wrong leaves everything as it was;
//! after it nothing can go wrong.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use async_trait::async_trait;
use tessera_capability::mail::Outbox;
use tessera_capability::queue::Broker;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::Engine;
use wasmtime::component::Linker;

use super::consumers::Consumers;
use super::listeners::Listeners;
use super::statements;
use super::versions::{Action, Change, Entry, Hash, Incoming, Received, Versions};
use super::{
    Binary, Builder, Declared, Engines, FILES, Inputs, binaries, compile, routes, sources, subscriptions, try_out,
};
use crate::admin;
use crate::app::component::Component;
use crate::app::slot::{Slot, Version};
use crate::app::{App, Snapshot, link};
use crate::engine;
use crate::manifest::Manifest;
use crate::state::State;

/// Who started the application, in its history.
const OPERATOR: &str = "tessera up";

/// A version that is replaced has at least this long to end what it has begun.
const DRAIN: Duration = Duration::from_secs(30 * 60);

/// A running application, and the way to change it.
pub(crate) struct Deployment {
    inputs: Inputs,
    app: Arc<App>,
    wasm: Engine,
    linker: Linker<State>,
    state_dir: PathBuf,
    versions: PathBuf,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    current: Mutex<Current>,
}

/// What is in force. Whoever holds it is the only one that changes the application.
struct Current {
    declared: Declared,
    binaries: BTreeMap<String, Binary>,
    engines: Arc<Engines>,
    versions: Versions,
    consumers: Consumers,
    listeners: Listeners,
}

/// Why a change was not made. Everything is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// There is no such component, or nothing to go back to.
    #[error("{0}")]
    NotFound(String),
    /// Something else has to end first.
    #[error("{0}")]
    Conflict(String),
    /// The version or the file is wrong.
    #[error("{0:#}")]
    Unfit(anyhow::Error),
    /// The host failed.
    #[error("{0:#}")]
    Failed(anyhow::Error),
}

/// A change that was made.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Changed {
    pub(crate) component: String,
    /// What takes new work now.
    pub(crate) hash: Hash,
    /// What took it before; the same if nothing has changed.
    pub(crate) previous: Hash,
}

#[async_trait]
impl admin::Engines for Deployment {
    async fn broker(&self) -> Arc<dyn Broker> {
        self.current.lock().await.engines.broker()
    }

    async fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        self.current.lock().await.engines.outbox()
    }
}

/// How a change is made.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// Who asks for it.
    pub(crate) by: String,
    /// How long work in flight may take to end on the old version; `None`: half an hour, or as long
    /// as its longest delivery.
    pub(crate) drain: Option<Duration>,
}

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
        statements::run(&inputs.sqlite, &engines).await?;
        let wasm = engine::new(&state_dir.join("cache")).map_err(|error| anyhow!(error)).context("start Wasmtime")?;
        let linker = link::host(&wasm).map_err(|error| anyhow!(error)).context("set up the host functions")?;
        // Left behind by a process that was killed.
        match std::fs::remove_dir_all(state_dir.join(FILES)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("empty the directory of components' files");
            }
            _ => {}
        }
        let mut versions = Versions::open(state_dir.join("versions"))?;
        let binaries = binaries(&wasm, &sources(manifest), &versions, &BTreeMap::new()).await?;

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
            let component = builder.component(id, None)?;
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
        let current = Mutex::new(Current { declared, binaries, engines, versions, consumers, listeners });
        Ok(Arc::new(Self { inputs, app, wasm, linker, state_dir, versions: directory, tasks, shutdown, current }))
    }

    /// What the triggers work on.
    pub(crate) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// What ends with the application.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Where mail goes, for people.
    pub(crate) async fn mail_to(&self) -> String {
        self.current.lock().await.engines.mail_to.clone()
    }

    /// Ends when everything that was started has ended, after a shutdown.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A new binary, to be written.
    ///
    /// # Errors
    /// If there is no room.
    pub(crate) fn receive(&self) -> Result<Incoming> {
        Incoming::new(&self.versions)
    }

    /// Lets all new work of a component go to a new version, and work in flight end on the old one.
    ///
    /// # Errors
    /// If the new version is not fit; then the old one serves on.
    pub(crate) async fn swap(&self, component: &str, received: Received, order: &Order) -> Result<Changed, Refusal> {
        // Compiling takes longest and needs nothing of the current state: others need not wait.
        let compiled = self.compile(component, received.path().to_owned()).await?;
        let mut current = self.current.lock().await;
        let source = current.binary(component)?.source.clone();
        let binary = Binary { hash: received.hash().clone(), source, compiled };
        let next = self.prepare(&current, component, binary).await?;
        tokio::task::block_in_place(|| received.keep()).map_err(Refusal::Failed)?;
        self.put(&mut current, next, Action::Swap, order)
    }

    /// Lets all new work of a component go to the version that it had before.
    ///
    /// # Errors
    /// If there is none, or if it is no longer fit.
    pub(crate) async fn rollback(&self, component: &str, order: &Order) -> Result<Changed, Refusal> {
        let mut current = self.current.lock().await;
        let source = current.binary(component)?.source.clone();
        let hash = current.versions.previous(component).ok_or_else(|| {
            Refusal::NotFound(format!(
                "component `{component}` has had no other version: there is nothing to go back to"
            ))
        })?;
        let compiled = self.compile(component, current.versions.path(&hash)).await?;
        let next = self.prepare(&current, component, Binary { hash, source, compiled }).await?;
        self.put(&mut current, next, Action::Rollback, order)
    }

    /// What was done, oldest first.
    pub(crate) async fn history(&self) -> Vec<Entry> {
        self.current.lock().await.versions.history().cloned().collect()
    }

    async fn compile(&self, component: &str, path: PathBuf) -> Result<wasmtime::component::Component, Refusal> {
        let (engine, id) = (self.wasm.clone(), component.to_owned());
        let compiled = tokio::task::spawn_blocking(move || compile(&engine, &id, &path)).await;
        compiled.map_err(|error| Refusal::Failed(error.into()))?.map_err(Refusal::Unfit)
    }

    /// Makes and checks a version without putting it in place.
    async fn prepare(&self, current: &Current, id: &str, binary: Binary) -> Result<Next, Refusal> {
        let slot = self.app.snapshot().components.get(id).cloned();
        let slot = slot.ok_or_else(|| unknown(id, &current.declared.manifest))?;
        let mut binaries = current.binaries.clone();
        binaries.insert(id.to_owned(), binary);
        let builder = self.builder(current, &binaries);
        let previous = &slot.stable.component;
        let component = builder.component(id, Some(previous)).map_err(Refusal::Unfit)?;
        for other in binaries.keys() {
            builder.check_links(other).map_err(Refusal::Unfit)?;
        }
        let version = Arc::new(Version::new(Arc::new(component)));
        let mut components = self.app.snapshot().components.clone();
        insert(&mut components, Slot::of(Arc::clone(&version)));
        let routes = routes(&current.declared.manifest, &components).map_err(Refusal::Unfit)?;
        try_out(&version.component).await.map_err(Refusal::Unfit)?;
        Ok(Next { binaries, snapshot: Snapshot { components, routes }, version, previous: Arc::clone(previous) })
    }

    fn builder<'a>(&'a self, current: &'a Current, binaries: &'a BTreeMap<String, Binary>) -> Builder<'a> {
        Builder {
            app: &self.app,
            linker: &self.linker,
            binaries,
            engines: &current.engines,
            state_dir: &self.state_dir,
            manifest: &current.declared.manifest,
            resolved: &current.declared.resolved,
        }
    }

    /// Makes a prepared version durable, then current.
    fn put(&self, current: &mut Current, next: Next, action: Action, order: &Order) -> Result<Changed, Refusal> {
        let Next { binaries, snapshot, version, previous } = next;
        let id = Arc::clone(&version.component.id);
        let (hash, old) = (version.component.version.hash.to_string(), previous.version.hash.to_string());
        let source = current.binary(&id)?.source.clone();
        let change = match action {
            Action::Rollback => Change::Back { component: &id, source: &source },
            _ => Change::Run { component: &id, hash: &hash, source: &source },
        };
        let entry = Entry::new(Some(&id), action, &order.by).versions(&hash, Some(&old));
        tokio::task::block_in_place(|| current.versions.commit(&[change], vec![entry])).map_err(Refusal::Failed)?;
        current.binaries = binaries;
        self.app.replace(snapshot);
        let drain = order.drain.unwrap_or_else(|| drain_time(&current.declared.manifest, &id));
        self.retire(&previous, drain);
        tracing::info!(component = &*id, version = short(&hash), previous = short(&old), by = order.by, "now runs");
        Ok(Changed { component: id.to_string(), hash, previous: old })
    }

    /// Lets a version that gets no more work end within `drain`.
    fn retire(&self, version: &Arc<Component>, drain: Duration) {
        version.life.retire();
        let left: Weak<Component> = Arc::downgrade(version);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(drain) => {}
                () = shutdown.cancelled() => return,
            }
            if let Some(version) = left.upgrade() {
                tracing::warn!(
                    component = &*version.id,
                    version = short(&version.version.hash),
                    "work was still running on the old version after {drain:?} and is cut off"
                );
                version.life.end();
            }
        });
    }
}

impl Current {
    fn binary(&self, id: &str) -> Result<&Binary, Refusal> {
        let manifest = &self.declared.manifest;
        let declared = manifest.components.contains_key(id).then(|| self.binaries.get(id)).flatten();
        declared.ok_or_else(|| unknown(id, manifest))
    }
}

/// A change that is checked and not yet made.
struct Next {
    binaries: BTreeMap<String, Binary>,
    snapshot: Snapshot,
    version: Arc<Version>,
    previous: Arc<Component>,
}

fn insert(components: &mut HashMap<Arc<str>, Arc<Slot>>, slot: Slot) {
    components.insert(Arc::clone(&slot.stable.component.id), Arc::new(slot));
}

/// Writes down what runs for the first time.
fn started(versions: &mut Versions, binaries: &BTreeMap<String, Binary>) -> Result<()> {
    let mut changes = Vec::new();
    let mut entries = Vec::new();
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

fn unknown(id: &str, manifest: &Manifest) -> Refusal {
    let known: Vec<_> = manifest.components.keys().map(String::as_str).collect();
    Refusal::NotFound(format!("the application has no component `{id}`; it has {}", known.join(", ")))
}

/// How long a component's old version may take to end.
fn drain_time(manifest: &Manifest, id: &str) -> Duration {
    let consume = manifest.components.get(id).into_iter().flat_map(|component| &component.consume);
    consume.map(|consume| consume.timeout).max().unwrap_or_default().max(DRAIN)
}

/// As much of a hash as people read.
pub(crate) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
