//! The embedded queues: what must last is in the store, what comes next is in memory.
//!
//! A message is stored once; each group has an entry that refers to it. A transaction changes the
//! tables, and after it the groups in memory follow. Leases are in memory, with a trace in a file
//! for the attempts of a process that gets killed; so `receive` needs no fsync.

mod dead;
mod group;
mod inspect;
mod leases;
mod load;
mod publish;
mod settle;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fjall::Readable as _;
use tessera_capability::queue::{
    Broker, Capabilities, DeadLetters, Delivery, Depth, Group, GroupStatus, HeldPage, MessageId, Part, Publication,
    Purge, QueueName, Receipt, Subscription,
};
use tessera_capability::{Error, Result};
use tokio::time::Instant;

use super::core::Core;
use super::fault::{Fault, Step};
use super::record;
use super::tables::{StoredEntry, StoredGroup, StoredMessage};
use super::writer::Batch;
use super::{Handle, blocking};
use group::{Entry, GroupState};
use settle::Outcome;

pub(in crate::embedded) use group::Expired;
pub(super) use leases::LeaseFile;
pub(super) use load::load;
pub(super) use publish::Plan;
pub(super) use settle::write_expired;
pub(super) use state::Queues;

/// The queues of an [`super::Engine`].
pub(super) struct EmbeddedBroker(pub Arc<Handle>);

impl Entry {
    fn new(stored: StoredEntry) -> Self {
        let StoredEntry { attempts, replays, due, first_published, lane, history: _ } = stored;
        Self { attempts, replays, due, first_published, lane: lane.map(Arc::new) }
    }
}

/// Leased messages on their way to the caller; given back if it went away meanwhile.
struct Handout {
    core: Arc<Core>,
    group: Group,
    leases: Vec<u64>,
    deliveries: Vec<Delivery>,
}

impl Handout {
    /// Leases what is ready, up to `max`.
    fn take(core: Arc<Core>, group: Group, max: usize, lease: Duration) -> Result<Self> {
        let mut out = Self { core: Arc::clone(&core), group, leases: Vec::new(), deliveries: Vec::new() };
        let mut taken = Vec::new();
        let mut queues = core.queues();
        let now = core.now();
        let ends = now.saturating_add(lease);
        while taken.len() < max && queues.group(&out.group, now).is_some_and(|group| group.deliverable()) {
            let (lease, slot) = (queues.next_lease(), queues.next_slot());
            let receipt = queues.receipt(lease);
            let Some(state) = queues.groups.get_mut(&out.group) else { break };
            let Some(leased) = state.take(lease, slot, ends) else { break };
            out.leases.push(lease);
            taken.push((leased, slot, receipt));
        }
        if let Some(group) = queues.groups.get(&out.group).filter(|group| group.deliverable()) {
            group.wake.notify_one();
        }
        core.rearm(queues);
        let snapshot = core.tables.db.read_tx();
        for (leased, slot, receipt) in taken {
            core.leases.write(slot, leased).map_err(Fault::Leases)?;
            let bytes = snapshot.get(&core.tables.messages, leased.message.to_be_bytes()).map_err(Fault::from)?;
            let bytes = bytes.ok_or(Fault::Missing("message"))?;
            let StoredMessage { id, queue, message, first_published } = record::decode("message", &bytes)?;
            let attempt = leased.attempt;
            out.deliveries.push(Delivery { receipt, id, queue, message, attempt, first_published });
        }
        Ok(out)
    }

    fn into_deliveries(mut self) -> Vec<Delivery> {
        self.leases.clear();
        std::mem::take(&mut self.deliveries)
    }
}

impl Drop for Handout {
    fn drop(&mut self) {
        if self.leases.is_empty() {
            return;
        }
        let mut queues = self.core.queues();
        let now = self.core.now();
        let Some(group) = queues.groups.get_mut(&self.group) else { return };
        let slots: Vec<u32> = self.leases.iter().filter_map(|lease| group.release(*lease, now)).collect();
        drop(queues);
        slots.into_iter().for_each(|slot| clear(&self.core, slot));
    }
}

