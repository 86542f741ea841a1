//! All groups in memory, with what they share: lease numbers, lease slots, and the failures that
//! the store has yet to learn of.

use std::collections::BTreeMap;

use tessera_capability::queue::{Group, QueueName, Receipt};
use tessera_capability::time::Timestamp;

use super::group::{Expired, GroupState};

#[derive(Debug)]
pub(in crate::embedded) struct Queues {
    pub(super) groups: BTreeMap<Group, GroupState>,
    /// When the timer looks again.
    pub(in crate::embedded) armed: Timestamp,
    /// Leases that ran out and are not in the history yet; their slots are still in use.
    pub(super) expired: Vec<(Group, Expired)>,
    free: Vec<u32>,
    next_slot: u32,
    next_lease: u64,
    /// Tells this process's receipts from an earlier one's.
    process: u64,
}

impl Queues {
    pub(super) fn new(groups: BTreeMap<Group, GroupState>) -> Self {
        Self {
            groups,
            armed: Timestamp(0),
            expired: Vec::new(),
            free: Vec::new(),
            next_slot: 0,
            next_lease: 0,
            process: rand::random(),
        }
    }

    /// The group, brought to `now`.
    pub(super) fn group(&mut self, name: &Group, now: Timestamp) -> Option<&mut GroupState> {
        let group = self.groups.get_mut(name)?;
        let expired = group.advance(now);
        self.expired.extend(expired.into_iter().map(|expired| (name.clone(), expired)));
        Some(group)
    }

    /// Brings all groups to `now`; answers when there is something to do next.
    pub(in crate::embedded) fn advance(&mut self, now: Timestamp) -> Option<Timestamp> {
        for (name, group) in &mut self.groups {
            let expired = group.advance(now);
            self.expired.extend(expired.into_iter().map(|expired| (name.clone(), expired)));
        }
        self.groups.values().filter_map(GroupState::next_event).min()
    }

    /// True if there are failures to write down.
    pub(in crate::embedded) fn has_expired(&self) -> bool {
        !self.expired.is_empty()
    }

    /// True if something happens before the timer looks again.
    pub(in crate::embedded) fn is_late(&self) -> bool {
        self.groups.values().filter_map(GroupState::next_event).any(|at| at < self.armed)
    }

    /// Adds a message to a group.
    pub(super) fn insert(&mut self, group: &Group, message: u64, entry: super::group::Entry, now: Timestamp) {
        if let Some(group) = self.groups.get_mut(group) {
            group.insert(message, entry, now);
        }
    }

    /// The groups that receive `queue`.
    pub(super) fn subscribers(&self, queue: &QueueName) -> impl Iterator<Item = (&Group, &GroupState)> {
        self.groups
            .iter()
            .filter(|(_, group)| group.subscription.as_ref().is_some_and(|subscription| subscription.matches(queue)))
    }

    pub(super) fn next_lease(&mut self) -> u64 {
        self.next_lease = self.next_lease.saturating_add(1);
        self.next_lease
    }

    pub(super) fn next_slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let slot = self.next_slot;
            self.next_slot = self.next_slot.saturating_add(1);
            slot
        })
    }

    /// Makes a slot available whose lease the store need not hear of any more.
    pub(super) fn free_slot(&mut self, slot: u32) {
        self.free.push(slot);
    }

    pub(super) fn receipt(&self, lease: u64) -> Receipt {
        Receipt(format!("{:016x}-{lease}", self.process))
    }

    /// The lease a receipt names, if it is one of this process.
    pub(super) fn lease(&self, receipt: &Receipt) -> Option<u64> {
        let (process, lease) = receipt.0.split_once('-')?;
        (u64::from_str_radix(process, 16) == Ok(self.process)).then(|| lease.parse().ok()).flatten()
    }

    /// What a failed transaction was about to end goes on, and what it was to write down waits for
    /// the next.
    pub(in crate::embedded) fn abort(&mut self, unwritten: Vec<(Group, Expired)>, now: Timestamp) {
        for group in self.groups.values_mut() {
            group.abort_settling();
            group.abort_purging(now);
        }
        self.expired.splice(0..0, unwritten);
    }
}
