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

use anyhow::Result;
use async_trait::async_trait;
use tessera_capability::mail::Outbox;
use tessera_capability::queue::Broker;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::Engine;
use wasmtime::component::{Component as Compiled, Linker};

use super::consumers::Consumers;
use super::listeners::Listeners;
use super::statements::Statements;
use super::trial::Trial;
use super::versions::{Action, Change, Entry, Hash, Incoming, Received, Versions};
use super::{Binary, Builder, Declared, Engines, Inputs, compile, routes, try_out};
use crate::admin;
use crate::app::component::Component;
use crate::app::slot::{Canary, Slot, Version};
use crate::app::{App, Snapshot};
use crate::cpu::gently;
use crate::manifest::Manifest;
use crate::state::State;

/// A version that is replaced has at least this long to end what it has begun.
const DRAIN: Duration = Duration::from_secs(30 * 60);

/// A running application, and the way to change it.
pub(crate) struct Deployment {
    pub(super) inputs: Inputs,
    pub(super) app: Arc<App>,
    pub(super) wasm: Engine,
    pub(super) linker: Linker<State>,
    pub(super) state_dir: PathBuf,
    pub(super) versions: PathBuf,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    pub(super) current: Mutex<Current>,
}

/// What is in force. Whoever holds it is the only one that changes the application.
pub(super) struct Current {
    pub(super) declared: Declared,
    pub(super) binaries: BTreeMap<String, Binary>,
    pub(super) engines: Arc<Engines>,
    pub(super) versions: Versions,
    pub(super) consumers: Consumers,
    pub(super) listeners: Listeners,
    pub(super) statements: Statements,
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
#[derive(Debug, Clone)]
pub(crate) struct Switch {
    /// What takes new work now, or a share of it.
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
    /// `Some`: the new version gets a share of new work first.
    pub(crate) trial: Option<Trial>,
}

impl Deployment {
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

    /// Lets all new work of a component, or a share of it, go to a new version, and work in flight
    /// end on the old one.
    ///
    /// # Errors
    /// If the new version is not fit; then the old one serves on.
    pub(crate) async fn swap(
        self: &Arc<Self>,
        component: &str,
        received: Received,
        order: &Order,
    ) -> Result<Switch, Refusal> {
        let switched = self.switch(component, received, order).await;
        self.count("swap", &switched);
        switched
    }

    /// Counts what an operator asked for.
    pub(super) fn count<T>(&self, action: &str, result: &Result<T, Refusal>) {
        self.app.changes.count(action, if result.is_ok() { "ok" } else { "refused" });
    }

    async fn switch(self: &Arc<Self>, component: &str, received: Received, order: &Order) -> Result<Switch, Refusal> {
        if !self.app.load().components.contains_key(component) {
            return Err(unknown(component, &self.current.lock().await.declared.manifest));
        }
        // Compiling takes longest and needs nothing of the current state: others need not wait.
        let compiled = self.compile(component, received.path().to_owned()).await?;
        let mut current = self.current.lock().await;
        let source = current.binary(component)?.source.clone();
        let binary = Binary { hash: received.hash().clone(), source, compiled };
        let next = self.prepare(&current, component, binary, order.trial).await?;
        let live = next.previous.component.version.hash.to_string();
        if live == *received.hash() {
            return Ok(Switch { hash: live.clone(), previous: live });
        }
        tokio::task::block_in_place(|| received.keep()).map_err(Refusal::Failed)?;
        match order.trial {
            None => self.put(&mut current, next, Action::Swap, order),
            Some(trial) => self.begin(&mut current, next, trial, order),
        }
    }

    /// Lets all new work of a component go to the version that it had before. A canary is returned
    /// instead.
    ///
    /// # Errors
    /// If there is none, or if it is no longer fit.
    pub(crate) async fn rollback(self: &Arc<Self>, component: &str, order: &Order) -> Result<Switch, Refusal> {
        let back = self.go_back(component, order).await;
        self.count("rollback", &back);
        back
    }

    async fn go_back(self: &Arc<Self>, component: &str, order: &Order) -> Result<Switch, Refusal> {
        let mut current = self.current.lock().await;
        let source = current.binary(component)?.source.clone();
        if self.app.load().components.get(component).is_some_and(|slot| slot.canary.is_some()) {
            return self.conclude(&mut current, component, false, &order.by, "taken back", order.drain);
        }
        let hash = current.versions.previous(component).ok_or_else(|| {
            Refusal::NotFound(format!(
                "component `{component}` has had no other version: there is nothing to go back to"
            ))
        })?;
        let compiled = self.compile(component, current.versions.path(&hash)).await?;
        let next = self.prepare(&current, component, Binary { hash, source, compiled }, None).await?;
        self.put(&mut current, next, Action::Rollback, order)
    }

    /// What was done, oldest first.
    pub(crate) async fn history(&self) -> Vec<Entry> {
        self.current.lock().await.versions.history().cloned().collect()
    }

    async fn compile(&self, component: &str, path: PathBuf) -> Result<Compiled, Refusal> {
        let (engine, id) = (self.wasm.clone(), component.to_owned());
        let compiled = tokio::task::spawn_blocking(move || gently(|| compile(&engine, &id, &path))).await;
        compiled.map_err(|error| Refusal::Failed(error.into()))?.map_err(Refusal::Unfit)
    }

