//! The suites of `tessera_capability::conformance`, run over every engine, and what only one
//! engine can show. One binary, because linking takes longer than testing.

// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[cfg(any(feature = "redis", feature = "smtp"))]
#[path = "conformance/authority.rs"]
mod authority;
#[path = "conformance/crash.rs"]
mod crash;
#[path = "conformance/embedded.rs"]
mod embedded;
#[path = "conformance/embedded_crash.rs"]
mod embedded_crash;
#[path = "conformance/embedded_steer_crash.rs"]
mod embedded_steer_crash;
#[path = "conformance/files.rs"]
mod files;
#[path = "conformance/maildir.rs"]
mod maildir;
#[cfg(feature = "redis")]
#[path = "conformance/redis.rs"]
mod redis;
#[cfg(feature = "smtp")]
#[path = "conformance/smtp.rs"]
mod smtp;
#[cfg(feature = "sqlite")]
#[path = "conformance/sqlite.rs"]
mod sqlite;
