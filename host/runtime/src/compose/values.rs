//! Values that the operator has put into the store `default` before anything is served.

use anyhow::{Context as _, Result};
use secrecy::ExposeSecret as _;
use tessera_capability::kv::{Commit, Key, Operation};

use super::Engines;
use crate::manifest::Secret;

/// Sets each of `values`, whatever was there.
///
/// # Errors
/// Says which one cannot be set, and why.
pub(super) async fn set(values: &[(String, Secret)], engines: &Engines) -> Result<()> {
    for (key, value) in values {
        let store = engines
            .key_value("default")
            .ok()
            .context("--key-value: no component has the store `default`: add it to a component's `key_value_stores`")?;
        let value = value.expose_secret().to_owned().into();
        let set = Operation::Set { key: Key::new(key.clone())?, value, time_to_live: None };
        let commit = Commit { operations: vec![set], ..Commit::default() };
        store.commit(commit).await.with_context(|| format!("--key-value {key}=…"))?;
    }
    Ok(())
}
