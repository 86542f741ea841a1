//! Key-value and queue on Redis 7 (or Valkey).
//!
//! Every operation is one Lua script, because only a script decides and writes in one atomic step:
//! `MULTI` cannot look at what it changes. All keys of a label, and all keys of the queues, share a
//! cluster hash tag, so that each of them lives on one node. The clock is the server's.
//!
//! Durable means what the server is configured for: with `appendonly yes` and `appendfsync always`
//! an answered write survives a power failure, with `everysec` it may lose the last second of the
//! machine, and without either the last snapshot is what survives. The server must not evict keys
//! (`maxmemory-policy noeviction`). Replicas are for failing over only: all calls go to the primary.
//!
//! The store cannot publish in its commits, because a label and the queues may be on different
//! nodes; [`tessera_capability::outbox::Outbox`] does that.

mod check;
mod client;
mod config;
mod connection;
mod kv;
mod queue;
mod reply;
mod wakeups;

use std::sync::Arc;

use tessera_capability::{Error, Result, kv as contract, queue as queues};

pub use check::check;
pub use client::Client;
pub use config::Config;
use connection::Connection;

/// A connection to a Redis server that reconnects by itself.
///
/// While the server cannot be reached, calls answer `Unavailable`.
#[derive(Clone)]
pub struct Engine {
    connection: Connection,
    namespace: Arc<str>,
}

impl Engine {
    /// Connects to a server. Keys begin with `{namespace:`.
    ///
    /// # Errors
    /// `Invalid` for a malformed URL or namespace and for certificates that cannot be used,
    /// `Unavailable` if the server cannot be reached or trusted, or refuses the credentials.
    pub async fn connect(config: &Config, namespace: &str) -> Result<Self> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        if namespace.is_empty() || !namespace.bytes().all(word) {
            return Err(Error::Invalid("a Redis namespace has letters, digits, `-`, `_`, `.` and `:` only".into()));
        }
        let connection = Connection::open(config).await?;
        connection.warn_of_losses().await;
        Ok(Self { connection, namespace: namespace.into() })
    }

    /// The store of a label.
    #[must_use]
    pub fn store(&self, label: &str) -> Arc<dyn contract::Store> {
        Arc::new(kv::Store::new(self.connection.clone(), &self.namespace, label))
    }

    /// The queues of the namespace. Ask once and share it: its receivers share one subscription.
    #[must_use]
    pub fn broker(&self) -> Arc<dyn queues::Broker> {
        Arc::new(queue::Broker::new(self.connection.clone(), &self.namespace))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
