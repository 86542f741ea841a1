//! Spin's key-value interfaces, of Spin 1 to 4, over [`kv::Store`].
//!
//! Their keys are strings. Keys that are not UTF-8, which only `tessera:keyvalue` can write, are
//! left out when keys are listed; an empty key is refused.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tessera_capability::kv::{self, Commit, Key, List, Operation, Page, Range};
use tessera_capability::{Error, Result};
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use super::generated::fermyon::spin::key_value as v1;
use super::generated::fermyon::spin2_0_0::key_value as v2;
use super::generated::spin::key_value::key_value as v3;
use super::{MAX_RESULT, Spin, View, text, too_much};
use crate::bindings::stream::Items;
use crate::grants::Grants;

/// A store that a component has open.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated bindings hand it on")]
pub struct Opened {
    pub(super) store: Arc<dyn kv::Store>,
    pub(super) grants: Arc<Grants>,
}

/// Why a store was not opened.
pub(super) enum NotOpened {
    Denied,
    Full,
}

/// Opens a store, if the manifest grants it.
pub(super) fn open(view: &mut View<'_>, label: &str) -> Result<Resource<Opened>, NotOpened> {
    let store = Arc::clone(view.grants.store(label).map_err(|_| NotOpened::Denied)?);
    view.open.push(Opened { store, grants: Arc::clone(view.grants) }).map_err(|_| NotOpened::Full)
}

impl Opened {
    pub(super) async fn get(&self, key: String) -> Result<Option<kv::Entry>> {
        self.store.get(&Key::new(key)?).await
    }

    pub(super) async fn set(&self, key: String, value: Vec<u8>) -> Result<()> {
        self.apply(vec![set(key, value)?]).await
    }

    pub(super) async fn delete(&self, key: String) -> Result<()> {
        self.apply(vec![Operation::Delete { key: Key::new(key)? }]).await
    }

    pub(super) async fn apply(&self, operations: Vec<Operation>) -> Result<()> {
        let commit = Commit { checks: Vec::new(), operations };
        commit.validate(kv::MAX_VALUE)?;
        self.store.commit(commit).await.map(drop)
    }

    /// One page of the entries after `cursor`.
    pub(super) async fn page(&self, cursor: Option<Bytes>) -> Result<Page> {
        let range = Range::default().without_reserved();
        self.store.list(List { range, limit: kv::MAX_PAGE, reverse: false, cursor }).await
    }

    /// All keys, a page at a time.
    fn pages(self) -> impl Stream<Item = Result<Vec<String>>> + Send {
        futures::stream::try_unfold(Some(None), move |cursor: Option<Option<Bytes>>| {
            let opened = self.clone();
            async move {
                let Some(cursor) = cursor else { return Ok(None) };
                let page = opened.page(cursor).await?;
                let next = page.cursor.clone().map(Some);
                Ok(Some((names(page).collect(), next)))
            }
        })
    }

    /// All keys at once.
    async fn keys(&self) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut size = 0;
        let mut pages = std::pin::pin!(self.clone().pages());
        while let Some(page) = pages.try_next().await? {
            size += page.iter().map(|key| key.len() + size_of::<String>()).sum::<usize>();
            if size > MAX_RESULT {
                return Err(too_much());
            }
            keys.extend(page);
        }
        Ok(keys)
    }
}

pub(super) fn set(key: String, value: Vec<u8>) -> Result<Operation> {
    Ok(Operation::Set { key: Key::new(key)?, value: value.into(), time_to_live: None })
}

/// The keys of a page that are strings.
pub(super) fn names(page: Page) -> impl Iterator<Item = String> {
    page.entries.into_iter().filter_map(|entry| String::from_utf8(entry.key.into_bytes().into()).ok())
}

fn value(entry: Option<kv::Entry>) -> Option<Vec<u8>> {
    entry.map(|entry| entry.value.into())
}

impl v2::Host for View<'_> {}

impl v2::HostStore for View<'_> {
    async fn open(&mut self, label: String) -> wasmtime::Result<Result<Resource<Opened>, v2::Error>> {
        Ok(open(self, &label).map_err(|why| match why {
            NotOpened::Denied => v2::Error::AccessDenied,
            NotOpened::Full => v2::Error::StoreTableFull,
        }))
    }

    async fn get(
        &mut self,
        store: Resource<Opened>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, v2::Error>> {
        let store = self.open.get(&store)?;
        Ok(store.get(key).await.map(value).map_err(|error| v2_error(store, "get", &error)))
    }

    async fn set(
        &mut self,
        store: Resource<Opened>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), v2::Error>> {
        let store = self.open.get(&store)?;
        Ok(store.set(key, value).await.map_err(|error| v2_error(store, "set", &error)))
    }

    async fn delete(&mut self, store: Resource<Opened>, key: String) -> wasmtime::Result<Result<(), v2::Error>> {
        let store = self.open.get(&store)?;
        Ok(store.delete(key).await.map_err(|error| v2_error(store, "delete", &error)))
    }

    async fn exists(&mut self, store: Resource<Opened>, key: String) -> wasmtime::Result<Result<bool, v2::Error>> {
        let store = self.open.get(&store)?;
        let entry = store.get(key).await;
        Ok(entry.map(|entry| entry.is_some()).map_err(|error| v2_error(store, "exists", &error)))
    }

    async fn get_keys(&mut self, store: Resource<Opened>) -> wasmtime::Result<Result<Vec<String>, v2::Error>> {
        let store = self.open.get(&store)?;
        Ok(store.keys().await.map_err(|error| v2_error(store, "get-keys", &error)))
    }

    async fn drop(&mut self, store: Resource<Opened>) -> wasmtime::Result<()> {
        self.open.delete(store)?;
        Ok(())
    }
}

