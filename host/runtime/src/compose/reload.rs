//! Applying changed files: the difference between what is in force and what they say now, as one
//! new snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use super::deployment::{Current, Deployment, Refusal, drain_time, insert, short};
use super::versions::{Action, Change, Entry};
use super::{Binary, Declared, binaries, fetch, routes, sources, subscriptions, try_out};
use crate::app::component::Mount;
use crate::app::slot::{Slot, Version};
use crate::app::{Snapshot, files};
use crate::manifest::{self, Handler, HttpTrigger, Manifest, Route};

/// Sections of the configuration that each component's outgoing connections follow.
const NETWORK: &[&str] = &["client_tls", "outbound_http", "outbound_networking"];

/// What came of a reload.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    /// One sentence for each change; empty if there was none.
    pub(crate) changes: Vec<String>,
    /// What in the files is probably not meant.
    pub(crate) warnings: Vec<String>,
}

impl Deployment {
    /// Reads the manifest, the configuration and the components' files again, and applies what has
    /// changed.
    ///
    /// # Errors
    /// If something in them is wrong, or cannot change while the application runs; then everything
    /// is as it was.
    pub(crate) async fn reload(&self, by: &str) -> Result<Applied, Refusal> {
        let applied = self.apply(by).await;
        self.count("reload", &applied);
        applied
    }

    async fn apply(&self, by: &str) -> Result<Applied, Refusal> {
        let mut current = self.current.lock().await;
        let old = self.app.snapshot();
        if let Some(slot) = old.components.values().find(|slot| slot.canary.is_some()) {
            return Err(Refusal::Conflict(format!(
                "component `{}` has a canary: wait until it is promoted or returned, or end it with \
                 `tessera rollback {0}`",
                slot.stable.component.id
            )));
        }
        let read = || {
            let declared = self.inputs.read()?;
            fetch::all(&declared.manifest, &self.state_dir).map(|()| declared)
        };
        let declared = tokio::task::block_in_place(read).map_err(Refusal::Unfit)?;
        let sections = fixed(&current.declared, &declared).map_err(Refusal::Unfit)?;
        let new_mail = sections.iter().any(|section| section == "mail");
        let new_network = sections.iter().any(|section| NETWORK.contains(&section.as_str()));
        let engines = current.engines.again(&declared.manifest, &declared.config, new_mail).await;
        let engines = Arc::new(engines.map_err(Refusal::Unfit)?);
        let sources = sources(&declared.manifest, &self.state_dir);
        let binaries = binaries(&self.wasm, &sources, &current.versions, &current.binaries).await;
        let binaries = binaries.map_err(Refusal::Unfit)?;
        let builder = self.builder(&declared, &engines, &binaries);

        let mut changes: Vec<String> = sections.iter().map(|section| format!("[{section}] changed")).collect();
        let mut components = HashMap::new();
        for id in binaries.keys() {
            let before = old.components.get(id.as_str());
            let mounts = tokio::task::block_in_place(|| builder.files(id)).map_err(Refusal::Unfit)?;
            let Some(slot) = before else {
                changes.push(format!("component `{id}` added"));
                let component = builder.component(id, None, Some(mounts)).map_err(Refusal::Unfit)?;
                try_out(&component).await.map_err(Refusal::Unfit)?;
                insert(&mut components, Slot::of(Arc::new(Version::new(Arc::new(component)))));
                continue;
            };
            let mut what = changed(&current, &declared, &binaries, id);
            if !same_files(&slot.stable.component.mounts, &mounts) && !what.contains(&"files".to_owned()) {
                what.push("files".to_owned());
            }
            let mails = declared.manifest.components.get(id).is_some_and(|component| component.mail.is_some());
            if what.is_empty() && !(new_mail && mails) && !new_network {
                builder.check_links(id).map_err(Refusal::Unfit)?;
                components.insert(Arc::clone(&slot.stable.component.id), Arc::clone(slot));
                continue;
            }
            if !what.is_empty() {
                changes.push(format!("component `{id}`: {} changed", what.join(", ")));
            }
            let previous = &slot.stable.component;
            let component = builder.component(id, Some(previous), Some(mounts)).map_err(Refusal::Unfit)?;
            try_out(&component).await.map_err(Refusal::Unfit)?;
            insert(&mut components, Slot::of(Arc::new(Version::new(Arc::new(component)))));
        }
        let gone: Vec<_> = old.components.iter().filter(|(id, _)| !components.contains_key(&**id)).collect();
        changes.extend(gone.iter().map(|(id, _)| format!("component `{id}` removed")));
        changes.extend(routes_changed(&current.declared.manifest, &declared.manifest));
        let routes = routes(&declared.manifest, &components).map_err(Refusal::Unfit)?;
        let warnings = declared.warnings.clone();
        let read = || current.statements.changed(&self.inputs.sqlite);
        let statements = tokio::task::block_in_place(read).map_err(Refusal::Unfit)?;
        changes.extend(statements.iter().map(|changed| format!("{} run again", changed.shown())));
        if changes.is_empty() {
            return Ok(Applied { changes, warnings });
        }

        // What they did stays if anything is wrong after this; so they come last of what can be.
        for changed in &statements {
            changed.run(&engines).await.map_err(Refusal::Unfit)?;
        }
        current.statements.ran(statements);

        let broker = engines.broker();
        let declare = broker.declare(&subscriptions(&declared.manifest)).await.context("declare the queues");
        declare.map_err(Refusal::Failed)?;
        if let Err(error) = record(&mut current, &binaries, &gone, by, &changes) {
            // Nobody has used the new queues yet.
            if let Err(error) = broker.declare(&subscriptions(&current.declared.manifest)).await {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot declare the queues as they were");
            }
            return Err(Refusal::Failed(error));
        }
        let kept: BTreeSet<_> = components.values().map(|slot| Arc::as_ptr(&slot.stable.component)).collect();
        self.app.replace(Snapshot { components, routes });
        for (id, slot) in &old.components {
            if !kept.contains(&Arc::as_ptr(&slot.stable.component)) {
                self.retire(&slot.stable.component, drain_time(&current.declared.manifest, id));
            }
        }
        current.consumers.apply(&declared.manifest);
        current.listeners.apply(&declared.resolved, &engines);
        current.declared = declared;
        current.engines = engines;
        current.binaries = binaries;
        for change in &changes {
            tracing::info!(by, "reloaded: {change}");
        }
        Ok(Applied { changes, warnings })
    }
}

