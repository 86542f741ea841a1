//! The values of variables, and what depends on them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use secrecy::{ExposeSecret as _, SecretString};

use super::{AllowedHosts, Manifest};
use crate::diagnostic::suggest;

/// What a component gets once the variables' values are known.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// Its variables' values.
    pub(crate) variables: BTreeMap<String, SecretString>,
    /// Where it may connect to.
    pub(crate) outbound_hosts: AllowedHosts,
    /// The Redis channels that it gets messages from: the server's URL, and the channel.
    pub(crate) redis: Vec<(SecretString, String)>,
}

/// Why the variables have no values; one line for each fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(String);

/// The variables and destinations of every component, by its id.
///
/// A variable's value is the one in `provided`, which the command line gives, else the one that
/// another source has `found` for its name, else its default.
///
/// # Errors
/// Names every required variable without a value, every provided one that is not declared, and
/// every destination that is malformed once the values are in it.
pub(crate) fn resolve_variables(
    manifest: &Manifest,
    provided: &BTreeMap<String, SecretString>,
    found: impl Fn(&str) -> Option<SecretString>,
) -> Result<BTreeMap<String, Resolved>, Error> {
    let mut faults = String::new();
    for name in provided.keys().filter(|name| !manifest.variables.contains_key(*name)) {
        let help = suggest(name, manifest.variables.keys().map(String::as_str));
        let _ = writeln!(
            faults,
            "--variable {name}=… is given, but {} declares no such variable; {help}",
            manifest.path.display()
        );
    }
    let mut values = BTreeMap::new();
    for (name, default) in &manifest.variables {
        let value = provided.get(name).cloned().or_else(|| found(name)).or_else(|| default.clone().map(Into::into));
        match value {
            Some(value) => drop(values.insert(name.as_str(), value)),
            None => {
                let _ = writeln!(
                    faults,
                    "the variable `{name}` has no value: give it with --variable {name}=… or set the environment variable SPIN_VARIABLE_{}",
                    name.to_uppercase()
                );
            }
        }
    }
    if !faults.is_empty() {
        return Err(Error(faults.trim_end().to_owned()));
    }
    manifest
        .components
        .iter()
        .map(|(id, component)| {
            let variables =
                component.variables.iter().map(|(name, template)| (name.clone(), template.expand(&values))).collect();
            // Not the entry itself: the value in it may be a secret.
            let hosts: Vec<SecretString> = component.outbound_hosts.iter().map(|host| host.expand(&values)).collect();
            let outbound_hosts = AllowedHosts::parse(hosts.iter().map(|host| host.expose_secret())).map_err(|_| {
                Error(format!(
                    "`allowed_outbound_hosts` of component `{id}` is malformed with the variables' values in it: \
                     each entry has to become `scheme://host:port`"
                ))
            })?;
            let redis = component.redis.iter().map(|trigger| {
                (trigger.address.expand(&values), trigger.channel.expand(&values).expose_secret().to_owned())
            });
            Ok((id.clone(), Resolved { variables, outbound_hosts, redis: redis.collect() }))
        })
        .collect()
}
