//! The engines behind the capability contracts: one module for each, over the traits of
//! `tessera-capability`. They know nothing of the runtime and of one another.

pub mod embedded;
pub mod files;
pub mod idempotent;
pub mod maildir;
mod message;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "smtp")]
pub mod smtp;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "redis", feature = "smtp"))]
pub mod trouble;
