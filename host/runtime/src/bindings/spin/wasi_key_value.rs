//! `wasi:keyvalue`, in the two drafts that exist, over [`kv::Store`].
//!
//! Wasmtime's draft has numbers for cursors: how many keys were listed already. Spin's has strings:
//! the key to go on after, so that writes in between make no key come twice or be left out.
//! Counters are decimal text, as everywhere here. A batch is not atomic, as the drafts say.

mod draft;
mod draft2;

use bytes::Bytes;
use tessera_capability::kv::{self, Check, Commit, Key, Operation};
use tessera_capability::{Error, Result};

#[expect(unreachable_pub, reason = "the generated bindings hand it on")]
pub use self::draft2::Swap;
use super::key_value::{Opened, names, set};
use super::{MAX_RESULT, too_much};

/// How often a counter is tried that others add to at the same time.
const ATTEMPTS: usize = 100;

/// The keys after a cursor, without the first `skip` of them: as many as an answer may have, and
/// whether there may be more.
async fn keys(store: &Opened, mut cursor: Option<Bytes>, mut skip: u64) -> Result<(Vec<String>, Option<Bytes>)> {
    let mut keys = Vec::new();
    let mut size = 0;
    loop {
        let page = store.page(cursor).await?;
        cursor = page.cursor.clone();
        for key in names(page) {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            size += key.len() + size_of::<String>();
            keys.push(key);
        }
        // A page more fits: it has at most 1000 keys of 1024 bytes.
        if cursor.is_none() || size > MAX_RESULT / 2 {
            return Ok((keys, cursor));
        }
    }
}

async fn get_many(store: &Opened, keys: Vec<String>) -> Result<Vec<(String, Option<Vec<u8>>)>> {
    let mut entries = Vec::new();
    let mut size = 0_usize;
    for key in keys {
        let value: Option<Vec<u8>> = store.get(key.clone()).await?.map(|entry| entry.value.into());
        size = size.saturating_add(key.len() + value.as_ref().map_or(0, Vec::len));
        if size > MAX_RESULT {
            return Err(too_much());
        }
        entries.push((key, value));
    }
    Ok(entries)
}

/// Applies many operations in as few commits as their limits allow.
async fn apply(store: &Opened, operations: impl Iterator<Item = Result<Operation>>) -> Result<()> {
    let mut batch = Vec::new();
    let mut size = 0_usize;
    // Faults of the request are found before anything is changed.
    for operation in operations.collect::<Result<Vec<_>>>()? {
        let bytes = match &operation {
            Operation::Set { key, value, .. } => key.as_bytes().len().saturating_add(value.len()),
            _ => kv::MAX_KEY,
        };
        if batch.len() == kv::MAX_COMMIT || size.saturating_add(bytes) > kv::MAX_COMMIT_BYTES {
            store.apply(std::mem::take(&mut batch)).await?;
            size = 0;
        }
        size = size.saturating_add(bytes);
        batch.push(operation);
    }
    if batch.is_empty() { Ok(()) } else { store.apply(batch).await }
}

async fn set_many(store: &Opened, pairs: Vec<(String, Vec<u8>)>) -> Result<()> {
    apply(store, pairs.into_iter().map(|(key, value)| set(key, value))).await
}

async fn delete_many(store: &Opened, keys: Vec<String>) -> Result<()> {
    apply(store, keys.into_iter().map(|key| Ok(Operation::Delete { key: Key::new(key)? }))).await
}

/// Adds to a counter, and says what it is then.
async fn increment(store: &Opened, key: String, delta: i64) -> Result<i64> {
    let key = Key::new(key)?;
    for _ in 0..ATTEMPTS {
        let entry = store.store.get(&key).await?;
        let sum = kv::add(entry.as_ref().map(|entry| &*entry.value), delta)?;
        let commit = Commit {
            checks: vec![Check { key: key.clone(), version: entry.map(|entry| entry.version) }],
            operations: vec![Operation::Add { key: key.clone(), delta }],
        };
        match store.store.commit(commit).await {
            Ok(_) => {
                let sum = std::str::from_utf8(&sum).ok().and_then(|sum| sum.parse().ok());
                return sum.ok_or_else(|| Error::Invalid("the entry is not a counter".into()));
            }
            Err(Error::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Conflict)
}
