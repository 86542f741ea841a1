//! What one component may use: resolved from its manifest once, looked at by every host call.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use tessera_capability::queue::{Pattern, QueueName};
use tessera_capability::{Error, Result, blob, kv, mail, queue, redis, sql};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exceeded::is_of_resources;
use crate::log_rate::LogRate;
use crate::manifest::{AllowedHosts, BlobAccess, Destination, MailGrant, Secret};
use crate::stats::{Exceeded, Operations};

/// A granted blob store.
pub(crate) struct Blobs {
    /// The engine's store.
    pub(crate) store: Arc<dyn blob::Store>,
    /// What is granted of it.
    pub(crate) access: BlobAccess,
}

/// Granted mail.
pub(crate) struct Mail {
    /// The engine.
    pub(crate) sender: Arc<dyn mail::Sender>,
    /// As whom it may send.
    pub(crate) grant: MailGrant,
}

/// The grants of one component. Whatever is not in here is denied.
pub(crate) struct Grants {
    /// The component's id: its name in logs and its scope in mail.
    pub(crate) component: Arc<str>,
    /// Key-value stores by label.
    pub(crate) stores: HashMap<String, Arc<dyn kv::Store>>,
    /// SQL databases by label.
    pub(crate) databases: HashMap<String, Arc<dyn sql::Database>>,
    /// The way to the Redis servers that `hosts` allows, for this component alone.
    pub(crate) redis: Arc<dyn redis::Client>,
    /// Blob stores by label.
    pub(crate) blobs: HashMap<String, Blobs>,
    /// Permits for blobs that are being read or written, by all instances together: each has buffers.
    pub(crate) open_blobs: Arc<Semaphore>,
    /// The queues it may publish to.
    pub(crate) publish: Vec<Pattern>,
    /// The queues' engine.
    pub(crate) broker: Arc<dyn queue::Broker>,
    /// Mail, if granted.
    pub(crate) mail: Option<Mail>,
    /// Its variables.
    pub(crate) variables: BTreeMap<String, Secret>,
    /// What it did with its stores.
    pub(crate) operations: Vec<Arc<Operations>>,
    /// How often it met a limit.
    pub(crate) exceeded: Arc<Exceeded>,
    /// How much is logged of it.
    pub(crate) log_rate: Arc<LogRate>,
    /// Where it may connect to.
    pub(crate) hosts: AllowedHosts,
}

impl Grants {
    pub(crate) fn store(&self, label: &str) -> Result<&Arc<dyn kv::Store>> {
        self.stores.get(label).ok_or_else(|| self.denied("key-value store", label, "key_value_stores"))
    }

    pub(crate) fn database(&self, label: &str) -> Result<&Arc<dyn sql::Database>> {
        self.databases.get(label).ok_or_else(|| self.denied("SQLite database", label, "sqlite_databases"))
    }

    /// Whether the component may use the Redis server of a URL, and at which addresses. The URL is
    /// not logged: it may have a password in it.
    pub(crate) fn may_use_redis(&self, url: &str) -> Result<redis::Permits> {
        let redis::Address { scheme, host, port } = self.redis.address(url)?;
        if self.hosts.allows(scheme, &host, Some(port)) {
            let hosts = self.hosts.clone();
            return Ok(Arc::new(move |address| {
                hosts.allows_address(Destination { scheme, host: &host, port: Some(port) }, address)
            }));
        }
        Err(self.denied("a connection to", &format!("{scheme}://{host}:{port}"), "allowed_outbound_hosts"))
    }

    pub(crate) fn blobs(&self, label: &str, write: bool) -> Result<&Arc<dyn blob::Store>> {
        let blobs =
            self.blobs.get(label).ok_or_else(|| self.denied("blob store", label, "tool.tessera.blob_stores"))?;
        if write && blobs.access == BlobAccess::Read {
            return Err(self.denied("writing to blob store", label, "tool.tessera.blob_stores"));
        }
        Ok(&blobs.store)
    }

    /// The right to read or write one more blob, until it is dropped.
    ///
    /// # Errors
    /// If too many are open; the log says which limit that is.
    pub(crate) fn open_blob(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.open_blobs).try_acquire_owned().map_err(|_| {
            let component = &*self.component;
            self.exceeded.resources.increment();
            self.warn(format_args!(
                "too many blobs are open at a time (an eighth of `limits.resources` in `[component.{component}.tool.tessera]`)"
            ));
            Error::Unavailable { message: "too many blobs are open at a time".into(), source: None }
        })
    }

    /// Counts and explains the end of an instance that had too much open; other errors are not its concern.
    pub(crate) fn note_trap(&self, error: &wasmtime::Error) {
        if is_of_resources(error) {
            let component = &*self.component;
            self.exceeded.resources.increment();
            tracing::error!(
                component,
                "an instance has too many resources, streams and futures open (`limits.resources` in `[component.{component}.tool.tessera]`)"
            );
        }
    }

    pub(crate) fn may_publish(&self, queue: &QueueName) -> Result<()> {
        if self.publish.iter().any(|pattern| pattern.matches(queue)) {
            return Ok(());
        }
        Err(self.denied("publishing to queue", queue.as_str(), "tool.tessera.publish"))
    }

    pub(crate) fn mail(&self) -> Result<&Mail> {
        self.mail.as_ref().ok_or_else(|| self.denied("sending", "mail", "tool.tessera.mail"))
    }

    /// The error of a missing grant, logged so that whoever forgot it in the manifest finds it.
    pub(crate) fn denied(&self, what: &str, name: &str, key: &str) -> Error {
        let name: String = name.chars().take(64).collect();
        self.warn(format_args!("denied: {what} `{name}` is not granted by `{key}` in the manifest"));
        Error::Denied(format!("{what} `{name}` is not granted"))
    }

    /// Logs what the host has to say of the component, unless that is more than may be logged of it.
    pub(crate) fn warn(&self, line: fmt::Arguments<'_>) {
        if self.log_rate.admits() {
            tracing::warn!(component = &*self.component, "{line}");
        }
    }
}
