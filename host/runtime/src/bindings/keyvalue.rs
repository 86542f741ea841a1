//! `tessera:keyvalue` over [`kv::Store`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tessera_capability::kv::{self, Check, Commit, Key, List, Operation, Range, Version};
use tessera_capability::{Error, Result};
use wasmtime::component::Accessor;

use super::generated::tessera::keyvalue::{store, types};
use super::{Host, log_cause, queue};
use crate::grants::Grants;
use crate::trace::{Kind, Work};

impl types::Host for &Arc<Grants> {}
impl store::Host for &Arc<Grants> {}

impl<T: Send + 'static> store::HostWithStore<T> for Host {
    async fn get(
        accessor: &Accessor<T, Self>,
        store: String,
        key: Vec<u8>,
    ) -> wasmtime::Result<Result<Option<types::Entry>, types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let mut work = Work::begin(Kind::Client, || "kv get".into());
        work.set("tessera.store", &*store);
        let result = work.run(async { grants.store(&store)?.get(&Key::new(key)?).await });
        Ok(result.await.map(|entry| entry.map(to_guest)).map_err(|error| refuse(&grants, "get", &error)))
    }

    async fn list(
        accessor: &Accessor<T, Self>,
        store: String,
        range: types::Range,
        limit: u32,
        reverse: bool,
        cursor: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<types::Page, types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let mut work = Work::begin(Kind::Client, || "kv list".into());
        work.set("tessera.store", &*store);
        let result = work.run(async {
            let store = grants.store(&store)?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            if !(1..=kv::MAX_PAGE).contains(&limit) {
                return Err(Error::Invalid(format!("a page has 1 to {} entries", kv::MAX_PAGE)));
            }
            let given = [&range.prefix, &range.start, &range.end, &cursor];
            if given.into_iter().flatten().any(|bytes| bytes.len() > kv::MAX_KEY) {
                return Err(Error::TooLarge(format!("a key, and so a part of one, has at most {} bytes", kv::MAX_KEY)));
            }
            let range =
                Range::new(range.prefix.map(Into::into), range.start.map(Into::into), range.end.map(Into::into));
            let range = range.without_reserved();
            if range.is_empty() {
                return Ok(kv::Page::default());
            }
            store.list(List { range, limit, reverse, cursor: cursor.map(Into::into) }).await
        });
        Ok(result
            .await
            .map(|page| types::Page {
                entries: page.entries.into_iter().map(to_guest).collect(),
                cursor: page.cursor.map(Into::into),
            })
            .map_err(|error| refuse(&grants, "list", &error)))
    }

    async fn commit(
        accessor: &Accessor<T, Self>,
        store: String,
        checks: Vec<types::Check>,
        operations: Vec<types::Operation>,
    ) -> wasmtime::Result<Result<types::Committed, types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let mut work = Work::begin(Kind::Client, || "kv commit".into());
        work.set("tessera.store", &*store);
        let result = work.run(async {
            let store = grants.store(&store)?;
            let checks = checks
                .into_iter()
                .map(|check| Ok(Check { key: Key::new(check.key)?, version: check.version.map(Version) }))
                .collect::<Result<_>>()?;
            let operations =
                operations.into_iter().map(|operation| from_guest(&grants, operation)).collect::<Result<_>>()?;
            let commit = Commit { checks, operations };
            commit.validate(kv::MAX_VALUE)?;
            store.commit(commit).await
        });
        Ok(result
            .await
            .map(|committed| types::Committed {
                version: committed.version.0,
                messages: committed.messages.into_iter().map(|id| id.0).collect(),
            })
            .map_err(|error| refuse(&grants, "commit", &error)))
    }
}

fn to_guest(entry: kv::Entry) -> types::Entry {
    types::Entry { key: entry.key.into_bytes().into(), value: entry.value.into(), version: entry.version.0 }
}

fn from_guest(grants: &Grants, operation: types::Operation) -> Result<Operation> {
    Ok(match operation {
        types::Operation::Set(set) => Operation::Set {
            key: Key::new(set.key)?,
            value: Bytes::from(set.value),
            time_to_live: set.time_to_live.map(Duration::from_millis),
        },
        types::Operation::Delete(key) => Operation::Delete { key: Key::new(key)? },
        types::Operation::Add(add) => Operation::Add { key: Key::new(add.key)?, delta: add.delta },
        types::Operation::Publish(publication) => {
            Operation::Publish(queue::publication(grants, publication.queue, publication.message).map_err(|error| {
                match error {
                    denied @ Error::Denied(_) => denied,
                    error => Error::Publish(Box::new(error)),
                }
            })?)
        }
    })
}

fn refuse(grants: &Grants, call: &str, error: &Error) -> types::Error {
    log_cause(grants, call, error);
    match error {
        Error::Conflict => types::Error::Conflict,
        Error::TooLarge(text) => types::Error::TooLarge(text.clone()),
        Error::Denied(_) => types::Error::Denied,
        Error::Invalid(text) => types::Error::Invalid(text.clone()),
        Error::Publish(error) => types::Error::Publish(queue::refuse(grants, call, error)),
        Error::Unavailable { message, .. } => types::Error::Unavailable(message.clone()),
        _ => types::Error::Internal,
    }
}
