//! A group's dead letters: listing, replaying, deleting.

use fjall::Readable as _;
use tessera_capability::queue::{DeadLetter, DeadLetters, Group, MessageId};
use tessera_capability::{Error, Result};

use super::group::Entry;
use super::settle::forget;
use crate::embedded::fault::{Fault, Step};
use crate::embedded::record;
use crate::embedded::tables::{self, StoredDeath, StoredMessage, Tables};
use crate::embedded::writer::Batch;

/// The most letters in a page.
const MAX_PAGE: usize = 1000;
/// A page ends when its bodies reach this many bytes.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// One page; the cursor is the number of the last death in the page before.
pub(super) fn list(tables: &Tables, group: &Group, cursor: Option<&str>, limit: usize) -> Result<DeadLetters> {
    let after = match cursor {
        None => 0,
        Some(cursor) => u64::from_str_radix(cursor, 16).map_err(|_| Error::Invalid("not a cursor".into()))?,
    };
    let from = tables::numbered(group.as_str(), after.saturating_add(1));
    let to = tables::numbered(group.as_str(), u64::MAX);
    let snapshot = tables.db.read_tx();
    let mut page = DeadLetters::default();
    let mut bytes = 0_usize;
    let mut last = None;
    for row in snapshot.range(&tables.dead, from..to) {
        if page.letters.len() >= limit.clamp(1, MAX_PAGE) || bytes >= MAX_PAGE_BYTES {
            page.cursor = last.map(|last: u64| format!("{last:x}"));
            break;
        }
        let (key, value) = row.into_inner().map_err(Fault::from)?;
        let StoredDeath { message, died, reason, entry } = record::decode("dead letter", &value)?;
        let stored = snapshot.get(&tables.messages, message.to_be_bytes()).map_err(Fault::from)?;
        let stored = stored.ok_or(Fault::Missing("message"))?;
        let StoredMessage { id, queue, message, first_published } = record::decode("message", &stored)?;
        bytes = bytes.saturating_add(stored.len());
        last = tables::number(&key);
        let (attempts, history) = (entry.attempts, entry.history);
        page.letters.push(DeadLetter { id, queue, message, first_published, died, attempts, reason, history });
    }
    Ok(page)
}

/// The number of the death of a message; none if it is not dead.
fn find(batch: &Batch<'_>, group: &Group, id: &MessageId) -> Result<Option<u64>, Fault> {
    let row = batch.first(&batch.tables.dead_ids, &tables::dead_id_prefix(group.as_str(), id))?;
    row.map(|row| tables::number(&row).ok_or(Fault::Missing("dead letter"))).transpose()
}

/// Removes a dead letter from the dead.
fn take(batch: &mut Batch<'_>, group: &Group, death: u64) -> Result<StoredDeath, Fault> {
    let tables = batch.tables;
    let row = tables::numbered(group.as_str(), death);
    let bytes = batch.get(&tables.dead, &row)?.ok_or(Fault::Missing("dead letter"))?;
    let stored: StoredDeath = record::decode("dead letter", &bytes)?;
    let bytes = batch.get(&tables.messages, &stored.message.to_be_bytes())?.ok_or(Fault::Missing("message"))?;
    let message: StoredMessage = record::decode("message", &bytes)?;
    batch.remove(&tables.dead_ids, &tables::dead_id(group.as_str(), &message.id, death));
    batch.remove(&tables.dead, &row);
    let group = group.clone();
    batch.after(move |queues, _| {
        if let Some(state) = queues.groups.get_mut(&group) {
            state.dead = state.dead.saturating_sub(1);
        }
    });
    Ok(stored)
}

fn not_found(group: &Group, id: &MessageId) -> Error {
    Error::NotFound(format!("group `{group}` has no dead letter `{id}`"))
}

pub(super) fn replay(batch: &mut Batch<'_>, group: &Group, id: &MessageId) -> Step<()> {
    match find(batch, group, id)? {
        Some(death) => replay_numbered(batch, group, death).map(Ok),
        None => Ok(Err(not_found(group, id))),
    }
}

pub(super) fn replay_numbered(batch: &mut Batch<'_>, group: &Group, death: u64) -> Result<(), Fault> {
    let StoredDeath { message, mut entry, .. } = take(batch, group, death)?;
    entry.attempts = 0;
    entry.replays = entry.replays.saturating_add(1);
    entry.history.clear();
    entry.due = batch.now;
    batch.insert(&batch.tables.entries, &tables::numbered(group.as_str(), message), &record::encode(&entry)?);
    let group = group.clone();
    batch.after(move |queues, now| queues.insert(&group, message, Entry::new(entry), now));
    Ok(())
}

pub(super) fn delete(batch: &mut Batch<'_>, group: &Group, id: &MessageId) -> Step<()> {
    match find(batch, group, id)? {
        Some(death) => delete_numbered(batch, group, death).map(Ok),
        None => Ok(Err(not_found(group, id))),
    }
}

pub(super) fn delete_numbered(batch: &mut Batch<'_>, group: &Group, death: u64) -> Result<(), Fault> {
    let StoredDeath { message, .. } = take(batch, group, death)?;
    forget(batch, message)
}