/// Writes down a reload.
fn record(
    current: &mut Current,
    binaries: &BTreeMap<String, Binary>,
    gone: &[(&Arc<str>, &Arc<Slot>)],
    by: &str,
    changes: &[String],
) -> Result<()> {
    let mut entries = vec![Entry::new(None, Action::Reload, by).note(changes.join("; "))];
    let mut records: Vec<Change<'_>> = gone.iter().map(|(id, _)| Change::Gone(id)).collect();
    for (id, Binary { hash, source, .. }) in binaries {
        let before = current.binaries.get(id).map(|binary| &binary.hash);
        if before != Some(hash) {
            records.push(Change::Run { component: id, hash, source });
            entries.push(Entry::new(Some(id), Action::Reload, by).versions(hash, before));
        }
    }
    tokio::task::block_in_place(|| current.versions.commit(&records, entries))
}

/// Refuses what cannot change while the application runs; answers the configuration's sections that
/// can and did.
fn fixed(old: &Declared, new: &Declared) -> Result<Vec<String>> {
    if old.manifest.name != new.manifest.name {
        bail!(
            "the application's name cannot change from `{}` to `{}` while it runs, because its data is kept under it: \
             stop the application, move the data and start it again",
            old.manifest.name,
            new.manifest.name
        );
    }
    let sections = new.config.differences(&old.config);
    for section in &sections {
        match section.split_once('.') {
            Some((kind, label)) if uses(&old.manifest, kind, label) && uses(&new.manifest, kind, label) => bail!(
                "[{section}] cannot change while components use it, because its data is where it was: stop the \
                 application, move the data and start it again"
            ),
            Some(_) => {}
            None if section == "mail" || section == "variables_provider" || NETWORK.contains(&section.as_str()) => {}
            None => bail!("[{section}] cannot change while the application runs: stop it and start it again"),
        }
    }
    Ok(sections)
}

