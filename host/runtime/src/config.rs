//! `runtime-config.toml`: which engine stands behind each label, and with what settings.
//!
//! The operator's file, in the shape of Spin's; it is optional, and what it does not name is
//! embedded. Each engine is a variant with settings that cannot be wrong. Reading is pure: secrets
//! in files and environment variables come through the readers that are passed in. The file's
//! lines are never shown, because passwords may stand in them.
//!
//! A new section is a field of [`Config`] and an entry in `SECTIONS`; a new engine is a variant
//! and an arm in `config/engines.rs`.

mod engines;
mod fingerprint;
mod listen;
mod network;
mod reader;
mod redis;
mod telemetry;
mod variables;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use engines::{Blob, KeyValue, Mail, MailEngine, Queue, Smtp, Sqlite, Tls};
use fingerprint::Fingerprints;
pub(crate) use listen::Https;
pub(crate) use network::{ClientTls, Identity, Network, Roots};
use reader::Reader;
pub(crate) use redis::Redis;
pub(crate) use telemetry::Telemetry;
pub(crate) use variables::{VariablesProvider, Vault};

use crate::diagnostic::{Diagnostic, Invalid, Source, nearest};

/// The tables that the file may have.
const SECTIONS: &[&str] = &[
    "key_value_store",
    "sqlite_database",
    "blob_store",
    "queue",
    "mail",
    "telemetry",
    "tls",
    "variables_provider",
    "outbound_networking",
    "outbound_http",
    "client_tls",
];

/// Which engines to use. The default is what an absent file means: everything embedded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    key_value: BTreeMap<String, KeyValue>,
    sqlite: BTreeMap<String, Sqlite>,
    blob: BTreeMap<String, Blob>,
    /// The engine of all queues.
    pub(crate) queue: Queue,
    /// Where mail goes.
    pub(crate) mail: Mail,
    /// Where variables' values come from besides the command line and the environment; the first
    /// that has one wins.
    pub(crate) variables: Vec<VariablesProvider>,
    /// Where spans and metrics go; `None`: what the environment says.
    pub(crate) telemetry: Option<Telemetry>,
    /// TLS of the public listener; `None`: plain HTTP.
    pub(crate) tls: Option<Https>,
    /// About outgoing connections.
    pub(crate) network: Network,
    fingerprints: Fingerprints,
}

/// How secrets outside the file are read.
pub(crate) struct Readers<'a> {
    /// The value of an environment variable.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file.
    pub(crate) file: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file cannot be read.
    #[error("cannot read the runtime configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Config {
    /// The sections that say something else than in `other`: `queue`, `key_value_store.jobs`.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        self.fingerprints.differences(&other.fingerprints)
    }

    /// The engine behind a label of `key_value_stores`.
    pub(crate) fn key_value(&self, label: &str) -> KeyValue {
        self.key_value.get(label).cloned().unwrap_or_default()
    }

    /// The file behind a label of `sqlite_databases`.
    pub(crate) fn sqlite(&self, label: &str) -> Sqlite {
        self.sqlite.get(label).cloned().unwrap_or_default()
    }

    /// The engine behind a label of `blob_stores`.
    pub(crate) fn blob(&self, label: &str) -> Blob {
        self.blob.get(label).cloned().unwrap_or_default()
    }

    /// A sentence for each configured label that is not in use: the slip would put data elsewhere
    /// than the operator believes.
    pub(crate) fn unused(
        &self,
        key_value: &BTreeSet<&str>,
        sqlite: &BTreeSet<&str>,
        blob: &BTreeSet<&str>,
    ) -> Vec<String> {
        let key_value = self.key_value.keys().map(|label| ("key_value_store", label, key_value));
        let sqlite = self.sqlite.keys().map(|label| ("sqlite_database", label, sqlite));
        let blob = self.blob.keys().map(|label| ("blob_store", label, blob));
        key_value
            .chain(sqlite)
            .chain(blob)
            .filter(|(_, label, used)| !used.contains(label.as_str()))
            .map(|(section, label, used)| {
                let help = nearest(label, used.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
                format!("[{section}.{label}] is configured, but no component uses it{}", help.unwrap_or_default())
            })
            .collect()
    }
}

/// Reads the file at `path`; secrets come from the process's environment and from files.
///
/// # Errors
/// As [`Error`] says.
pub(crate) fn load(path: &Path) -> Result<Config, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let readers =
        Readers { environment: &|name| std::env::var(name).ok(), file: &|path: &Path| std::fs::read_to_string(path) };
    Ok(parse(path, &text, &readers)?)
}

/// Reads a configuration's text; `path` is for messages and for relative paths.
///
/// # Errors
/// All faults, or the first one of its syntax.
pub(crate) fn parse(path: &Path, text: &str, readers: &Readers<'_>) -> Result<Config, Invalid> {
    let source = Source::confidential(path, text);
    let root = toml::de::DeTable::parse(text)
        .map_err(|error| Invalid(vec![Diagnostic::from_toml(&source, &error)]))?
        .into_inner();
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let fingerprints = Fingerprints::of(text, &directory, readers);
    let mut reader = Reader::new(source, directory, readers);
    let mut config = Config { fingerprints, ..Config::default() };
    for (key, value) in root {
        match key.get_ref().as_ref() {
            "key_value_store" => config.key_value = reader.labelled(value, engines::key_value),
            "sqlite_database" => config.sqlite = reader.labelled(value, engines::sqlite),
            "llm_compute" => {
                let help = "remove it; a model behind an HTTP API can be called through `allowed_outbound_hosts`";
                reader.error(key.span(), "AI models are not provided here", help);
            }
            "blob_store" => config.blob = reader.labelled(value, engines::blob),
            "queue" => config.queue = engines::queue(&mut reader, value).unwrap_or_default(),
            "mail" => config.mail = engines::mail(&mut reader, value).unwrap_or_default(),
            "telemetry" => config.telemetry = telemetry::telemetry(&mut reader, value),
            "tls" => config.tls = listen::https(&mut reader, value),
            // The second is what Spin called it before.
            "variables_provider" | "config_provider" => {
                config.variables.extend(variables::variables_providers(&mut reader, value));
            }
            "outbound_networking" => network::networking(&mut reader, value, &mut config.network),
            "outbound_http" => network::http(&mut reader, value, &mut config.network),
            "client_tls" => network::client_tls(&mut reader, value, &mut config.network),
            other => reader.unknown("key", key.span(), other, SECTIONS),
        }
    }
    reader.finish(config)
}