/// Uncounts the attempt that a slot speaks of, and makes the slot available.
fn clear(core: &Core, slot: u32) {
    if let Err(error) = core.leases.clear(slot) {
        tracing::error!(%error, "a delivery given back will count as an attempt if this process is killed");
    }
    core.queues().free_slot(slot);
}

impl EmbeddedBroker {
    async fn settle(&self, group: &Group, receipt: &Receipt, outcome: Outcome) -> Result<()> {
        let (group, receipt) = (group.clone(), receipt.clone());
        self.0.requests.run(move |batch| settle::settle(batch, &group, &receipt, outcome)).await
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    fn capabilities(&self) -> Capabilities {
        Capabilities { ordering: true, delay: true, deduplication: true }
    }

    async fn declare(&self, subscriptions: &[Subscription]) -> Result<()> {
        let subscriptions = subscriptions.to_vec();
        self.0.requests.run(move |batch| declare(batch, subscriptions)).await
    }

    async fn subscribed(&self, queue: &QueueName) -> Result<bool> {
        Ok(self.0.core.queues().subscribers(queue).next().is_some())
    }

    async fn publish(&self, publication: Publication) -> Result<MessageId> {
        let step = move |batch: &mut Batch<'_>| {
            let mut plan = Plan::default();
            match plan.add(batch, publication)? {
                Ok(id) => plan.apply(batch).map(|()| Ok(id)),
                refused => Ok(refused),
            }
        };
        self.0.requests.run(step).await
    }

    async fn receive(&self, group: &Group, max: usize, lease: Duration, wait: Duration) -> Result<Vec<Delivery>> {
        let core = &self.0.core;
        let deadline = Instant::now().checked_add(wait);
        let unknown = || Error::NotFound(format!("group `{group}` was never declared"));
        let wake = core.queues().groups.get(group).map(|state| Arc::clone(&state.wake)).ok_or_else(unknown)?;
        loop {
            // Looking is cheap; only what reads bodies goes to a thread that may block.
            let ready = core.queues().group(group, core.now()).is_some_and(|state| state.deliverable());
            if ready {
                let (core, group) = (Arc::clone(core), group.clone());
                let deliveries = blocking(move || Handout::take(core, group, max, lease)).await?.into_deliveries();
                if !deliveries.is_empty() || max == 0 {
                    return Ok(deliveries);
                }
            }
            // A wake-up between looking and waiting is kept for the waiter.
            match deadline {
                None => wake.notified().await,
                Some(deadline) => {
                    if tokio::time::timeout_at(deadline, wake.notified()).await.is_err() {
                        return Ok(Vec::new());
                    }
                }
            }
        }
    }

    async fn renew(&self, group: &Group, receipt: &Receipt, lease: Duration) -> Result<()> {
        let core = &self.0.core;
        let mut queues = core.queues();
        let now = core.now();
        let ends = now.saturating_add(lease);
        let number = queues.lease(receipt).ok_or(Error::Conflict)?;
        let renewed = queues.group(group, now).is_some_and(|state| state.renew(number, ends));
        core.rearm(queues);
        if renewed { Ok(()) } else { Err(Error::Conflict) }
    }

    async fn acknowledge(&self, group: &Group, receipt: &Receipt) -> Result<()> {
        self.settle(group, receipt, Outcome::Acknowledge).await
    }

    async fn retry(&self, group: &Group, receipt: &Receipt, delay: Duration, reason: &str) -> Result<()> {
        self.settle(group, receipt, Outcome::Retry { delay, reason: reason.to_owned() }).await
    }

    async fn release(&self, group: &Group, receipt: &Receipt) -> Result<()> {
        let slot = {
            let core = &self.0.core;
            let mut queues = core.queues();
            let now = core.now();
            let number = queues.lease(receipt).ok_or(Error::Conflict)?;
            queues.group(group, now).and_then(|state| state.release(number, now)).ok_or(Error::Conflict)?
        };
        let core = Arc::clone(&self.0.core);
        blocking(move || {
            clear(&core, slot);
            Ok(())
        })
        .await
    }

