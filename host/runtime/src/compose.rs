//! The only place that knows concrete engines: makes an application out of a manifest, a
//! configuration and a state directory.

mod api;
mod canary;
mod consumers;
mod deployment;
mod engines;
mod fetch;
mod inputs;
mod listeners;
mod reach;
mod reload;
mod start;
mod statements;
mod trial;
mod values;
mod versions;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use tessera_capability::kv;
use tessera_capability::queue::Subscription;
use tokio::sync::Semaphore;
use wasmtime::component::{Component as Compiled, InstancePre};
use wasmtime::{Engine, component::Linker};

pub(crate) use self::api::{Changed, History, Reloaded, Swapped, routes as swap_routes};
pub(crate) use self::deployment::Deployment;
pub(crate) use self::engines::Engines;
pub(crate) use self::inputs::{Declared, Inputs, resolve};
pub(crate) use self::reach::reach;
use self::versions::{Hash, Versions};
use crate::app::component::{Component, Mount, Settings};
use crate::app::http::{Fixed, Routes, Target};
use crate::app::link::{self, Dependency};
use crate::app::slot::Slot;
use crate::app::{App, files, unsupported};
use crate::counted::{self, Counted};
use crate::cpu::gently;
use crate::engine::binary;
use crate::grants::{Blobs, Grants, Mail};
use crate::log_rate::LogRate;
use crate::manifest::{self, AllowedHosts, Handler, Manifest, Resolved};
use crate::network::{Common, Network};
use crate::state::State;
use crate::stats::{Exceeded, Operations};
use crate::trigger::http;

/// Where, in the state directory, the files are that components may read.
const FILES: &str = "files";

/// The groups that the application's consumers are.
fn subscriptions(manifest: &Manifest) -> Vec<Subscription> {
    manifest
        .components
        .values()
        .flat_map(|component| &component.consume)
        .map(|consume| Subscription {
            group: consume.group.clone(),
            patterns: consume.patterns.clone(),
            max_depth: consume.max_depth,
        })
        .collect()
}

/// The Wasm file of every component, and of every dependency that is a file, by id. Those that are
/// not here were fetched.
fn sources(manifest: &Manifest, state_dir: &Path) -> BTreeMap<String, PathBuf> {
    let file = |path: &PathBuf, remote: &Option<manifest::Remote>| match remote {
        Some(remote) => fetch::place(state_dir, remote),
        None => path.clone(),
    };
    let mut sources = BTreeMap::new();
    for (id, component) in &manifest.components {
        sources.insert(id.clone(), file(&component.source, &component.remote));
        for (import, dependency) in &component.dependencies {
            if let manifest::Dependency::File { path, remote, .. } = dependency {
                sources.insert(file_id(id, import), file(path, remote));
            }
        }
    }
    sources
}

/// The id of a dependency that is a file: no component's id has a `/`.
fn file_id(component: &str, import: &str) -> String {
    format!("{component}/{import}")
}

/// A component's binary, ready to be linked.
#[derive(Clone)]
struct Binary {
    hash: Hash,
    /// What the manifest's file was when this binary was put in place.
    source: Hash,
    compiled: Compiled,
}

/// Finds the version to run of every component, and compiles it or finds it in the cache. Those that
/// are in `known` are compiled already.
async fn binaries(
    engine: &Engine,
    sources: &BTreeMap<String, PathBuf>,
    versions: &Versions,
    known: &BTreeMap<String, Binary>,
) -> Result<BTreeMap<String, Binary>> {
    let copies: Vec<_> = sources
        .iter()
        .map(|(id, file)| {
            let (id, file, directory) = (id.clone(), file.clone(), versions.directory().to_owned());
            tokio::task::spawn_blocking(move || copy(&id, &file, &directory).map(|source| (id, source)))
        })
        .collect();
    // Without any, nothing is served yet.
    let serving = !known.is_empty();
    let mut tasks = Vec::new();
    for copied in copies {
        let (id, source) = copied.await??;
        let hash = versions.choose(&id, &source);
        let (engine, path) = (engine.clone(), versions.path(&hash));
        let compiled = known.values().find(|binary| binary.hash == hash).map(|binary| binary.compiled.clone());
        tasks.push(tokio::task::spawn_blocking(move || {
            let compile = || compile(&engine, &id, &path);
            let compiled = match compiled {
                Some(compiled) => compiled,
                None if serving => gently(compile)?,
                None => compile()?,
            };
            anyhow::Ok((id, Binary { hash, source, compiled }))
        }));
    }
    let mut binaries = BTreeMap::new();
    for task in tasks {
        let (id, binary) = task.await??;
        binaries.insert(id, binary);
    }
    Ok(binaries)
}

