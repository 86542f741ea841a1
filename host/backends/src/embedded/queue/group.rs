//! What a group holds, in memory: which message comes next, what waits until when, what is leased.
//!
//! Pure: it is told the time, and knows neither disk nor tasks. It mirrors the `entries` table and
//! changes after the table did, so nothing is handed out that a crash could take back. Leases exist
//! here alone: they end with the process. An entry takes some 200 bytes, so a group's `max_depth`
//! bounds it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use tessera_capability::queue::{Depth, Part, Subscription, Waits};
use tessera_capability::time::Timestamp;
use tokio::sync::Notify;

use super::leases::Leased;
use crate::embedded::tables::LaneName;

/// A message that a group has yet to handle.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Failed attempts.
    pub attempts: u32,
    /// How often it came back from the dead letters.
    pub replays: u32,
    /// Not deliverable before.
    pub due: Timestamp,
    pub first_published: Timestamp,
    pub lane: Option<Arc<LaneName>>,
}

/// Messages that are handled one after another.
#[derive(Debug, Default)]
struct Lane {
    /// The one that may be handled: ready, waiting for its time, or leased.
    current: Option<u64>,
    behind: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub message: u64,
    pub ends: Timestamp,
    /// Where it is written down.
    pub slot: u32,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// A transaction that ends it is under way.
    settling: bool,
}

/// A lease that ran out.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::embedded) struct Expired {
    pub message: u64,
    pub attempt: u32,
    pub at: Timestamp,
    pub slot: u32,
}

#[derive(Debug)]
pub(super) struct GroupState {
    pub number: u32,
    /// None while it is not declared.
    pub subscription: Option<Subscription>,
    /// How many dead letters it has.
    pub dead: u64,
    /// Wakes one waiting receiver when something became ready.
    pub wake: Arc<Notify>,
    entries: BTreeMap<u64, Entry>,
    ready: BTreeSet<u64>,
    waiting: BTreeSet<(Timestamp, u64)>,
    lanes: HashMap<Arc<LaneName>, Lane>,
    leases: HashMap<u64, Lease>,
    ends: BTreeSet<(Timestamp, u64)>,
    /// What a transaction under way deletes: still among `entries` and in its lane, but not handed
    /// out any more.
    purging: HashSet<u64>,
    paused: bool,
}

/// Some of a group's messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Number, attempts that began, and what it waits for.
    pub found: Vec<(u64, u32, Waits)>,
    /// After which number to go on; none if this was all.
    pub next: Option<u64>,
}

impl GroupState {
    pub(super) fn new(number: u32, subscription: Option<Subscription>) -> Self {
        Self {
            number,
            subscription,
            dead: 0,
            wake: Arc::default(),
            entries: BTreeMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            lanes: HashMap::new(),
            leases: HashMap::new(),
            ends: BTreeSet::new(),
            purging: HashSet::new(),
            paused: false,
        }
    }

