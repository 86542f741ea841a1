//! A component's variables, under the names that Spin 1 and 2 and `wasi:config` give them.

use secrecy::ExposeSecret as _;
use wasmtime::Result;

use super::View;
use super::generated::fermyon::spin::config as v1;
use super::generated::fermyon::spin2_0_0::variables as v2;
use super::generated::wasi::config0_2_0_draft_2024_09_27::store as draft;
use super::generated::wasi::config0_2_0_rc_1::store as wasi;
use crate::bindings::variables::{self, Missing};

impl v2::Host for View<'_> {
    async fn get(&mut self, name: String) -> Result<Result<String, v2::Error>> {
        Ok(variables::get(self.grants, &name).map_err(|missing| match missing {
            Missing::Undefined(text) => v2::Error::Undefined(text),
            Missing::InvalidName(text) => v2::Error::InvalidName(text),
        }))
    }
}

impl v1::Host for View<'_> {
    async fn get_config(&mut self, key: String) -> Result<Result<String, v1::Error>> {
        Ok(variables::get(self.grants, &key).map_err(|missing| match missing {
            Missing::Undefined(text) => v1::Error::Other(text),
            Missing::InvalidName(text) => v1::Error::InvalidKey(text),
        }))
    }
}

/// `wasi:config` has no case for a name that cannot be: as in Spin, that is `io`.
fn configured(view: &View<'_>, name: &str) -> Result<Option<String>, String> {
    match variables::get(view.grants, name) {
        Ok(value) => Ok(Some(value)),
        Err(Missing::Undefined(_)) => Ok(None),
        Err(Missing::InvalidName(text)) => Err(text),
    }
}

fn all(view: &View<'_>) -> Vec<(String, String)> {
    let variables = view.grants.variables.iter();
    variables.map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect()
}

impl draft::Host for View<'_> {
    async fn get(&mut self, key: String) -> Result<Result<Option<String>, draft::Error>> {
        Ok(configured(self, &key).map_err(draft::Error::Io))
    }

    async fn get_all(&mut self) -> Result<Result<Vec<(String, String)>, draft::Error>> {
        Ok(Ok(all(self)))
    }
}

impl wasi::Host for View<'_> {
    async fn get(&mut self, key: String) -> Result<Result<Option<String>, wasi::Error>> {
        Ok(configured(self, &key).map_err(wasi::Error::Io))
    }

    async fn get_all(&mut self) -> Result<Result<Vec<(String, String)>, wasi::Error>> {
        Ok(Ok(all(self)))
    }
}