fn copy(id: &str, file: &Path, versions: &Path) -> Result<Hash> {
    if !file.exists() {
        bail!(
            "component `{id}` has no file {}: build it with `tessera build`, or start with `tessera up --build`",
            file.display()
        );
    }
    versions::keep_copy(versions, file).with_context(|| format!("component `{id}`"))
}

fn compile(engine: &Engine, id: &str, path: &Path) -> Result<Compiled> {
    let start = Instant::now();
    let cannot_run = || format!("component `{id}`: this is not a component that can run here");
    let bytes = std::fs::read(path).with_context(|| format!("component `{id}`: cannot read {}", path.display()))?;
    let bytes = binary::component(&bytes).with_context(cannot_run)?;
    let compiled = Compiled::new(engine, bytes).map_err(whole).with_context(cannot_run)?;
    tracing::debug!(component = id, elapsed = ?start.elapsed(), "compiled, or found in the cache");
    Ok(compiled)
}

/// What is needed to make one component.
struct Builder<'a> {
    app: &'a Arc<App>,
    linker: &'a Linker<State>,
    binaries: &'a BTreeMap<String, Binary>,
    engines: &'a Engines,
    state_dir: &'a Path,
    manifest: &'a Manifest,
    resolved: &'a BTreeMap<String, Resolved>,
}