    /// How many messages it holds, dead letters not included.
    pub(super) fn held(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    /// True if a receiver would be given something.
    pub(super) fn deliverable(&self) -> bool {
        !self.paused && !self.ready.is_empty()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Stops handing out, or begins again.
    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        if self.deliverable() {
            self.wake.notify_one();
        }
    }

    pub(super) fn depth(&self) -> Depth {
        let count = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        let (ready, in_flight) = (count(self.ready.len()), count(self.leases.len()));
        Depth {
            ready,
            delayed: self
                .held()
                .saturating_sub(ready)
                .saturating_sub(in_flight)
                .saturating_sub(count(self.purging.len())),
            in_flight,
            dead: self.dead,
            oldest: self.entries.first_key_value().map(|(_, entry)| entry.first_published),
        }
    }

    /// The next time at which [`Self::advance`] has something to do.
    pub(super) fn next_event(&self) -> Option<Timestamp> {
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let ends = self.ends.first().map(|(at, _)| *at);
        waiting.into_iter().chain(ends).min()
    }

    /// Adds a message.
    pub(super) fn insert(&mut self, message: u64, entry: Entry, now: Timestamp) {
        let lane = entry.lane.clone();
        self.entries.insert(message, entry);
        if let Some(name) = lane {
            let lane = self.lanes.entry(name).or_default();
            if lane.current.is_some() {
                lane.behind.insert(message);
                return;
            }
            lane.current = Some(message);
        }
        self.place(message, now);
    }

    /// Makes a message ready, or has it wait for its time.
    fn place(&mut self, message: u64, now: Timestamp) {
        if self.purging.contains(&message) {
            return;
        }
        let Some(entry) = self.entries.get(&message) else { return };
        if entry.due <= now {
            self.ready.insert(message);
            self.wake.notify_one();
        } else {
            self.waiting.insert((entry.due, message));
        }
    }

    /// Brings the state to `now`: what waited for its time becomes ready, and so does what was in
    /// leases that ran out.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<Expired> {
        while let Some(&(at, message)) = self.waiting.first()
            && at <= now
        {
            self.waiting.pop_first();
            self.ready.insert(message);
            self.wake.notify_one();
        }
        let mut expired = Vec::new();
        while let Some(&(at, number)) = self.ends.first()
            && at <= now
        {
            self.ends.pop_first();
            let Some(lease) = self.leases.remove(&number) else { continue };
            expired.push(Expired { message: lease.message, attempt: lease.attempt, at, slot: lease.slot });
            self.again(lease.message, lease.attempt, at, now);
        }
        expired
    }

