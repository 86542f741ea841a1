//! What an operator does to groups: looking without leasing, emptying, pausing.
//!
//! Nothing here is one transaction over a whole group, which may hold a million messages: it goes
//! in bounded steps, up to the last number that was given when it began.

use fjall::Readable as _;
use tessera_capability::queue::{Group, GroupStatus, Held, HeldPage, Part};
use tessera_capability::{Error, Result};

use super::dead;
use super::settle::forget;
use crate::embedded::core::Core;
use crate::embedded::fault::{Fault, Step};
use crate::embedded::record;
use crate::embedded::tables::{self, StoredMessage};
use crate::embedded::writer::{Batch, Requests};

/// The most messages in a page.
const MAX_PAGE: usize = 1000;
/// A page ends when its messages reach this many bytes.
const MAX_PAGE_BYTES: usize = 4 << 20;
/// How many messages are looked at in memory while others wait for the lock.
const SCAN: usize = 10_000;
/// How many messages one transaction changes.
const STEP: usize = 500;

fn unknown(group: &Group) -> Error {
    Error::NotFound(format!("group `{group}` was never declared"))
}

/// All groups that there is something to say of.
pub(super) fn groups(core: &Core) -> Vec<GroupStatus> {
    let mut queues = core.queues();
    queues.advance(core.now());
    let all = queues.groups.iter().map(|(name, state)| GroupStatus {
        group: name.clone(),
        subscription: state.subscription.clone(),
        paused: state.is_paused(),
        depth: state.depth(),
    });
    let groups = all.filter(|status| {
        status.subscription.is_some() || status.paused || status.depth.dead > 0 || status.depth.oldest.is_some()
    });
    let groups = groups.collect();
    core.rearm(queues);
    groups
}

/// One page; the cursor is the number of the last message in the page before. Reads the disk.
pub(super) fn peek(core: &Core, group: &Group, part: Part, cursor: Option<&str>, limit: usize) -> Result<HeldPage> {
    let mut after = match cursor {
        None => 0,
        Some(cursor) => u64::from_str_radix(cursor, 16).map_err(|_| Error::Invalid("not a cursor".into()))?,
    };
    let limit = limit.clamp(1, MAX_PAGE);
    let mut page = HeldPage::default();
    let mut bytes = 0_usize;
    loop {
        let scanned = {
            let mut queues = core.queues();
            let scanned = queues.group(group, core.now()).map(|state| state.peek(part, after, SCAN));
            core.rearm(queues);
            scanned.ok_or_else(|| unknown(group))?
        };
        let snapshot = core.tables.db.read_tx();
        for (number, attempts, waits) in scanned.found {
            if page.messages.len() >= limit || bytes >= MAX_PAGE_BYTES {
                page.cursor = Some(format!("{after:x}"));
                return Ok(page);
            }
            after = number;
            // It may have been handled since.
            let Some(stored) = snapshot.get(&core.tables.messages, number.to_be_bytes()).map_err(Fault::from)? else {
                continue;
            };
            let StoredMessage { id, queue, message, first_published } = record::decode("message", &stored)?;
            bytes = bytes.saturating_add(stored.len());
            page.messages.push(Held { id, queue, message, attempts, first_published, waits });
        }
        match scanned.next {
            Some(next) => after = next,
            None => return Ok(page),
        }
    }
}

/// The numbers that something over a whole group is about: from the first to before the second.
type Numbers = (u64, u64);

/// What a step did, and the numbers left to do.
type Progress = (usize, Option<Numbers>);

/// Runs `step` until no numbers are left; answers how much was done. The first step finds out the
/// numbers.
async fn in_steps<F>(requests: &Requests, group: &Group, step: F) -> Result<u64>
where
    F: Fn(&mut Batch<'_>, &Group, Option<Numbers>) -> Step<Progress> + Copy + Send + 'static,
{
    let (mut numbers, mut sum) = (None, 0_u64);
    loop {
        let group = group.clone();
        let (done, left) = requests.run(move |batch| step(batch, &group, numbers)).await?;
        sum = sum.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        if left.is_none() {
            return Ok(sum);
        }
        numbers = left;
    }
}

/// Deletes what is ready or delayed.
pub(super) async fn purge_messages(requests: &Requests, group: &Group) -> Result<u64> {
    in_steps(requests, group, |batch, group, numbers| {
        let (from, to) = numbers.unwrap_or((0, batch.sequences.message));
        let claimed = batch.core.queues().group(group, batch.now).map(|state| state.begin_purging(from..to, STEP));
        let Some(claimed) = claimed else { return Ok(Err(unknown(group))) };
        for number in &claimed {
            batch.remove(&batch.tables.entries, &tables::numbered(group.as_str(), *number));
            forget(batch, *number)?;
        }
        let left = claimed.last().filter(|_| claimed.len() >= STEP).map(|last| (last.saturating_add(1), to));
        let (done, group) = (claimed.len(), group.clone());
        batch.after(move |queues, now| {
            if let Some(state) = queues.groups.get_mut(&group) {
                claimed.into_iter().for_each(|number| state.finish_purging(number, now));
            }
        });
        Ok(Ok((done, left)))
    })
    .await
}

/// Deletes the dead letters.
pub(super) async fn purge_dead_letters(requests: &Requests, group: &Group) -> Result<u64> {
    in_steps(requests, group, |batch, group, numbers| each_death(batch, group, numbers, dead::delete_numbered)).await
}

/// Delivers the dead letters again.
pub(super) async fn replay_all(requests: &Requests, group: &Group) -> Result<u64> {
    in_steps(requests, group, |batch, group, numbers| each_death(batch, group, numbers, dead::replay_numbered)).await
}

/// Does the same to the next dead letters.
fn each_death(
    batch: &mut Batch<'_>,
    group: &Group,
    numbers: Option<Numbers>,
    change: fn(&mut Batch<'_>, &Group, u64) -> Result<(), Fault>,
) -> Step<Progress> {
    if !batch.core.queues().groups.contains_key(group) {
        return Ok(Err(unknown(group)));
    }
    let (from, to) = numbers.unwrap_or((0, batch.sequences.death));
    let (first, end) = (tables::numbered(group.as_str(), from), tables::numbered(group.as_str(), to));
    let rows = batch.keys(&batch.tables.dead, &first, &end, STEP)?;
    let mut left = None;
    for row in &rows {
        let death = tables::number(row).ok_or(Fault::Missing("dead letter"))?;
        change(batch, group, death)?;
        left = (rows.len() >= STEP).then_some((death.saturating_add(1), to));
    }
    Ok(Ok((rows.len(), left)))
}

/// Pauses a group, or ends its pause.
pub(super) fn set_paused(batch: &mut Batch<'_>, group: &Group, paused: bool) -> Step<()> {
    if !batch.core.queues().groups.contains_key(group) {
        return Ok(Err(unknown(group)));
    }
    let row = tables::paused(group);
    if paused {
        batch.insert(&batch.tables.meta, &row, &[]);
    } else {
        batch.remove(&batch.tables.meta, &row);
    }
    let group = group.clone();
    batch.after(move |queues, _| {
        if let Some(state) = queues.groups.get_mut(&group) {
            state.set_paused(paused);
        }
    });
    Ok(Ok(()))
}
