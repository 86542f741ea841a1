//! Where the values of an application's variables come from. The first source that has one wins:
//!
//! 1. `--variable` on the command line,
//! 2. the process's environment, `SPIN_VARIABLE_<NAME>` or the file that `SPIN_VARIABLE_<NAME>_FILE`
//!    names, and `.env` in the working directory behind it,
//! 3. each `[[variables_provider]]` of the runtime configuration, in its order,
//! 4. the default in the manifest, which [`crate::manifest::resolve_variables`] knows.
//!
//! Values are read when the inputs are, and kept until they are read again. A source that cannot be
//! read is an error: to go on with the next could run an application with an old secret. Reading
//! blocks. No message has a value in it.

mod environment;
mod vault;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::config::VariablesProvider;
use crate::manifest::{Manifest, Secret};
use environment::Environment;
use vault::Vault;

/// Where else values come from than the command line and the configuration.
pub(crate) struct Surroundings<'a> {
    /// The value of an environment variable.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    /// The working directory.
    pub(crate) directory: &'a Path,
}

/// What `--variable` gives.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    /// `KEY=VALUE`.
    One(String, Secret),
    /// `@FILE`: a TOML or JSON file of names and texts.
    File(PathBuf),
}

/// Why there are no values.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file cannot be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        /// What it is for.
        what: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not what it should be. Says nothing of its content, which is secret.
    #[error("{}: {fault}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what it should be.
        fault: String,
    },
    /// Two values of the same source.
    #[error("both {0} and {0}_FILE are set: keep one of them")]
    Twice(String),
    /// Vault has refused, or is no Vault.
    #[error("Vault at {url}: {fault}")]
    Vault {
        /// The server.
        url: String,
        /// What is wrong, and what to do about it.
        fault: String,
    },
}

/// The values that `--variable` gives; of two for the same variable the later.
///
/// # Errors
/// A file that cannot be read or is malformed.
pub(crate) fn given(all: &[Given]) -> Result<BTreeMap<String, Secret>, Error> {
    let mut values = BTreeMap::new();
    for given in all {
        match given {
            Given::One(name, value) => drop(values.insert(name.clone(), value.clone())),
            Given::File(path) => values.extend(from_file(path)?),
        }
    }
    Ok(values)
}

fn from_file(path: &Path) -> Result<BTreeMap<String, Secret>, Error> {
    let text = read(path, "the variables in")?;
    let malformed = |fault: &str| Error::Malformed { path: path.to_owned(), fault: fault.to_owned() };
    // The parsers' own messages quote the file.
    let values: BTreeMap<String, String> = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => toml::from_str(&text).map_err(|_| malformed("write lines like `name = \"text\"`, in TOML")),
        Some("json") => {
            serde_json::from_str(&text).map_err(|_| malformed("write an object like `{\"name\": \"text\"}`, in JSON"))
        }
        _ => Err(malformed("a file of variables is named *.toml or *.json")),
    }?;
    Ok(values.into_iter().map(|(name, value)| (name, value.into())).collect())
}

fn read(path: &Path, what: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read { what: what.to_owned(), path: path.to_owned(), source })
}

/// A secret in a file: its text without one line break at the end.
fn secret(text: &str) -> SecretString {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text)).into()
}

/// A source that is ready to be asked.
enum Source<'a> {
    Environment(Environment<'a>),
    Static(&'a BTreeMap<String, SecretString>),
    Files(&'a Path),
    Vault(Vault<'a>),
}

impl Source<'_> {
    fn get(&self, name: &str) -> Result<Option<SecretString>, Error> {
        match self {
            Self::Environment(environment) => environment.get(name),
            Self::Static(values) => Ok(values.get(name).cloned()),
            Self::Files(directory) => {
                // A variable's name has no separators.
                let path = directory.join(name);
                match std::fs::read_to_string(&path) {
                    Ok(text) => Ok(Some(secret(&text))),
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(Error::Read { what: format!("the variable `{name}` in"), path, source }),
                }
            }
            Self::Vault(vault) => vault.get(name),
        }
    }
}

/// The values of the manifest's variables, but for those in `given`, as far as a source has one.
///
/// # Errors
/// As [`Error`] says; the first one.
pub(crate) fn find(
    manifest: &Manifest,
    given: &BTreeMap<String, Secret>,
    providers: &[VariablesProvider],
    surroundings: &Surroundings<'_>,
) -> Result<BTreeMap<String, Secret>, Error> {
    let declared = &manifest.variables;
    let dotenv = Some(surroundings.directory.join(".env")).filter(|path| path.is_file());
    let mut sources = vec![Source::Environment(Environment::open(surroundings, declared, None, dotenv.as_deref())?)];
    for provider in providers {
        sources.push(match provider {
            VariablesProvider::Environment { prefix, dotenv } => {
                let environment = Environment::open(surroundings, declared, prefix.as_deref(), dotenv.as_deref())?;
                Source::Environment(environment)
            }
            VariablesProvider::Static(values) => Source::Static(values),
            VariablesProvider::Files(directory) => Source::Files(directory),
            VariablesProvider::Vault(settings) => Source::Vault(Vault::new(settings)?),
        });
    }
    let mut found = BTreeMap::new();
    for name in declared.keys().filter(|name| !given.contains_key(*name)) {
        for source in &sources {
            if let Some(value) = source.get(name)? {
                found.insert(name.clone(), value);
                break;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