    /// A message after its failed attempt.
    fn again(&mut self, message: u64, attempts: u32, due: Timestamp, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&message) {
            entry.attempts = attempts;
            entry.due = due;
        }
        self.place(message, now);
    }

    /// Leases the next ready message under `lease`; answers what to write down.
    pub(super) fn take(&mut self, lease: u64, slot: u32, ends: Timestamp) -> Option<Leased> {
        let message = self.ready.pop_first()?;
        let entry = self.entries.get(&message)?;
        let (attempt, replays) = (entry.attempts.saturating_add(1), entry.replays);
        self.leases.insert(lease, Lease { message, ends, slot, attempt, settling: false });
        self.ends.insert((ends, lease));
        Some(Leased { group: self.number, message, attempt, replays })
    }

    /// Moves the end of a lease; false if it is not held.
    pub(super) fn renew(&mut self, number: u64, ends: Timestamp) -> bool {
        let Some(lease) = self.leases.get_mut(&number).filter(|lease| !lease.settling) else { return false };
        self.ends.remove(&(lease.ends, number));
        lease.ends = ends;
        self.ends.insert((ends, number));
        true
    }

    /// Gives a leased message back, its attempt uncounted; answers the slot.
    pub(super) fn release(&mut self, number: u64, now: Timestamp) -> Option<u32> {
        if self.leases.get(&number)?.settling {
            return None;
        }
        let lease = self.leases.remove(&number)?;
        self.ends.remove(&(lease.ends, number));
        self.place(lease.message, now);
        Some(lease.slot)
    }

    /// Claims a lease for the transaction that ends it: it cannot run out meanwhile.
    pub(super) fn begin_settling(&mut self, number: u64) -> Option<Lease> {
        let lease = self.leases.get_mut(&number).filter(|lease| !lease.settling)?;
        lease.settling = true;
        self.ends.remove(&(lease.ends, number));
        Some(lease.clone())
    }

    /// The transaction did not happen: what it would have ended goes on.
    pub(super) fn abort_settling(&mut self) {
        for (number, lease) in self.leases.iter_mut().filter(|(_, lease)| lease.settling) {
            lease.settling = false;
            self.ends.insert((lease.ends, *number));
        }
    }

    /// The leased message is handled or given up; the next of its lane may follow.
    pub(super) fn finish(&mut self, number: u64, now: Timestamp) {
        if let Some(lease) = self.leases.remove(&number) {
            self.remove(lease.message, now);
        }
    }

    /// Takes a message out; the next of its lane may follow.
    fn remove(&mut self, message: u64, now: Timestamp) {
        let Some(name) = self.entries.remove(&message).and_then(|entry| entry.lane) else { return };
        let Some(lane) = self.lanes.get_mut(&name) else { return };
        if lane.current != Some(message) {
            lane.behind.remove(&message);
            return;
        }
        lane.current = lane.behind.pop_first();
        match lane.current {
            Some(next) => self.place(next, now),
            None => {
                self.lanes.remove(&name);
            }
        }
    }

    /// The leased message failed, and is to be tried again at `due`.
    pub(super) fn retry(&mut self, number: u64, due: Timestamp, now: Timestamp) {
        if let Some(lease) = self.leases.remove(&number) {
            self.again(lease.message, lease.attempt, due, now);
        }
    }

    fn leased(&self) -> HashMap<u64, &Lease> {
        self.leases.values().map(|lease| (lease.message, lease)).collect()
    }

    /// What of `part` is among the `scan` messages after number `after`.
    pub(super) fn peek(&self, part: Part, after: u64, scan: usize) -> Scanned {
        let leased = self.leased();
        let (mut found, mut last, mut scanned) = (Vec::new(), None, 0_usize);
        for (&number, entry) in self.entries.range(after.saturating_add(1)..) {
            if scanned >= scan {
                return Scanned { found, next: last };
            }
            scanned = scanned.saturating_add(1);
            last = Some(number);
            if self.purging.contains(&number) {
                continue;
            }
            let (of, attempts, waits) = match leased.get(&number) {
                Some(lease) => (Part::InFlight, lease.attempt, Waits::Leased(lease.ends)),
                None if self.ready.contains(&number) => (Part::Ready, entry.attempts, Waits::Ready),
                None if !self.waiting.contains(&(entry.due, number)) => (Part::Delayed, entry.attempts, Waits::Behind),
                None if entry.attempts == 0 => (Part::Delayed, 0, Waits::NotBefore(entry.due)),
                None => (Part::Delayed, entry.attempts, Waits::Retry(entry.due)),
            };
            if of == part {
                found.push((number, attempts, waits));
            }
        }
        Scanned { found, next: None }
    }

    /// Claims up to `limit` messages, none of them leased, for the transaction that deletes them:
    /// they are not handed out meanwhile.
    pub(super) fn begin_purging(&mut self, numbers: Range<u64>, limit: usize) -> Vec<u64> {
        let leased = self.leased();
        let free = |number: &u64| !leased.contains_key(number) && !self.purging.contains(number);
        let numbers: Vec<u64> =
            self.entries.range(numbers).map(|(number, _)| *number).filter(free).take(limit).collect();
        for number in &numbers {
            if !self.ready.remove(number)
                && let Some(entry) = self.entries.get(number)
            {
                self.waiting.remove(&(entry.due, *number));
            }
        }
        self.purging.extend(&numbers);
        numbers
    }

    /// A message is deleted.
    pub(super) fn finish_purging(&mut self, number: u64, now: Timestamp) {
        if self.purging.remove(&number) {
            self.remove(number, now);
        }
    }

    /// The transaction did not happen: what it would have deleted is as it was.
    pub(super) fn abort_purging(&mut self, now: Timestamp) {
        for number in std::mem::take(&mut self.purging) {
            let lane = self.entries.get(&number).and_then(|entry| entry.lane.as_ref());
            let lane = lane.and_then(|name| self.lanes.get(name));
            if lane.is_none_or(|lane| lane.current == Some(number)) {
                self.place(number, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1000);
    const END: Timestamp = Timestamp(2000);

    fn group() -> GroupState {
        GroupState::new(1, None)
    }

    fn entry(due: u64, lane: Option<&str>) -> Entry {
        let lane = lane.map(|key| Arc::new(("q".parse().unwrap(), key.to_owned())));
        Entry { attempts: 0, replays: 0, due: Timestamp(due), first_published: NOW, lane }
    }

    fn take(group: &mut GroupState, lease: u64) -> Option<(u64, u32)> {
        group.take(lease, 0, END).map(|leased| (leased.message, leased.attempt))
    }

    #[test]
    fn the_earliest_published_comes_first() {
        let mut group = group();
        for message in [3, 1, 2] {
            group.insert(message, entry(0, None), NOW);
        }
        let taken: Vec<_> = (1..=4).map(|lease| take(&mut group, lease)).collect();
        assert_eq!(taken, [Some((1, 1)), Some((2, 1)), Some((3, 1)), None]);
    }

    #[test]
    fn a_delayed_message_waits_for_its_time() {
        let mut group = group();
        group.insert(1, entry(1500, None), NOW);
        assert_eq!((take(&mut group, 1), group.next_event()), (None, Some(Timestamp(1500))));
        group.advance(Timestamp(1499));
        assert_eq!(take(&mut group, 1), None);
        group.advance(Timestamp(1500));
        assert_eq!(take(&mut group, 1), Some((1, 1)));
    }

    #[test]
    fn a_lease_that_ran_out_is_the_next_attempt_and_cannot_be_settled() {
        let mut group = group();
        group.insert(1, entry(0, None), NOW);
        take(&mut group, 1);
        assert_eq!(group.advance(END), [Expired { message: 1, attempt: 1, at: END, slot: 0 }]);
        assert!(group.begin_settling(1).is_none() && !group.renew(1, Timestamp(3000)));
        assert_eq!(group.take(2, 0, Timestamp(3000)).map(|leased| (leased.message, leased.attempt)), Some((1, 2)));
    }

    #[test]
    fn a_renewed_lease_ends_later() {
        let mut group = group();
        group.insert(1, entry(0, None), NOW);
        take(&mut group, 1);
        assert!(group.renew(1, Timestamp(3000)));
        assert_eq!(group.advance(END), []);
        assert_eq!(group.advance(Timestamp(3000)).len(), 1);
    }

    #[test]
    fn a_lease_being_settled_does_not_run_out_unless_that_fails() {
        let mut group = group();
        group.insert(1, entry(0, None), NOW);
        take(&mut group, 1);
        assert!(group.begin_settling(1).is_some() && group.begin_settling(1).is_none());
        assert_eq!(group.advance(END), []);
        group.abort_settling();
        assert_eq!(group.advance(END).len(), 1);
    }

    #[test]
    fn a_lane_goes_on_when_its_current_message_is_finished() {
        let mut group = group();
        for message in 1..=3 {
            group.insert(message, entry(0, Some("a")), NOW);
        }
        group.insert(4, entry(0, Some("b")), NOW);
        assert_eq!(take(&mut group, 1), Some((1, 1)));
        assert_eq!(take(&mut group, 2), Some((4, 1)), "another lane is free");
        assert_eq!(take(&mut group, 3), None);
        group.begin_settling(1);
        group.retry(1, Timestamp(1500), NOW);
        assert_eq!(take(&mut group, 4), None, "a retry holds back those behind it");
        group.advance(Timestamp(1500));
        assert_eq!(take(&mut group, 5), Some((1, 2)));
        group.begin_settling(5);
        group.finish(5, NOW);
        assert_eq!(take(&mut group, 6), Some((2, 1)));
    }

    #[test]
    fn a_released_message_keeps_its_attempt_and_its_place() {
        let mut group = group();
        group.insert(1, entry(0, Some("a")), NOW);
        group.insert(2, entry(0, None), NOW);
        take(&mut group, 1);
        assert_eq!(group.release(1, NOW), Some(0));
        assert_eq!(group.release(1, NOW), None);
        assert_eq!(take(&mut group, 2), Some((1, 1)));
    }

    #[test]
    fn every_message_is_counted_once() {
        let mut group = group();
        group.insert(1, entry(0, Some("a")), NOW);
        group.insert(2, entry(0, Some("a")), NOW);
        group.insert(3, entry(9000, None), NOW);
        group.insert(4, entry(0, None), NOW);
        take(&mut group, 1);
        group.dead = 7;
        let depth = Depth { ready: 1, delayed: 2, in_flight: 1, dead: 7, oldest: Some(NOW) };
        assert_eq!(group.depth(), depth);
    }
}