impl Builder<'_> {
    /// Makes component `id`. It shares with `previous`, a version of it, what bounds all of them
    /// together. `mounts` are its files, if they were gathered already.
    fn component(&self, id: &str, previous: Option<&Component>, mounts: Option<Vec<Mount>>) -> Result<Component> {
        let mut component = match (self.manifest.components.get(id), self.resolved.get(id)) {
            (Some(declared), Some(resolved)) => self.declared(id, declared, resolved, mounts)?,
            _ => self.file(id, mounts)?,
        };
        if let Some(previous) = previous.filter(|other| other.limits == component.limits) {
            component.admission = Arc::clone(&previous.admission);
            component.connections = Arc::clone(&previous.connections);
        }
        Ok(component)
    }

    /// Whether component `id`, as it runs, can go on with these binaries of the others.
    fn check_links(&self, id: &str) -> Result<()> {
        self.linker(id, &self.dependencies(id)).map(drop)
    }

    fn dependencies(&self, id: &str) -> Vec<Dependency> {
        let declared = self.manifest.components.get(id).into_iter().flat_map(|component| &component.dependencies);
        declared.map(|(import, dependency)| to_link(id, import, dependency)).collect()
    }

    fn declared(
        &self,
        id: &str,
        declared: &manifest::Component,
        resolved: &Resolved,
        mounts: Option<Vec<Mount>>,
    ) -> Result<Component> {
        let network = self.network(Arc::new(self.grants(id, declared, resolved)?))?;
        let mounts = match mounts {
            Some(mounts) => mounts,
            None => self.files(id)?,
        };
        let turns = self.app.turns();
        let component = self.link(id, &resolved.outbound_hosts, |pre, hash| {
            let (limits, reuse, wagi) = (declared.limits, declared.reuse, declared.wagi.clone());
            let environment = declared.environment.clone();
            Component::new(pre, hash, Settings { network, limits, reuse, environment, mounts, turns, wagi })
        })?;
        if !declared.redis.is_empty() && component.redis_subscriber().is_none() {
            bail!(
                "component `{id}` has a `[[trigger.redis]]`, but exports neither `spin:redis/inbound-redis@3.0.0` \
                 nor `fermyon:spin/inbound-redis`"
            );
        }
        if !declared.consume.is_empty() && component.consumer().is_none() {
            bail!(
                "component `{id}` has `consume` in the manifest (line {}), but does not export `tessera:queue/consumer@0.1.0`",
                declared.line
            );
        }
        Ok(component)
    }

    /// What the manifest grants.
    fn grants(&self, id: &str, declared: &manifest::Component, resolved: &Resolved) -> Result<Grants> {
        let mut operations = Vec::new();
        let mut counted = |kind, label: &str, names| {
            let counts = Arc::new(Operations::new(kind, label, names));
            operations.push(Arc::clone(&counts));
            counts
        };
        let mut stores: HashMap<String, Arc<dyn kv::Store>> = HashMap::new();
        for label in &declared.key_value_stores {
            let counts = counted("key_value", label, counted::KEY_VALUE);
            stores.insert(label.clone(), Arc::new(Counted::new(self.engines.key_value(label)?, counts)));
        }
        let mut blobs = HashMap::new();
        for (label, access) in &declared.blob_stores {
            let counts = counted("blob", label, counted::BLOB);
            let store = Arc::new(Counted::new(self.engines.blob(label)?, counts));
            blobs.insert(label.clone(), Blobs { store, access: *access });
        }
        let component: Arc<str> = id.into();
        let exceeded: Arc<Exceeded> = Arc::default();
        Ok(Grants {
            log_rate: Arc::new(LogRate::new(Arc::clone(&component), declared.limits.log_rate, Arc::clone(&exceeded))),
            component,
            stores,
            databases: declared
                .sqlite_databases
                .iter()
                .map(|label| Ok((label.clone(), self.engines.database(label)?)))
                .collect::<Result<_>>()?,
            redis: self.engines.redis_client(),
            blobs,
            operations,
            exceeded,
            open_blobs: Arc::new(Semaphore::new(declared.limits.open_blobs())),
            publish: declared.publish.clone(),
            broker: self.engines.broker(),
            mail: declared.mail.as_ref().map(|grant| Mail { sender: self.engines.mail(), grant: grant.clone() }),
            variables: resolved.variables.clone(),
            hosts: resolved.outbound_hosts.clone(),
        })
    }

    /// A dependency that is a file has what it inherits of the component that depends on it.
    fn file(&self, id: &str, mounts: Option<Vec<Mount>>) -> Result<Component> {
        let (parent, declared, inherit) =
            self.heir(id).with_context(|| format!("component `{id}` is not in the manifest"))?;
        let resolved = self.resolved.get(parent).with_context(|| format!("component `{parent}` has no variables"))?;
        let mut lent = declared.clone();
        let mut values = resolved.clone();
        if !inherit.stores {
            lent.key_value_stores.clear();
        }
        if !inherit.databases {
            lent.sqlite_databases.clear();
        }
        if !inherit.own {
            lent.blob_stores.clear();
            lent.publish.clear();
            lent.mail = None;
        }
        if !inherit.variables {
            values.variables.clear();
        }
        if !inherit.hosts {
            values.outbound_hosts = AllowedHosts::default();
        }
        let settings = Settings {
            network: self.network(Arc::new(self.grants(id, &lent, &values)?))?,
            limits: declared.limits,
            reuse: None,
            environment: if inherit.environment { declared.environment.clone() } else { BTreeMap::new() },
            mounts: match mounts {
                Some(mounts) => mounts,
                None => self.files(id)?,
            },
            turns: self.app.turns(),
            wagi: None,
        };
        self.link(id, &values.outbound_hosts, |pre, hash| Component::new(pre, hash, settings))
    }

    fn network(&self, grants: Arc<Grants>) -> Result<Arc<Network>> {
        let common = Common { chain: http::chain(Arc::downgrade(self.app)), config: self.engines.network.clone() };
        let id = Arc::clone(&grants.component);
        Network::new(grants, common).with_context(|| format!("component `{id}`: set up TLS for its connections"))
    }

    /// Of a dependency that is a file: whose it is, and what it inherits.
    fn heir<'a>(&'a self, id: &'a str) -> Option<(&'a str, &'a manifest::Component, &'a manifest::Inherit)> {
        let (parent, import) = id.split_once('/')?;
        let declared = self.manifest.components.get(parent)?;
        match declared.dependencies.get(import)? {
            manifest::Dependency::File { inherit, .. } => Some((parent, declared, inherit)),
            manifest::Dependency::Component { .. } => None,
        }
    }

    /// Gathers the files that a component may read.
    fn files(&self, id: &str) -> Result<Vec<Mount>> {
        let declared = match self.heir(id) {
            Some((_, declared, inherit)) => Some(declared).filter(|_| inherit.files),
            None => self.manifest.components.get(id),
        };
        let Some(declared) = declared else { return Ok(Vec::new()) };
        let staging = self.state_dir.join(FILES);
        files::gather(&declared.files, &declared.exclude_files, &self.manifest.directory, &staging)
            .with_context(|| format!("component `{id}`: cannot provide its `files`"))
    }

    fn binary(&self, id: &str) -> Result<&Binary> {
        self.binaries.get(id).with_context(|| format!("component `{id}` has no binary"))
    }

    /// `hosts`: where the component may connect to.
    fn link(
        &self,
        id: &str,
        hosts: &AllowedHosts,
        make: impl FnOnce(InstancePre<State>, Arc<str>) -> Component,
    ) -> Result<Component> {
        let binary = self.binary(id)?;
        let dependencies = self.dependencies(id);
        let linker = self.linker(id, &dependencies)?;
        let others = self.binaries.iter().map(|(id, binary)| (id.as_str(), &binary.compiled));
        if let Some(text) = link::explain(id, &binary.compiled, hosts, &dependencies, others) {
            bail!(text);
        }
        let pre = linker
            .instantiate_pre(&binary.compiled)
            .map_err(whole)
            .with_context(|| format!("component `{id}` imports what this host does not provide"))?;
        Ok(make(pre, binary.hash.as_str().into()))
    }

    fn linker(&self, id: &str, dependencies: &[Dependency]) -> Result<Linker<State>> {
        let compiled = &self.binary(id)?.compiled;
        let mut linker = link::for_component(self.linker, compiled).map_err(whole)?;
        for dependency in dependencies {
            let callee = &self.binary(&dependency.component)?.compiled;
            link::provide(&mut linker, compiled, dependency, callee, &Arc::downgrade(self.app))
                .map_err(whole)
                .with_context(|| format!("component `{id}`: cannot link its dependency `{}`", dependency.import))?;
        }
        unsupported::deny(&mut linker, id, compiled, dependencies).map_err(whole)?;
        Ok(linker)
    }
}

