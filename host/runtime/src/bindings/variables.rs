//! `spin:variables` 3.0: a component's own variables.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use wasmtime::component::Accessor;

use super::Host;
use super::generated::spin::variables::variables;
use crate::grants::Grants;

impl variables::Host for &Arc<Grants> {}

impl<T: Send + 'static> variables::HostWithStore<T> for Host {
    async fn get(accessor: &Accessor<T, Self>, name: String) -> wasmtime::Result<Result<String, variables::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        Ok(get(&grants, &name).map_err(|missing| match missing {
            Missing::Undefined(text) => variables::Error::Undefined(text),
            Missing::InvalidName(text) => variables::Error::InvalidName(text),
        }))
    }
}

/// Why there is no value.
pub(super) enum Missing {
    /// The component has no such variable.
    Undefined(String),
    /// No variable can have that name.
    InvalidName(String),
}

/// The value of a component's variable.
pub(super) fn get(grants: &Grants, name: &str) -> Result<String, Missing> {
    match grants.variables.get(name) {
        Some(value) => Ok(value.expose_secret().to_owned()),
        None if is_name(name) => {
            grants.denied("variable", name, "variables");
            Err(Missing::Undefined(format!("no variable `{name}`")))
        }
        None => Err(Missing::InvalidName("lower-case letters, digits and single `_`".into())),
    }
}

/// Spin's rule for a variable's name.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .split('_')
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
        && name.len() <= 64
}