/// Whether some component uses a label.
fn uses(manifest: &Manifest, kind: &str, label: &str) -> bool {
    manifest.components.values().any(|component| match kind {
        "key_value_store" => component.key_value_stores.contains(label),
        "blob_store" => component.blob_stores.contains_key(label),
        "sqlite_database" => component.sqlite_databases.contains(label),
        // Of other kinds it is not known who uses them: they are taken to be in use.
        _ => true,
    })
}

/// What differs in a component that was there before.
fn changed(current: &Current, new: &Declared, binaries: &BTreeMap<String, Binary>, id: &str) -> Vec<String> {
    let old = &current.declared;
    let mut what = Vec::new();
    // A dependency that is a file may inherit of the component that depends on it.
    let owner = id.split_once('/').map_or(id, |(parent, _)| parent);
    if let (Some(component), Some(resolved), Some(other), Some(values)) = (
        old.manifest.components.get(owner),
        old.resolved.get(owner),
        new.manifest.components.get(owner),
        new.resolved.get(owner),
    ) {
        what.extend(manifest::differences((component, resolved), (other, values)).into_iter().map(str::to_owned));
    }
    let versions = (current.binaries.get(id), binaries.get(id));
    if let (Some(before), Some(after)) = versions
        && before.hash != after.hash
    {
        what.push(format!("binary ({} to {})", short(&before.hash), short(&after.hash)));
    }
    what
}

/// Sentences about routes that are new, gone, or lead elsewhere.
fn routes_changed(old: &Manifest, new: &Manifest) -> Vec<String> {
    let name = |route: &Option<Route>, handler: &Handler| match (route, handler) {
        (Some(route), _) => format!("route {route}"),
        (None, Handler::Component(id)) => format!("private route to `{id}`"),
        (None, Handler::Static(_)) => "private route to an answer".to_owned(),
    };
    let list = |manifest: &Manifest| -> BTreeMap<String, Handler> {
        manifest.http.iter().map(|HttpTrigger { route, handler }| (name(route, handler), handler.clone())).collect()
    };
    let mut changes = Vec::new();
    if old.base != new.base {
        changes.push(format!("routes begin with {}, not {}", new.base, old.base));
    }
    if old.version != new.version {
        changes.push(format!("version {}, not {}", new.version, old.version));
    }
    let (old, new) = (list(old), list(new));
    for (route, handler) in &new {
        match old.get(route) {
            None => changes.push(format!("{route} added")),
            Some(before) if before != handler => changes.push(format!("{route} leads elsewhere")),
            Some(_) => {}
        }
    }
    changes.extend(old.keys().filter(|route| !new.contains_key(*route)).map(|route| format!("{route} removed")));
    changes
}

/// Whether both are the same files with the same contents. Directories that are mounted where they
/// are show changes by themselves.
fn same_files(old: &[Mount], new: &[Mount]) -> bool {
    old.len() == new.len()
        && old.iter().zip(new).all(|(old, new)| {
            old.path == new.path
                && match (&old.staged, &new.staged) {
                    (Some(old), Some(new)) => same(old.path(), new.path()),
                    (None, None) => old.directory == new.directory,
                    _ => false,
                }
        })
}

fn same(old: &Path, new: &Path) -> bool {
    // What cannot be compared is taken to differ: then it is mounted anew.
    tokio::task::block_in_place(|| files::same(old, new)).unwrap_or(false)
}
