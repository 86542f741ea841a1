//! What an operator gives: files, and values on the command line. Read at start, and again whenever
//! they are to be applied anew.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use secrecy::ExposeSecret as _;

use crate::config::{self, Config};
use crate::manifest::{self, Manifest, Resolved, Secret};
use crate::variables::{self, Surroundings};

/// Where everything that describes the application comes from.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// `spin.toml`.
    pub(crate) manifest: PathBuf,
    /// `runtime-config.toml`, if there is one.
    pub(crate) config: Option<PathBuf>,
    /// Variables' values from the command line.
    pub(crate) variables: Vec<variables::Given>,
    /// Environment variables for all components.
    pub(crate) environment: Vec<(String, Secret)>,
    /// SQL to run once, before anything is served.
    pub(crate) sqlite: Vec<String>,
    /// Values for the store `default`, set once before anything is served.
    pub(crate) key_values: Vec<(String, Secret)>,
    /// Which of the manifest's profiles counts.
    pub(crate) profile: Option<String>,
    /// The components to run, by id; empty: all that something calls.
    pub(crate) components: Vec<String>,
    /// No instance of any component may have more memory than this, in bytes.
    pub(crate) max_memory: Option<usize>,
}

/// What the inputs say at one time.
pub(crate) struct Declared {
    pub(crate) manifest: Manifest,
    pub(crate) config: Config,
    /// By component.
    pub(crate) resolved: BTreeMap<String, Resolved>,
    /// To be shown; nothing is wrong with running it.
    pub(crate) warnings: Vec<String>,
}

impl Inputs {
    /// Reads the files, and asks the providers of variables; blocks.
    ///
    /// # Errors
    /// Says which file is wrong, where and why, or what a provider refused.
    pub(crate) fn read(&self) -> Result<Declared> {
        let loaded = manifest::load_profile(&self.manifest, self.profile.as_deref())?;
        let mut manifest = loaded.manifest;
        if self.components.is_empty() {
            manifest.drop_unused();
        } else {
            manifest.select(&self.components).map_err(|why| anyhow!("--component-id: {why}"))?;
        }
        if !manifest.has_triggers() {
            bail!("No triggers in app: nothing could ever call a component of {}", self.manifest.display());
        }
        let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        let config = match &self.config {
            Some(file) => config::load(file)?,
            None => Config::default(),
        };
        warnings.extend(unused(&config, &manifest));
        let resolved = resolve(&manifest, &config, &self.variables)?;
        for component in manifest.components.values_mut() {
            let added = self.environment.iter().map(|(key, value)| (key.clone(), value.expose_secret().to_owned()));
            component.environment.extend(added);
            let limits = &mut component.limits;
            limits.memory = self.max_memory.map_or(limits.memory, |most| most.min(limits.memory));
        }
        Ok(Declared { manifest, config, resolved, warnings })
    }
}

/// What each component gets of the variables' values, from the command line and wherever `config` says; blocks.
///
/// # Errors
/// Says which variable has no value, or what a provider refused.
pub(crate) fn resolve(
    manifest: &Manifest,
    config: &Config,
    given: &[variables::Given],
) -> Result<BTreeMap<String, Resolved>> {
    let given = variables::given(given)?;
    let directory = std::env::current_dir()?;
    let surroundings = Surroundings { environment: &|name| std::env::var(name).ok(), directory: &directory };
    let found = variables::find(manifest, &given, &config.variables, &surroundings)?;
    Ok(manifest::resolve_variables(manifest, &given, |name| found.get(name).cloned())?)
}

fn unused(config: &Config, manifest: &Manifest) -> impl Iterator<Item = String> {
    let components = manifest.components.values();
    let stores = components.clone().flat_map(|component| &component.key_value_stores).map(String::as_str).collect();
    let blobs = components.flat_map(|component| component.blob_stores.keys()).map(String::as_str).collect();
    let databases = manifest.components.values().flat_map(|component| &component.sqlite_databases);
    let databases = databases.map(String::as_str).collect();
    config.unused(&stores, &databases, &blobs).into_iter().map(|warning| format!("warning: {warning}"))
}