    /// Makes and checks a version without putting it in place.
    async fn prepare(
        &self,
        current: &Current,
        id: &str,
        binary: Binary,
        trial: Option<Trial>,
    ) -> Result<Next, Refusal> {
        let slot = self.app.snapshot().components.get(id).cloned();
        let slot = slot.ok_or_else(|| unknown(id, &current.declared.manifest))?;
        if slot.canary.is_some() {
            return Err(Refusal::Conflict(format!(
                "component `{id}` has a canary: wait until it is promoted or returned, or end it with \
                 `tessera rollback {id}`"
            )));
        }
        let mut binaries = current.binaries.clone();
        binaries.insert(id.to_owned(), binary);
        let builder = self.builder(&current.declared, &current.engines, &binaries);
        let previous = &slot.stable.component;
        let component = builder.component(id, Some(previous), Some(previous.mounts.clone())).map_err(Refusal::Unfit)?;
        for other in binaries.keys() {
            builder.check_links(other).map_err(Refusal::Unfit)?;
        }
        let version = Arc::new(Version::new(Arc::new(component)));
        let mut components = self.app.snapshot().components.clone();
        let next = match trial {
            None => Slot::of(Arc::clone(&version)),
            Some(trial) => {
                Slot { stable: Arc::clone(&slot.stable), canary: Some(Canary::new(Arc::clone(&version), trial.share)) }
            }
        };
        insert(&mut components, next);
        let routes = routes(&current.declared.manifest, &components).map_err(Refusal::Unfit)?;
        try_out(&version.component).await.map_err(Refusal::Unfit)?;
        Ok(Next { binaries, snapshot: Snapshot { components, routes }, version, previous: Arc::clone(&slot.stable) })
    }

    pub(super) fn builder<'a>(
        &'a self,
        declared: &'a Declared,
        engines: &'a Engines,
        binaries: &'a BTreeMap<String, Binary>,
    ) -> Builder<'a> {
        Builder {
            app: &self.app,
            linker: &self.linker,
            binaries,
            engines,
            state_dir: &self.state_dir,
            manifest: &declared.manifest,
            resolved: &declared.resolved,
        }
    }

    /// Makes a prepared version durable, then current.
    fn put(&self, current: &mut Current, next: Next, action: Action, order: &Order) -> Result<Switch, Refusal> {
        let Next { binaries, snapshot, version, previous } = next;
        let id = Arc::clone(&version.component.id);
        let switch = Switch::of(&version, &previous);
        let source = current.binary(&id)?.source.clone();
        let change = match action {
            Action::Rollback => Change::Back { component: &id, source: &source },
            _ => Change::Run { component: &id, hash: &switch.hash, source: &source },
        };
        let entry = Entry::new(Some(&id), action, &order.by).versions(&switch.hash, Some(&switch.previous));
        tokio::task::block_in_place(|| current.versions.commit(&[change], vec![entry])).map_err(Refusal::Failed)?;
        current.binaries = binaries;
        self.app.replace(snapshot);
        let drain = order.drain.unwrap_or_else(|| drain_time(&current.declared.manifest, &id));
        self.retire(&previous.component, drain);
        let (version, previous) = (short(&switch.hash), short(&switch.previous));
        tracing::info!(component = &*id, version, previous, by = order.by, "all new work goes to the new version");
        Ok(switch)
    }

    /// Lets a version that gets no more work end within `drain`.
    pub(super) fn retire(&self, version: &Arc<Component>, drain: Duration) {
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

impl Switch {
    pub(super) fn of(version: &Version, previous: &Version) -> Self {
        let hash = |version: &Version| version.component.version.hash.to_string();
        Self { hash: hash(version), previous: hash(previous) }
    }
}

impl Current {
    pub(super) fn binary(&self, id: &str) -> Result<&Binary, Refusal> {
        let manifest = &self.declared.manifest;
        let declared = manifest.components.contains_key(id).then(|| self.binaries.get(id)).flatten();
        declared.ok_or_else(|| unknown(id, manifest))
    }
}

/// A change that is checked and not yet made.
pub(super) struct Next {
    pub(super) binaries: BTreeMap<String, Binary>,
    pub(super) snapshot: Snapshot,
    pub(super) version: Arc<Version>,
    pub(super) previous: Arc<Version>,
}

pub(super) fn insert(components: &mut HashMap<Arc<str>, Arc<Slot>>, slot: Slot) {
    components.insert(Arc::clone(&slot.stable.component.id), Arc::new(slot));
}

fn unknown(id: &str, manifest: &Manifest) -> Refusal {
    let known: Vec<_> = manifest.components.keys().map(String::as_str).collect();
    Refusal::NotFound(format!("the application has no component `{id}`; it has {}", known.join(", ")))
}

/// How long a component's old version may take to end.
pub(super) fn drain_time(manifest: &Manifest, id: &str) -> Duration {
    let consume = manifest.components.get(id).into_iter().flat_map(|component| &component.consume);
    consume.map(|consume| consume.timeout).max().unwrap_or_default().max(DRAIN)
}

/// As much of a hash as people read.
pub(crate) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
