//! The only place that knows concrete engines: makes an application out of a manifest, a
//! configuration and a state directory.

mod engines;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use tessera_capability::queue::Subscription;
use wasmtime::component::Component as Compiled;
use wasmtime::{Engine, component::Linker};

pub(crate) use self::engines::Engines;
use crate::app::component::{Component, Settings};
use crate::app::http::{Fixed, Routes, Target};
use crate::app::link::{self, Dependency};
use crate::app::{App, Snapshot, files};
use crate::grants::{Blobs, Grants, Mail};
use crate::manifest::{self, Files, Handler, Limits, Manifest, Resolved};
use crate::state::State;
use crate::trigger::queue::Consumer;

/// The groups that the application's consumers are.
pub(crate) fn subscriptions(manifest: &Manifest) -> Vec<Subscription> {
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

/// What calls the application's consumers.
pub(crate) fn consumers(manifest: &Manifest) -> Vec<Consumer> {
    let components = manifest.components.iter();
    components
        .flat_map(|(id, component)| component.consume.iter().map(move |consume| (id, consume)))
        .map(|(id, consume)| Consumer { component: id.as_str().into(), consume: consume.clone() })
        .collect()
}

/// Builds the whole application; anything wrong leaves nothing changed.
///
/// # Errors
/// Names the component and what to do about it.
pub(crate) async fn snapshot(
    app: &Arc<App>,
    engine: &Engine,
    manifest: &Manifest,
    resolved: &BTreeMap<String, Resolved>,
    engines: &Engines,
    state_dir: &Path,
) -> Result<Snapshot> {
    let linker = link::host(engine).map_err(|error| anyhow!(error)).context("set up the host functions")?;
    let sources = sources(manifest);
    let compiled = compile_all(engine, &sources).await?;
    let mut components = HashMap::new();
    for id in sources.keys() {
        let builder = Builder { app, linker: &linker, compiled: &compiled, engines, state_dir, manifest };
        let component = match (manifest.components.get(id), resolved.get(id)) {
            (Some(declared), Some(resolved)) => builder.declared(id, declared, resolved)?,
            _ => builder.file(id)?,
        };
        components.insert(Arc::clone(&component.id), Arc::new(component));
    }
    let routes = routes(manifest, &components)?;
    Ok(Snapshot { components, routes })
}

/// The Wasm file of every component, and of every dependency that is a file, by id.
fn sources(manifest: &Manifest) -> BTreeMap<String, std::path::PathBuf> {
    let mut sources = BTreeMap::new();
    for (id, component) in &manifest.components {
        sources.insert(id.clone(), component.source.clone());
        for (import, dependency) in &component.dependencies {
            if let manifest::Dependency::File { path, .. } = dependency {
                sources.insert(file_id(id, import), path.clone());
            }
        }
    }
    sources
}

/// The id of a dependency that is a file: no component's id has a `/`.
fn file_id(component: &str, import: &str) -> String {
    format!("{component}/{import}")
}

/// Compiles every component, or finds it in the cache.
async fn compile_all(
    engine: &Engine,
    sources: &BTreeMap<String, std::path::PathBuf>,
) -> Result<BTreeMap<String, Compiled>> {
    let tasks: Vec<_> = sources
        .iter()
        .map(|(id, source)| {
            let (engine, id, source) = (engine.clone(), id.clone(), source.clone());
            tokio::task::spawn_blocking(move || compile(&engine, &id, &source).map(|compiled| (id, compiled)))
        })
        .collect();
    let mut compiled = BTreeMap::new();
    for task in tasks {
        let (id, component) = task.await??;
        compiled.insert(id, component);
    }
    Ok(compiled)
}

fn compile(engine: &Engine, id: &str, source: &Path) -> Result<Compiled> {
    if !source.exists() {
        bail!(
            "component `{id}` has no file {}: build it with `tessera build`, or start with `tessera up --build`",
            source.display()
        );
    }
    let start = Instant::now();
    let compiled = Compiled::from_file(engine, source)
        .map_err(|error| anyhow!(error))
        .with_context(|| format!("component `{id}`: {} is not a component that can run here", source.display()))?;
    tracing::debug!(component = id, elapsed = ?start.elapsed(), "compiled, or found in the cache");
    Ok(compiled)
}

/// What is needed to make one component.
struct Builder<'a> {
    app: &'a Arc<App>,
    linker: &'a Linker<State>,
    compiled: &'a BTreeMap<String, Compiled>,
    engines: &'a Engines,
    state_dir: &'a Path,
    manifest: &'a Manifest,
}