/// Wasmtime's error with all its causes.
fn whole(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

/// Makes one instance, to see that it can be made.
async fn try_out(component: &Component) -> Result<()> {
    let instantiate = async {
        let mut store = component.store()?;
        let cpu = Arc::clone(&store.data().cpu);
        cpu.measure(component.pre.instantiate_async(&mut store)).await.map(drop)
    };
    let id = &component.id;
    match tokio::time::timeout(component.limits.timeout, instantiate).await {
        Ok(result) => result.map_err(whole).with_context(|| format!("component `{id}` cannot be instantiated")),
        Err(_) => bail!("component `{id}` cannot be instantiated within {:?}", component.limits.timeout),
    }
}

fn to_link(id: &str, import: &str, dependency: &manifest::Dependency) -> Dependency {
    let (component, export) = match dependency {
        manifest::Dependency::Component { id, export } => (id.clone(), export.clone()),
        manifest::Dependency::File { export, .. } => (file_id(id, import), export.clone()),
    };
    Dependency { import: import.to_owned(), component: component.into(), export }
}

fn routes(manifest: &Manifest, components: &HashMap<Arc<str>, Arc<Slot>>) -> Result<Routes> {
    let mut targets: HashMap<Arc<str>, Arc<Target>> = HashMap::new();
    for trigger in &manifest.http {
        let Handler::Component(id) = &trigger.handler else { continue };
        if targets.contains_key(id.as_str()) {
            continue;
        }
        let slot = components.get(id.as_str()).context("the manifest's triggers name its components")?;
        let canary = slot.canary.as_ref().map(|canary| &canary.version);
        if !std::iter::once(&slot.stable).chain(canary).all(|version| version.serves_http()) {
            let route =
                trigger.route.as_ref().map_or_else(|| "a private route".into(), |route| format!("the route {route}"));
            bail!(
                "component `{id}` has {route}, but exports neither `wasi:http/handler@0.3`, \
                 `wasi:http/incoming-handler@0.2` nor `fermyon:spin/inbound-http`; a program that is run for each \
                 request needs `executor = {{ type = \"wagi\" }}` in its trigger"
            );
        }
        targets.insert(Arc::clone(&slot.stable.component.id), Arc::new(Target::Component(Arc::clone(slot))));
    }
    let mut routes = Routes::new(&Fixed::info(&manifest.name, &manifest.version), targets.clone());
    for trigger in &manifest.http {
        let Some(route) = &trigger.route else { continue };
        let target = match &trigger.handler {
            Handler::Component(id) => targets.get(id.as_str()).map(Arc::clone).context("it was just made")?,
            Handler::Static(response) => Arc::new(Target::Static(
                Fixed::new(response).with_context(|| format!("the `static_response` of the route {route}"))?,
            )),
        };
        routes.add(route, &manifest.base, &target);
    }
    Ok(routes)
}
