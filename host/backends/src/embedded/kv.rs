//! The embedded key-value store: one table for all labels.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fjall::Readable as _;
use tessera_capability::kv::{
    self, Capabilities, Check, Commit, Committed, Entry, Key, List, MAX_PAGE, MAX_PAGE_BYTES, Operation, Page, Version,
};
use tessera_capability::time::Timestamp;
use tessera_capability::{Error, Result};

use super::fault::{Fault, Step};
use super::queue::Plan;
use super::record;
use super::tables::{self, Expiring, Tables, ValueHeader};
use super::writer::Batch;
use super::{Handle, blocking};

/// A label's store.
pub(super) struct EmbeddedStore {
    pub handle: Arc<Handle>,
    pub label: Arc<str>,
}

fn is_live(header: &ValueHeader, now: Timestamp) -> bool {
    header.expires.is_none_or(|expires| now < expires)
}

#[async_trait]
impl kv::Store for EmbeddedStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities { publish: true }
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        let (core, label, key) = (Arc::clone(&self.handle.core), Arc::clone(&self.label), key.clone());
        blocking(move || {
            let row = tables::row(&label, key.as_bytes());
            let bytes = core.tables.db.read_tx().get(&core.tables.kv, row).map_err(Fault::from)?;
            let Some(bytes) = bytes else { return Ok(None) };
            let (header, value): (ValueHeader, _) = record::decode_prefix("value", &bytes)?;
            Ok(is_live(&header, core.now()).then(|| Entry {
                key,
                value: Bytes::copy_from_slice(value),
                version: Version(header.version),
            }))
        })
        .await
    }

    async fn list(&self, list: List) -> Result<Page> {
        let (core, label) = (Arc::clone(&self.handle.core), Arc::clone(&self.label));
        blocking(move || page(&core.tables, &label, list, core.now())).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let label = Arc::clone(&self.label);
        self.handle.requests.run(move |batch| apply(batch, &label, commit)).await
    }
}

fn page(tables: &Tables, label: &str, list: List, now: Timestamp) -> Result<Page> {
    let List { mut range, limit, reverse, cursor } = list;
    if let Some(cursor) = cursor {
        range = range.after(&cursor, reverse);
    }
    if range.is_empty() {
        return Ok(Page::default());
    }
    let prefix = tables::prefix(label);
    let start = Bound::Included(tables::row(label, &range.start.unwrap_or_default()));
    // A label's rows end before all that begin with a greater prefix.
    let end = match range.end {
        Some(end) => Bound::Excluded(tables::row(label, &end)),
        None => kv::Range::prefix(prefix.clone()).end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.to_vec())),
    };
    let mut rows = tables.db.read_tx().range(&tables.kv, (start, end));
    let mut page = Page::default();
    let mut bytes = 0_usize;
    while let Some(row) = if reverse { rows.next_back() } else { rows.next() } {
        let (row, stored) = row.into_inner().map_err(Fault::from)?;
        let (header, value): (ValueHeader, _) = record::decode_prefix("value", &stored)?;
        if !is_live(&header, now) {
            continue;
        }
        if page.entries.len() >= limit.clamp(1, MAX_PAGE) || bytes >= MAX_PAGE_BYTES {
            page.cursor = page.entries.last().map(|entry| entry.key.clone().into_bytes());
            break;
        }
        let key = Key::any(Bytes::copy_from_slice(row.get(prefix.len()..).unwrap_or_default()))?;
        bytes = bytes.saturating_add(key.as_bytes().len()).saturating_add(value.len());
        page.entries.push(Entry { key, value: Bytes::copy_from_slice(value), version: Version(header.version) });
    }
    Ok(page)
}

/// A key that a commit touches.
struct Touched {
    row: Vec<u8>,
    /// What is stored, expired or not.
    before: Option<ValueHeader>,
    /// What the commit has made of it; expired entries are none.
    value: Option<(Bytes, Option<Timestamp>)>,
    written: bool,
}

