//! Ending deliveries, and writing down the leases that ran out.

use tessera_capability::Error;
use tessera_capability::queue::{Failure, Group, MAX_HISTORY, Receipt, clip_reason};
use tessera_capability::time::Timestamp;

use super::group::Lease;
use crate::embedded::fault::{Fault, Step};
use crate::embedded::record;
use crate::embedded::tables::{self, StoredDeath, StoredEntry, StoredMessage};
use crate::embedded::writer::Batch;

/// How a delivery ends.
pub(super) enum Outcome {
    Acknowledge,
    Retry { delay: std::time::Duration, reason: String },
    Bury { reason: String },
}

/// Ends the delivery that `receipt` names.
pub(super) fn settle(batch: &mut Batch<'_>, group: &Group, receipt: &Receipt, outcome: Outcome) -> Step<()> {
    let claimed = {
        let mut queues = batch.core.queues();
        let number = queues.lease(receipt);
        let state = queues.group(group, batch.now);
        number.zip(state).and_then(|(number, state)| Some((number, state.begin_settling(number)?)))
    };
    // An earlier lease of the same message may have run out: its failure goes before this one's.
    write_expired(batch)?;
    let Some((number, lease)) = claimed else { return Ok(Err(Error::Conflict)) };
    let row = tables::numbered(group.as_str(), lease.message);
    let group = group.clone();
    match outcome {
        Outcome::Acknowledge => {
            batch.remove(&batch.tables.entries, &row);
            forget(batch, lease.message)?;
            batch.after(move |queues, now| {
                if let Some(state) = queues.groups.get_mut(&group) {
                    state.finish(number, now);
                }
                queues.free_slot(lease.slot);
            });
        }
        Outcome::Retry { delay, reason } => {
            let mut entry = failed(batch, &row, &lease, &reason)?;
            let due = batch.now.saturating_add(delay);
            entry.due = due;
            batch.insert(&batch.tables.entries, &row, &record::encode(&entry)?);
            batch.after(move |queues, now| {
                if let Some(state) = queues.groups.get_mut(&group) {
                    state.retry(number, due, now);
                }
                queues.free_slot(lease.slot);
            });
        }
        Outcome::Bury { reason } => {
            let entry = failed(batch, &row, &lease, &reason)?;
            batch.remove(&batch.tables.entries, &row);
            bury(batch, &group, &lease, &reason, entry)?;
            batch.after(move |queues, now| {
                if let Some(state) = queues.groups.get_mut(&group) {
                    state.finish(number, now);
                    state.dead = state.dead.saturating_add(1);
                }
                queues.free_slot(lease.slot);
            });
        }
    }
    Ok(Ok(()))
}

/// The entry with its latest failure.
fn failed(batch: &Batch<'_>, row: &[u8], lease: &Lease, reason: &str) -> Result<StoredEntry, Fault> {
    let bytes = batch.get(&batch.tables.entries, row)?.ok_or(Fault::Missing("entry"))?;
    let mut entry: StoredEntry = record::decode("entry", &bytes)?;
    entry.fail(lease.attempt, batch.now, reason);
    Ok(entry)
}

fn bury(batch: &mut Batch<'_>, group: &Group, lease: &Lease, reason: &str, entry: StoredEntry) -> Result<(), Fault> {
    let tables = batch.tables;
    let bytes = batch.get(&tables.messages, &lease.message.to_be_bytes())?.ok_or(Fault::Missing("message"))?;
    let message: StoredMessage = record::decode("message", &bytes)?;
    let death = batch.sequences.death;
    batch.sequences.death = death.saturating_add(1);
    let reason = clip_reason(reason).to_owned();
    let record = record::encode(&StoredDeath { message: lease.message, died: batch.now, reason, entry })?;
    batch.insert(&tables.dead, &tables::numbered(group.as_str(), death), &record);
    batch.insert(&tables.dead_ids, &tables::dead_id(group.as_str(), &message.id, death), &[]);
    Ok(())
}

/// One group less holds the message; the last one takes it away.
pub(super) fn forget(batch: &mut Batch<'_>, message: u64) -> Result<(), Fault> {
    let tables = batch.tables;
    let row = message.to_be_bytes();
    let shares: Option<usize> =
        batch.get(&tables.shares, &row)?.map(|bytes| record::decode("share", &bytes)).transpose()?;
    match shares {
        None => batch.remove(&tables.messages, &row),
        Some(shares) if shares <= 2 => batch.remove(&tables.shares, &row),
        Some(shares) => batch.insert(&tables.shares, &row, &record::encode(&shares.saturating_sub(1))?),
    }
    Ok(())
}

/// Writes down the leases that ran out since the last time.
pub(in crate::embedded) fn write_expired(batch: &mut Batch<'_>) -> Result<(), Fault> {
    let expired = std::mem::take(&mut batch.core.queues().expired);
    for (group, expired) in expired {
        let row = tables::numbered(group.as_str(), expired.message);
        // It may have been handled by a later lease, or its failure be part of a later one's.
        if let Some(bytes) = batch.get(&batch.tables.entries, &row)? {
            let mut entry: StoredEntry = record::decode("entry", &bytes)?;
            if entry.attempts < expired.attempt {
                entry.fail(expired.attempt, expired.at, "lease expired");
                entry.due = expired.at;
                batch.insert(&batch.tables.entries, &row, &record::encode(&entry)?);
            }
        }
        let slot = expired.slot;
        batch.expired.push((group, expired));
        batch.after(move |queues, _| queues.free_slot(slot));
    }
    Ok(())
}

impl StoredEntry {
    /// Adds a failure to its history.
    pub(super) fn fail(&mut self, attempt: u32, at: Timestamp, reason: &str) {
        self.attempts = attempt;
        self.history.push(Failure { attempt, at, reason: clip_reason(reason).to_owned() });
        let excess = self.history.len().saturating_sub(MAX_HISTORY);
        self.history.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_keeps_the_latest_failures() {
        let mut entry = StoredEntry {
            attempts: 0,
            replays: 0,
            due: Timestamp(0),
            first_published: Timestamp(0),
            lane: None,
            history: Vec::new(),
        };
        for attempt in 1..=20 {
            entry.fail(attempt, Timestamp(0), "no");
        }
        let attempts: Vec<u32> = entry.history.iter().map(|failure| failure.attempt).collect();
        assert_eq!((entry.attempts, attempts), (20, (5..=20).collect()));
    }
}
