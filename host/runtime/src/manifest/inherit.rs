//! What a dependency that is a file has of the configuration of the component that depends on it.

use toml::Spanned;

use super::check::Check;
use crate::diagnostic::{list, suggest};

/// The keys of a component that a dependency can inherit; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Inherit {
    /// `environment`.
    pub(crate) environment: bool,
    /// `files` and `exclude_files`.
    pub(crate) files: bool,
    /// `key_value_stores`.
    pub(crate) stores: bool,
    /// `allowed_outbound_hosts`.
    pub(crate) hosts: bool,
    /// `sqlite_databases`.
    pub(crate) databases: bool,
    /// `variables`.
    pub(crate) variables: bool,
    /// `tool.tessera`: only with all the others.
    pub(crate) own: bool,
}

/// What Spin allows in a list.
const KEYS: &[&str] = &[
    "ai_models",
    "allowed_outbound_hosts",
    "environment",
    "files",
    "key_value_stores",
    "sqlite_databases",
    "variables",
];

impl Inherit {
    /// Everything.
    pub(super) const ALL: Self =
        Self { environment: true, files: true, stores: true, hosts: true, databases: true, variables: true, own: true };

    /// Reads `true`, `false` or a list of keys.
    pub(super) fn read(check: &mut Check, written: &Spanned<toml::Value>) -> Self {
        let keys = match written.get_ref() {
            toml::Value::Boolean(true) => return Self::ALL,
            toml::Value::Boolean(false) => return Self::default(),
            toml::Value::Array(keys) => keys,
            _ => {
                let help = format!("write `true`, `false`, or a list of {}", list(KEYS.iter().copied()));
                check.error(written.span(), "this is not what can be inherited", help);
                return Self::default();
            }
        };
        let mut inherit = Self::default();
        for key in keys {
            match key.as_str().unwrap_or_default() {
                // There are none here to inherit; the component's own entry is what is refused.
                "ai_models" => {}
                "allowed_outbound_hosts" => inherit.hosts = true,
                "environment" => inherit.environment = true,
                "files" => inherit.files = true,
                "key_value_stores" => inherit.stores = true,
                "sqlite_databases" => inherit.databases = true,
                "variables" => inherit.variables = true,
                other => {
                    let help = suggest(other, KEYS.iter().copied());
                    check.error(written.span(), format!("`{other}` cannot be inherited"), help);
                }
            }
        }
        inherit
    }
}