    async fn bury(&self, group: &Group, receipt: &Receipt, reason: &str) -> Result<()> {
        self.settle(group, receipt, Outcome::Bury { reason: reason.to_owned() }).await
    }

    async fn depth(&self, group: &Group) -> Result<Depth> {
        let core = &self.0.core;
        Ok(core.queues().group(group, core.now()).map(|state| state.depth()).unwrap_or_default())
    }

    async fn dead_letters(&self, group: &Group, cursor: Option<&str>, limit: usize) -> Result<DeadLetters> {
        let (core, group, cursor) = (Arc::clone(&self.0.core), group.clone(), cursor.map(str::to_owned));
        blocking(move || dead::list(&core.tables, &group, cursor.as_deref(), limit)).await
    }

    async fn replay(&self, group: &Group, id: &MessageId) -> Result<()> {
        let (group, id) = (group.clone(), id.clone());
        self.0.requests.run(move |batch| dead::replay(batch, &group, &id)).await
    }

    async fn replay_all(&self, group: &Group) -> Result<u64> {
        inspect::replay_all(&self.0.requests, group).await
    }

    async fn delete_dead_letter(&self, group: &Group, id: &MessageId) -> Result<()> {
        let (group, id) = (group.clone(), id.clone());
        self.0.requests.run(move |batch| dead::delete(batch, &group, &id)).await
    }

    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        Ok(inspect::groups(&self.0.core))
    }

    async fn peek(&self, group: &Group, part: Part, cursor: Option<&str>, limit: usize) -> Result<HeldPage> {
        let (core, group, cursor) = (Arc::clone(&self.0.core), group.clone(), cursor.map(str::to_owned));
        blocking(move || inspect::peek(&core, &group, part, cursor.as_deref(), limit)).await
    }

    async fn purge(&self, group: &Group, what: Purge) -> Result<u64> {
        let mut sum = 0_u64;
        if what.messages() {
            sum = sum.saturating_add(inspect::purge_messages(&self.0.requests, group).await?);
        }
        if what.dead_letters() {
            sum = sum.saturating_add(inspect::purge_dead_letters(&self.0.requests, group).await?);
        }
        Ok(sum)
    }

    async fn pause(&self, group: &Group) -> Result<()> {
        let group = group.clone();
        self.0.requests.run(move |batch| inspect::set_paused(batch, &group, true)).await
    }

    async fn resume(&self, group: &Group) -> Result<()> {
        let group = group.clone();
        self.0.requests.run(move |batch| inspect::set_paused(batch, &group, false)).await
    }
}

/// Makes `subscriptions` the whole set; writes only what changes.
fn declare(batch: &mut Batch<'_>, subscriptions: Vec<Subscription>) -> Step<()> {
    let known: BTreeMap<Group, (u32, Option<Subscription>)> = {
        let queues = batch.core.queues();
        queues.groups.iter().map(|(name, group)| (name.clone(), (group.number, group.subscription.clone()))).collect()
    };
    let mut wanted: BTreeMap<Group, Option<Subscription>> = known.keys().map(|name| (name.clone(), None)).collect();
    wanted.extend(subscriptions.into_iter().map(|subscription| (subscription.group.clone(), Some(subscription))));
    for (name, subscription) in wanted {
        let number = match known.get(&name) {
            Some((_, before)) if *before == subscription => continue,
            Some((number, _)) => *number,
            None => {
                let number = batch.sequences.group;
                batch.sequences.group = number.saturating_add(1);
                number
            }
        };
        let record = record::encode(&StoredGroup { number, subscription: subscription.clone() })?;
        batch.insert(&batch.tables.groups, name.as_str().as_bytes(), &record);
        batch.after(move |queues, _| {
            let group = queues.groups.entry(name).or_insert_with(|| GroupState::new(number, None));
            group.number = number;
            group.subscription = subscription;
        });
    }
    Ok(Ok(()))
}
