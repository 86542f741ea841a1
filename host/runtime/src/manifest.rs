//! `spin.toml`: what may run, on what triggers, with which grants.
//!
//! The syntax is that of Spin's manifest v2, strictly, so that stock Spin reads the same file (v1 is
//! converted to it, as there);
//! what is ours sits in `[component.X.tool.tessera]`, which Spin ignores. Reading is pure: text in,
//! a [`Manifest`] that cannot be wrong or every fault out. Not checked here is what needs the file
//! system or the Wasm binaries: whether sources exist, and what they import and export.

mod check;
mod component;
mod difference;
mod executor;
mod grants;
mod graph;
mod hosts;
mod inherit;
mod inline;
mod limits;
mod names;
mod queues;
mod redis;
mod route;
mod scope;
mod select;
mod template;
mod validate;
mod variables;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use component::{
    BlobAccess, Build, Component, Consume, Dependency, Files, Handler, HttpTrigger, MailGrant, RedisTrigger, Remote,
    StaticResponse,
};
pub(crate) use difference::differences;
pub(crate) use hosts::{AllowedHosts, Destination};
pub(crate) use inherit::Inherit;
pub(crate) use limits::{Limits, Reuse};
pub(crate) use route::{RESERVED, Route, Segment};
pub(crate) use scope::is_public;
pub(crate) use secrecy::SecretString as Secret;
pub(crate) use template::Template;
pub(crate) use variables::{Resolved, resolve_variables};

use crate::diagnostic::{Diagnostic, Invalid, Source};

/// An application.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    /// The file it was read from, for messages.
    pub(crate) path: PathBuf,
    /// The directory that relative paths start from.
    pub(crate) directory: PathBuf,
    /// The application's name.
    pub(crate) name: String,
    /// Its version; may be empty.
    pub(crate) version: String,
    /// Variables by name; the value is the default, `None` if one must be given.
    pub(crate) variables: BTreeMap<String, Option<String>>,
    /// What all routes begin with, as written; `/` if nothing.
    pub(crate) base: String,
    /// In the order of the file; no two have the same paths.
    pub(crate) http: Vec<HttpTrigger>,
    /// By id.
    pub(crate) components: BTreeMap<String, Component>,
}

/// A manifest, and what in it is probably not meant.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The application.
    pub(crate) manifest: Manifest,
    /// To be shown; nothing is wrong with running it.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file cannot be read.
    #[error("cannot read the manifest {} (`--from` names another)", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It is the name of something in a registry.
    #[error("{} is an application in a registry, and registries are not supported: give a `spin.toml`, its directory, or a Wasm file", path.display())]
    Registry {
        /// What was given.
        path: PathBuf,
    },
    /// The file is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Reads the manifest at `path`. A Wasm file is an application of one component that gets all HTTP
/// requests, as in Spin.
///
/// # Errors
/// As [`Error`] says.
pub(crate) fn load(path: &Path) -> Result<Loaded, Error> {
    load_profile(path, None)
}

/// As [`load`], with what its components have in `[component.<id>.profile.<profile>]` in place of what
/// they have otherwise.
///
/// # Errors
/// As [`Error`] says; also if no component has the profile.
pub(crate) fn load_profile(path: &Path, profile: Option<&str>) -> Result<Loaded, Error> {
    let text = match single_component(path) {
        Some(text) => text,
        None => std::fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound if is_reference(path) => Error::Registry { path: path.to_owned() },
            _ => Error::Read { path: path.to_owned(), source },
        })?,
    };
    Ok(parse_profile(path, &text, profile)?)
}

/// The manifest of an application that is just this Wasm file.
fn single_component(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let name = toml::Value::from(file.strip_suffix(".wasm")?);
    let file = toml::Value::from(file);
    Some(format!(
        "spin_manifest_version = 2\n[application]\nname = {name}\n[[trigger.http]]\nroute = \"/...\"\n\
         component = {{ source = {file} }}\n"
    ))
}

/// True for `registry.example/name:tag`: the first part is a host's name or has a port.
fn is_reference(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let host = text.split_once('/').map_or("", |(host, _)| host);
    !host.starts_with('.') && host.contains(['.', ':'])
}

/// Reads a manifest's text; `path` is for messages and for relative paths.
///
/// # Errors
/// All faults of its meaning, or the first one of its syntax.
#[cfg(test)]
pub(crate) fn parse(path: &Path, text: &str) -> Result<Loaded, Invalid> {
    parse_profile(path, text, None)
}

/// Reads a manifest's text; `path` is for messages and for relative paths.
///
/// # Errors
/// All faults of its meaning, or the first one of its syntax.
fn parse_profile(path: &Path, text: &str, profile: Option<&str>) -> Result<Loaded, Invalid> {
    let source = Source::new(path, text);
    let syntax = |error: toml::de::Error| Invalid(vec![Diagnostic::from_toml(&source, &error)]);
    let version: wire::Version = toml::from_str(text).map_err(syntax)?;
    let mut wire = match version_of(&source, version)? {
        Version::One => toml::from_str::<wire::Manifest1>(text).map_err(syntax)?.upgrade(&source)?,
        Version::Two => toml::from_str(text).map_err(syntax)?,
    };
    if let Some(profile) = profile {
        wire.apply(profile, &source)?;
    }
    validate::manifest(path, &source, wire)
}

enum Version {
    One,
    Two,
}

fn version_of(source: &std::sync::Arc<Source>, version: wire::Version) -> Result<Version, Invalid> {
    let (span, message) = match version.spin_manifest_version {
        Some(version) if version.get_ref().as_integer() == Some(2) => return Ok(Version::Two),
        Some(version) if version.get_ref().as_str() == Some("1") => return Ok(Version::One),
        Some(version) => (version.span(), "only the versions 2 and \"1\" of Spin's manifest are supported"),
        None => (0..0, "`spin_manifest_version = 2` is missing"),
    };
    let help = "begin the file with `spin_manifest_version = 2`";
    Err(Invalid(vec![Diagnostic::error(source, span, message).help(help)]))
}
