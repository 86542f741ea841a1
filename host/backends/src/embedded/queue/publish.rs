//! Publishing within a transaction: first all is looked at, then all is written.

use std::collections::HashMap;

use tessera_capability::queue::{DEDUPLICATION_WINDOW, Group, MessageId, Publication};
use tessera_capability::{Error, Result};

use super::group::Entry;
use crate::embedded::fault::{Fault, Step};
use crate::embedded::record;
use crate::embedded::tables::{self, Expiring, Seen, StoredEntry, StoredMessage};
use crate::embedded::writer::Batch;

/// The publications of one request, looked at and not yet written.
#[derive(Default)]
pub(in crate::embedded) struct Plan {
    accepted: Vec<Accepted>,
    /// What the accepted ones will have added to [`tables::Tables::seen`].
    seen: HashMap<Vec<u8>, MessageId>,
    /// Messages they will have added to each group.
    added: HashMap<Group, u64>,
}

struct Accepted {
    id: MessageId,
    publication: Publication,
    groups: Vec<Group>,
    /// Rows by which it will be recognised.
    seen: Vec<Vec<u8>>,
}

impl Plan {
    /// Looks whether a publication can be accepted after those before it; answers its id.
    pub(in crate::embedded) fn add(&mut self, batch: &Batch<'_>, publication: Publication) -> Step<MessageId> {
        let Publication { queue, message, id } = &publication;
        let mut seen: Vec<Vec<u8>> = id.iter().map(tables::seen_message).collect();
        seen.extend(message.deduplication_id.iter().map(|id| tables::seen_deduplication(queue, id)));
        for row in &seen {
            if let Some(id) = self.seen(batch, row)? {
                return Ok(Ok(id));
            }
        }
        let groups = match self.groups(batch, &publication) {
            Ok(groups) => groups,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let id = id.clone().unwrap_or_else(|| {
            let id = MessageId(format!("{:032x}", rand::random::<u128>()));
            seen.push(tables::seen_message(&id));
            id
        });
        self.seen.extend(seen.iter().map(|row| (row.clone(), id.clone())));
        for group in &groups {
            let added = self.added.entry(group.clone()).or_default();
            *added = added.saturating_add(1);
        }
        self.accepted.push(Accepted { id: id.clone(), publication, groups, seen });
        Ok(Ok(id))
    }

    /// The message that was accepted with this row within the deduplication window.
    fn seen(&self, batch: &Batch<'_>, row: &[u8]) -> Result<Option<MessageId>, Fault> {
        if let Some(id) = self.seen.get(row) {
            return Ok(Some(id.clone()));
        }
        let Some(bytes) = batch.get(&batch.tables.seen, row)? else { return Ok(None) };
        let seen: Seen = record::decode("seen id", &bytes)?;
        Ok((seen.until > batch.now).then_some(seen.id))
    }

    /// The groups that receive it, if they all have room.
    fn groups(&self, batch: &Batch<'_>, publication: &Publication) -> Result<Vec<Group>> {
        let queues = batch.core.queues();
        let mut groups = Vec::new();
        for (name, group) in queues.subscribers(&publication.queue) {
            let added = |map: &HashMap<Group, u64>| map.get(name).copied().unwrap_or_default();
            let held = group.held().saturating_add(added(&batch.added)).saturating_add(added(&self.added));
            if group.subscription.as_ref().is_some_and(|subscription| held >= subscription.max_depth) {
                return Err(Error::Full(format!("group `{name}` holds {held} messages, its limit")));
            }
            groups.push(name.clone());
        }
        if groups.is_empty() {
            return Err(Error::NotFound(format!("no group subscribes to `{}`", publication.queue)));
        }
        Ok(groups)
    }

    /// Writes what was accepted.
    pub(in crate::embedded) fn apply(self, batch: &mut Batch<'_>) -> Result<(), Fault> {
        for (group, added) in self.added {
            let sum = batch.added.entry(group).or_default();
            *sum = sum.saturating_add(added);
        }
        self.accepted.into_iter().try_for_each(|accepted| accepted.apply(batch))
    }
}

impl Accepted {
    fn apply(self, batch: &mut Batch<'_>) -> Result<(), Fault> {
        let tables = batch.tables;
        let Self { id, publication: Publication { queue, message, .. }, groups, seen } = self;
        let number = batch.sequences.message;
        batch.sequences.message = number.saturating_add(1);
        let first_published = batch.now;

        let until = first_published.saturating_add(DEDUPLICATION_WINDOW);
        let record = record::encode(&Seen { id: id.clone(), until })?;
        for row in seen {
            batch.insert(&tables.seen, &row, &record);
            batch.expire(until, Expiring::Seen, &row);
        }

        let due = message.not_before.unwrap_or_default();
        let lane = message.ordering_key.clone().map(|key| (queue.clone(), key));
        let stored = StoredMessage { id, queue, message, first_published };
        batch.insert(&tables.messages, &number.to_be_bytes(), &record::encode(&stored)?);
        if groups.len() > 1 {
            batch.insert(&tables.shares, &number.to_be_bytes(), &record::encode(&groups.len())?);
        }

        let stored = StoredEntry { attempts: 0, replays: 0, due, first_published, lane, history: Vec::new() };
        let record = record::encode(&stored)?;
        for group in &groups {
            batch.insert(&tables.entries, &tables::numbered(group.as_str(), number), &record);
        }
        let entry = Entry::new(stored);
        batch.after(move |queues, now| {
            for group in &groups {
                queues.insert(group, number, entry.clone(), now);
            }
        });
        Ok(())
    }
}
