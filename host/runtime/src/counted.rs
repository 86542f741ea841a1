//! Stores that count what is asked of them, whatever interface a component asks by.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tessera_capability::blob::{self, Body, Info, PutOptions};
use tessera_capability::kv::{self, Commit, Committed, Entry, List};
use tessera_capability::{Error, Result};

use crate::stats::{Operations, Outcome};

/// A store, and where its operations are counted.
pub(crate) struct Counted<S: ?Sized> {
    store: Arc<S>,
    operations: Arc<Operations>,
}

/// The operations of a key-value store.
pub(crate) const KEY_VALUE: &[&str] = &["get", "list", "commit"];
/// The operations of a blob store.
pub(crate) const BLOB: &[&str] = &["put", "get", "read-at", "head", "delete", "list", "copy"];

impl<S: ?Sized> Counted<S> {
    pub(crate) fn new(store: Arc<S>, operations: Arc<Operations>) -> Self {
        Self { store, operations }
    }

    async fn count<T>(&self, operation: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let result = call.await;
        self.operations.count(
            operation,
            match &result {
                Ok(_) => Outcome::Ok,
                Err(Error::Unavailable { .. } | Error::Internal { .. }) => Outcome::Failed,
                Err(_) => Outcome::Refused,
            },
        );
        result
    }
}

#[async_trait]
impl kv::Store for Counted<dyn kv::Store> {
    fn capabilities(&self) -> kv::Capabilities {
        self.store.capabilities()
    }

    async fn get(&self, key: &kv::Key) -> Result<Option<Entry>> {
        self.count("get", self.store.get(key)).await
    }

    async fn list(&self, list: List) -> Result<kv::Page> {
        self.count("list", self.store.list(list)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        self.count("commit", self.store.commit(commit)).await
    }
}

#[async_trait]
impl blob::Store for Counted<dyn blob::Store> {
    fn capabilities(&self) -> blob::Capabilities {
        self.store.capabilities()
    }

    async fn put(&self, key: &blob::Key, options: PutOptions, body: Body<'_>) -> Result<Info> {
        self.count("put", self.store.put(key, options, body)).await
    }

    async fn get(&self, key: &blob::Key, range: Option<blob::Range>) -> Result<(Info, Body<'static>)> {
        self.count("get", self.store.get(key, range)).await
    }

    async fn read_at(&self, key: &blob::Key, offset: u64, length: usize) -> Result<Bytes> {
        self.count("read-at", self.store.read_at(key, offset, length)).await
    }

    async fn head(&self, key: &blob::Key) -> Result<Info> {
        self.count("head", self.store.head(key)).await
    }

    async fn delete(&self, key: &blob::Key) -> Result<()> {
        self.count("delete", self.store.delete(key)).await
    }

    async fn list(&self, prefix: &str, cursor: Option<&str>, limit: usize) -> Result<blob::Page> {
        self.count("list", self.store.list(prefix, cursor, limit)).await
    }

    async fn copy(&self, source: &blob::Key, destination: &blob::Key) -> Result<Info> {
        self.count("copy", self.store.copy(source, destination)).await
    }
}