impl Builder<'_> {
    fn declared(&self, id: &str, declared: &manifest::Component, resolved: &Resolved) -> Result<Component> {
        let grants = Arc::new(Grants {
            component: id.into(),
            stores: declared
                .key_value_stores
                .iter()
                .map(|label| Ok((label.clone(), self.engines.key_value(label)?)))
                .collect::<Result<_>>()?,
            blobs: declared
                .blob_stores
                .iter()
                .map(|(label, access)| Ok((label.clone(), Blobs { store: self.engines.blob(label)?, access: *access })))
                .collect::<Result<_>>()?,
            publish: declared.publish.clone(),
            broker: self.engines.broker(),
            mail: declared.mail.as_ref().map(|grant| Mail { sender: self.engines.mail(), grant: grant.clone() }),
            variables: resolved.variables.clone(),
            hosts: resolved.outbound_hosts.clone(),
        });
        let dependencies: Vec<_> =
            declared.dependencies.iter().map(|(import, dependency)| to_link(id, import, dependency)).collect();
        let mounts = self.files(id, &declared.files, &declared.exclude_files)?;
        let turns = self.app.turns();
        let component = self.link(id, &dependencies, |pre| {
            let environment = declared.environment.clone();
            Component::new(
                pre,
                Settings { grants, limits: declared.limits, reuse: declared.reuse, environment, mounts, turns },
            )
        })?;
        if !declared.consume.is_empty() && component.consumer().is_none() {
            bail!(
                "component `{id}` has `consume` in the manifest (line {}), but does not export `tessera:queue/consumer@0.1.0`",
                declared.line
            );
        }
        Ok(component)
    }

    /// A dependency that is a file runs without any grants.
    fn file(&self, id: &str) -> Result<Component> {
        let grants = Arc::new(Grants {
            component: id.into(),
            stores: HashMap::new(),
            blobs: HashMap::new(),
            publish: Vec::new(),
            broker: self.engines.broker(),
            mail: None,
            variables: BTreeMap::new(),
            hosts: manifest::AllowedHosts::default(),
        });
        let settings = Settings {
            grants,
            limits: Limits::default(),
            reuse: None,
            environment: BTreeMap::new(),
            mounts: Vec::new(),
            turns: self.app.turns(),
        };
        self.link(id, &[], |pre| Component::new(pre, settings))
    }

    fn files(&self, id: &str, files: &[Files], exclude: &[String]) -> Result<Vec<crate::app::component::Mount>> {
        files::gather(files, exclude, &self.manifest.directory, &self.state_dir.join("files").join(id))
            .with_context(|| format!("component `{id}`: cannot provide its `files`"))
    }

    fn link(
        &self,
        id: &str,
        dependencies: &[Dependency],
        make: impl FnOnce(wasmtime::component::InstancePre<State>) -> Component,
    ) -> Result<Component> {
        let compiled = self.compiled.get(id).context("every component was compiled")?;
        let mut linker = self.linker.clone();
        for dependency in dependencies {
            let callee = self.compiled.get(&*dependency.component).context("every dependency was compiled")?;
            link::provide(&mut linker, compiled, dependency, callee, &Arc::downgrade(self.app))
                .map_err(|error| anyhow!(error))
                .with_context(|| format!("component `{id}`: cannot link its dependency `{}`", dependency.import))?;
        }
        if let Some(text) = link::explain(id, compiled, dependencies, self.compiled) {
            bail!(text);
        }
        let pre = linker
            .instantiate_pre(compiled)
            .map_err(|error| anyhow!(error))
            .with_context(|| format!("component `{id}` imports what this host does not provide"))?;
        Ok(make(pre))
    }
}

fn to_link(id: &str, import: &str, dependency: &manifest::Dependency) -> Dependency {
    let (component, export) = match dependency {
        manifest::Dependency::Component { id, export } => (id.clone(), export.clone()),
        manifest::Dependency::File { export, .. } => (file_id(id, import), export.clone()),
    };
    Dependency { import: import.to_owned(), component: component.into(), export }
}

fn routes(manifest: &Manifest, components: &HashMap<Arc<str>, Arc<Component>>) -> Result<Routes> {
    let mut targets: HashMap<Arc<str>, Arc<Target>> = HashMap::new();
    for trigger in &manifest.http {
        let Handler::Component(id) = &trigger.handler else { continue };
        if targets.contains_key(id.as_str()) {
            continue;
        }
        let component = components.get(id.as_str()).context("the manifest's triggers name its components")?;
        let target = Target::component(Arc::clone(component)).map_err(|_| {
            let route =
                trigger.route.as_ref().map_or_else(|| "a private route".into(), |route| format!("the route {route}"));
            anyhow!(
                "component `{id}` has {route}, but exports neither `wasi:http/handler@0.3` \
                 nor `wasi:http/incoming-handler@0.2`"
            )
        })?;
        targets.insert(Arc::clone(&component.id), Arc::new(target));
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
