//! The contracts of Tessera's capabilities: key-value, blob, queue and mail.
//!
//! Each contract is a trait that engines implement, with its types and limits; the WIT packages
//! under `wit/` say the same to guests. This crate knows neither WIT nor Wasmtime, and no engine.

pub mod blob;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub mod kv;
pub mod mail;
pub mod outbox;
pub mod queue;
pub mod redis;
pub mod sql;
pub mod time;

pub use error::{Error, Result};