fn v2_error(store: &Opened, call: &str, error: &Error) -> v2::Error {
    v2::Error::Other(text(&store.grants, call, error))
}

impl v3::Host for View<'_> {}

impl v3::HostStore for View<'_> {
    async fn drop(&mut self, store: Resource<Opened>) -> wasmtime::Result<()> {
        self.open.delete(store)?;
        Ok(())
    }
}

/// The store behind a handle, for calls that other calls of the instance overtake.
fn opened<T>(accessor: &Accessor<T, Spin>, store: &Resource<Opened>) -> wasmtime::Result<Opened> {
    accessor.with(|mut access| Ok(access.get().open.get(store)?.clone()))
}

fn v3_error(store: &Opened, call: &str, error: &Error) -> v3::Error {
    v3::Error::Other(text(&store.grants, call, error))
}

type Keys = (StreamReader<String>, FutureReader<Result<(), v3::Error>>);

impl<T: Send + 'static> v3::HostStoreWithStore<T> for Spin {
    async fn open(
        accessor: &Accessor<T, Self>,
        label: String,
    ) -> wasmtime::Result<Result<Resource<Opened>, v3::Error>> {
        Ok(accessor.with(|mut access| open(&mut access.get(), &label)).map_err(|why| match why {
            NotOpened::Denied => v3::Error::AccessDenied,
            NotOpened::Full => v3::Error::StoreTableFull,
        }))
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        store: Resource<Opened>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, v3::Error>> {
        let store = opened(accessor, &store)?;
        Ok(store.get(key).await.map(value).map_err(|error| v3_error(&store, "get", &error)))
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        store: Resource<Opened>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), v3::Error>> {
        let store = opened(accessor, &store)?;
        Ok(store.set(key, value).await.map_err(|error| v3_error(&store, "set", &error)))
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        store: Resource<Opened>,
        key: String,
    ) -> wasmtime::Result<Result<(), v3::Error>> {
        let store = opened(accessor, &store)?;
        Ok(store.delete(key).await.map_err(|error| v3_error(&store, "delete", &error)))
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        store: Resource<Opened>,
        key: String,
    ) -> wasmtime::Result<Result<bool, v3::Error>> {
        let store = opened(accessor, &store)?;
        let entry = store.get(key).await;
        Ok(entry.map(|entry| entry.is_some()).map_err(|error| v3_error(&store, "exists", &error)))
    }

    async fn get_keys(accessor: &Accessor<T, Self>, store: Resource<Opened>) -> wasmtime::Result<Keys> {
        let store = opened(accessor, &store)?;
        let failed = store.clone();
        let pages = store.pages().map_err(move |error| v3_error(&failed, "get-keys", &error));
        let (keys, end) = Items::new(pages.boxed());
        accessor.with(|mut access| {
            let keys = StreamReader::new(&mut access, keys)?;
            Ok((keys, FutureReader::new(&mut access, end)?))
        })
    }
}

/// Spin 1 has numbers for open stores.
fn numbered(view: &View<'_>, store: u32) -> Result<Opened, v1::Error> {
    view.open.get(&Resource::<Opened>::new_borrow(store)).cloned().map_err(|_| v1::Error::InvalidStore)
}

fn v1_error(store: &Opened, call: &str, error: &Error) -> v1::Error {
    v1::Error::Io(text(&store.grants, call, error))
}

impl v1::Host for View<'_> {
    async fn open(&mut self, name: String) -> wasmtime::Result<Result<u32, v1::Error>> {
        Ok(open(self, &name).map(|store| store.rep()).map_err(|why| match why {
            NotOpened::Denied => v1::Error::AccessDenied,
            NotOpened::Full => v1::Error::StoreTableFull,
        }))
    }

    async fn get(&mut self, store: u32, key: String) -> wasmtime::Result<Result<Vec<u8>, v1::Error>> {
        let store = match numbered(self, store) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        let entry = store.get(key).await.map_err(|error| v1_error(&store, "get", &error));
        Ok(entry.and_then(|entry| value(entry).ok_or(v1::Error::NoSuchKey)))
    }

    async fn set(&mut self, store: u32, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), v1::Error>> {
        let store = match numbered(self, store) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        Ok(store.set(key, value).await.map_err(|error| v1_error(&store, "set", &error)))
    }

    async fn delete(&mut self, store: u32, key: String) -> wasmtime::Result<Result<(), v1::Error>> {
        let store = match numbered(self, store) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        Ok(store.delete(key).await.map_err(|error| v1_error(&store, "delete", &error)))
    }

    async fn exists(&mut self, store: u32, key: String) -> wasmtime::Result<Result<bool, v1::Error>> {
        let store = match numbered(self, store) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        let entry = store.get(key).await.map_err(|error| v1_error(&store, "exists", &error));
        Ok(entry.map(|entry| entry.is_some()))
    }

    async fn get_keys(&mut self, store: u32) -> wasmtime::Result<Result<Vec<String>, v1::Error>> {
        let store = match numbered(self, store) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        Ok(store.keys().await.map_err(|error| v1_error(&store, "get-keys", &error)))
    }

    async fn close(&mut self, store: u32) -> wasmtime::Result<()> {
        // No effect if it is not open.
        _ = self.open.delete(Resource::<Opened>::new_own(store));
        Ok(())
    }
}