/// Keys as a commit has left them so far.
struct Overlay<'a> {
    label: &'a str,
    keys: BTreeMap<Key, Touched>,
}

impl Overlay<'_> {
    fn touch(&mut self, batch: &Batch<'_>, key: Key) -> Result<&mut Touched, Fault> {
        use std::collections::btree_map::Entry::{Occupied, Vacant};
        match self.keys.entry(key) {
            Occupied(touched) => Ok(touched.into_mut()),
            Vacant(vacant) => {
                let row = tables::row(self.label, vacant.key().as_bytes());
                let (before, value) = match batch.get(&batch.tables.kv, &row)? {
                    None => (None, None),
                    Some(bytes) => {
                        let (header, value): (ValueHeader, _) = record::decode_prefix("value", &bytes)?;
                        let live = is_live(&header, batch.now);
                        (Some(header), live.then(|| (Bytes::copy_from_slice(value), header.expires)))
                    }
                };
                Ok(vacant.insert(Touched { row, before, value, written: false }))
            }
        }
    }
}

/// Looks at the whole commit, then writes it.
fn apply(batch: &mut Batch<'_>, label: &str, commit: Commit) -> Step<Committed> {
    let mut overlay = Overlay { label, keys: BTreeMap::new() };
    for Check { key, version } in commit.checks {
        let touched = overlay.touch(batch, key)?;
        let found = touched.before.filter(|_| touched.value.is_some()).map(|header| Version(header.version));
        if found != version {
            return Ok(Err(Error::Conflict));
        }
    }
    let mut plan = Plan::default();
    let mut messages = Vec::new();
    for operation in commit.operations {
        match operation {
            Operation::Set { key, value, time_to_live } => {
                let expires = time_to_live.map(|time_to_live| batch.now.saturating_add(time_to_live));
                let touched = overlay.touch(batch, key)?;
                touched.value = Some((value, expires));
                touched.written = true;
            }
            Operation::Delete { key } => {
                let touched = overlay.touch(batch, key)?;
                touched.value = None;
                touched.written = true;
            }
            Operation::Add { key, delta } => {
                let touched = overlay.touch(batch, key)?;
                let (value, expires) = match &touched.value {
                    Some((value, expires)) => (Some(&value[..]), *expires),
                    None => (None, None),
                };
                match kv::add(value, delta) {
                    Ok(sum) => touched.value = Some((sum, expires)),
                    Err(refusal) => return Ok(Err(refusal)),
                }
                touched.written = true;
            }
            Operation::Publish(publication) => match plan.add(batch, publication)? {
                Ok(id) => messages.push(id),
                Err(refusal) => return Ok(Err(Error::Publish(Box::new(refusal)))),
            },
        }
    }
    let version = batch.sequences.version;
    batch.sequences.version = version.saturating_add(1);
    for touched in overlay.keys.into_values().filter(|touched| touched.written) {
        write(batch, touched, version)?;
    }
    plan.apply(batch)?;
    Ok(Ok(Committed { version: Version(version), messages }))
}

fn write(batch: &mut Batch<'_>, touched: Touched, version: u64) -> Result<(), Fault> {
    let tables = batch.tables;
    let Touched { row, before, value, .. } = touched;
    if let Some(at) = before.and_then(|header| header.expires) {
        batch.remove(&tables.expiry, &tables::expiring(at, Expiring::Value, &row));
    }
    match value {
        Some((value, expires)) => {
            let mut record = record::encode(&ValueHeader { version, expires })?;
            record.extend_from_slice(&value);
            batch.insert(&tables.kv, &row, &record);
            if let Some(at) = expires {
                batch.expire(at, Expiring::Value, &row);
            }
        }
        None if before.is_some() => batch.remove(&tables.kv, &row),
        None => {}
    }
    Ok(())
}
