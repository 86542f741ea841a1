//! The queue contract: durable, at-least-once delivery to competing consumers.
//!
//! The sentences of `wit/deps/tessera-queue` hold for every [`Broker`]; the suite in
//! `conformance::queue` has a test for each. Engines store, lease and hand out; what to do
//! with a failed delivery is decided by [`Policy`], purely.

mod inspect;
mod names;
mod policy;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::{Error, Result};

pub use inspect::{GroupStatus, Held, HeldPage, Part, Purge, Waits};
pub use names::{Group, Pattern, QueueName};
pub use policy::{Policy, Verdict};

/// The largest message body, in bytes.
pub const MAX_BODY: usize = 256 << 10;
/// The most headers of a message.
pub const MAX_HEADERS: usize = 64;
/// The most bytes of all header names and values together.
pub const MAX_HEADER_BYTES: usize = 16 << 10;
/// The longest deduplication id, ordering key and content type, in bytes.
pub const MAX_ID: usize = 128;
/// How much of a failure's reason is kept, in bytes.
pub const MAX_REASON: usize = 1 << 10;
/// How many of the latest failures a message's history keeps.
pub const MAX_HISTORY: usize = 16;
/// For how long an engine remembers deduplication ids and message ids at least.
pub const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Names one published message within its engine: at most 64 bytes of printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub String);

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is published, and delivered unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// At most [`MAX_BODY`] bytes.
    pub body: Bytes,
    /// A media type.
    pub content_type: Option<String>,
    /// Name and value pairs.
    pub headers: Vec<(String, String)>,
    /// The queue accepts a message with this id once per [`DEDUPLICATION_WINDOW`].
    pub deduplication_id: Option<String>,
    /// Not delivered earlier.
    pub not_before: Option<Timestamp>,
    /// Messages that share it are handled one after another within each group.
    pub ordering_key: Option<String>,
}

impl Message {
    /// Refuses a message beyond the contract's limits.
    ///
    /// # Errors
    /// `TooLarge` or `Invalid`, saying what.
    pub fn validate(&self) -> Result<()> {
        if self.body.len() > MAX_BODY {
            return Err(Error::TooLarge(format!(
                "a message body has at most {MAX_BODY} bytes, not {}",
                self.body.len()
            )));
        }
        let bytes = self
            .headers
            .iter()
            .fold(0_usize, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()));
        if self.headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            return Err(Error::TooLarge(format!(
                "a message has at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes altogether"
            )));
        }
        for (what, id) in [("deduplication id", &self.deduplication_id), ("ordering key", &self.ordering_key)] {
            if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_ID) {
                return Err(Error::Invalid(format!("a {what} has 1 to {MAX_ID} bytes")));
            }
        }
        if self.content_type.as_ref().is_some_and(|kind| kind.len() > MAX_ID) {
            return Err(Error::Invalid(format!("a content type has at most {MAX_ID} bytes")));
        }
        Ok(())
    }
}

/// A message on its way into a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Where to.
    pub queue: QueueName,
    /// What.
    pub message: Message,
    /// The id to give it. Publishing an id again within [`DEDUPLICATION_WINDOW`] stores nothing
    /// and answers the id: this is how a relay repeats itself safely. `None`: the engine makes one.
    pub id: Option<MessageId>,
}

/// Which queues a group receives, and how much it may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The group.
    pub group: Group,
    /// The queues: those that match any of these. A message that matches several is received once.
    pub patterns: Vec<Pattern>,
    /// Publishing answers `Full` while the group holds so many messages, in flight ones included
    /// and dead letters not.
    pub max_depth: u64,
}

impl Subscription {
    /// True if the group receives messages of `queue`.
    #[must_use]
    pub fn matches(&self, queue: &QueueName) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(queue))
    }
}

/// Names one lease; only its holder can settle the delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When it ended.
    pub at: Timestamp,
    /// Why; at most [`MAX_REASON`] bytes. A lease that ran out reads `lease expired`.
    pub reason: String,
}

/// A leased message.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Names this lease.
    pub receipt: Receipt,
    /// The message's id.
    pub id: MessageId,
    /// The queue it was published to.
    pub queue: QueueName,
    /// The message.
    pub message: Message,
    /// 1 for the first attempt in this group.
    pub attempt: u32,
    /// When it was accepted.
    pub first_published: Timestamp,
}

/// A message that a group gave up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message's id.
    pub id: MessageId,
    /// The queue it was published to.
    pub queue: QueueName,
    /// The message.
    pub message: Message,
    /// When it was accepted.
    pub first_published: Timestamp,
    /// When it was given up.
    pub died: Timestamp,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// The latest [`MAX_HISTORY`] failures, oldest first, the last one included.
    pub history: Vec<Failure>,
}

/// Part of a listing of dead letters.
#[derive(Debug, Clone, Default)]
pub struct DeadLetters {
    /// Oldest death first.
    pub letters: Vec<DeadLetter>,
    /// Set when there may be more; opaque.
    pub cursor: Option<String>,
}

/// A group's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Deliverable now.
    pub ready: u64,
    /// Waiting for their time (`not-before` or a retry), or behind another of their ordering key.
    pub delayed: u64,
    /// Leased.
    pub in_flight: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest message that is not dead was accepted.
    pub oldest: Option<Timestamp>,
}

/// What a back-end can do. A manifest that needs what is missing is refused at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Honours `ordering_key`.
    pub ordering: bool,
    /// Honours `not_before` and retry delays.
    pub delay: bool,
    /// Honours `deduplication_id`.
    pub deduplication: bool,
}

/// An engine's queues.
#[async_trait]
pub trait Broker: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes `subscriptions` the whole set, durably. New groups receive what is published from
    /// then on; a group that is not in the set receives nothing more but keeps what it holds, dead
    /// letters too, for when it comes back. Declaring the same again changes nothing.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    async fn declare(&self, subscriptions: &[Subscription]) -> Result<()>;

    /// True if some group subscribes to `queue`.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    async fn subscribed(&self, queue: &QueueName) -> Result<bool>;

    /// Stores a message for every subscribed group, or for none; durable when it returns.
    ///
    /// # Errors
    /// `NotFound` if no group subscribes, `Full` if one of them is at its limit, `Unavailable`,
    /// `Internal`.
    async fn publish(&self, publication: Publication) -> Result<MessageId>;

    /// Leases up to `max` deliverable messages of a group for `lease`, waiting up to `wait` for
    /// the first; empty if there was none. A message is in one lease at a time. Where a lease ran
    /// out, the message becomes deliverable again as its next attempt. Nothing is leased while the
    /// group is paused.
    ///
    /// Dropping the call loses nothing: what it leased by then comes back when its lease runs out.
    ///
    /// # Errors
    /// `NotFound` for a group that was never declared, `Unavailable`, `Internal`.
    async fn receive(&self, group: &Group, max: usize, lease: Duration, wait: Duration) -> Result<Vec<Delivery>>;

    /// Makes a lease end `lease` from now.
    ///
    /// # Errors
    /// `Conflict` if it ran out or was settled, `Unavailable`, `Internal`.
    async fn renew(&self, group: &Group, receipt: &Receipt, lease: Duration) -> Result<()>;

    /// Ends a delivery: the group is done with the message, durably.
    ///
    /// # Errors
    /// `Conflict` if the lease ran out or was settled, `Unavailable`, `Internal`.
    async fn acknowledge(&self, group: &Group, receipt: &Receipt) -> Result<()>;

    /// Ends a delivery as failed: deliverable again after `delay`, as the next attempt, with
    /// `reason` in its history.
    ///
    /// # Errors
    /// `Conflict` if the lease ran out or was settled, `Unavailable`, `Internal`.
    async fn retry(&self, group: &Group, receipt: &Receipt, delay: Duration, reason: &str) -> Result<()>;

    /// Gives a delivery back unhandled: deliverable at once, and the attempt does not count.
    ///
    /// # Errors
    /// `Conflict` if the lease ran out or was settled, `Unavailable`, `Internal`.
    async fn release(&self, group: &Group, receipt: &Receipt) -> Result<()>;

    /// Ends a delivery as hopeless: moves the message to the group's dead letters, with `reason`
    /// there and in its history.
    ///
    /// # Errors
    /// `Conflict` if the lease ran out or was settled, `Unavailable`, `Internal`.
    async fn bury(&self, group: &Group, receipt: &Receipt, reason: &str) -> Result<()>;

    /// How much a group holds; zeros for one that was never declared.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    async fn depth(&self, group: &Group) -> Result<Depth>;

    /// One page of a group's dead letters.
    ///
    /// # Errors
    /// `Invalid` for a foreign cursor, `Unavailable`, `Internal`.
    async fn dead_letters(&self, group: &Group, cursor: Option<&str>, limit: usize) -> Result<DeadLetters>;

    /// Delivers a dead letter again to its group, starting at attempt 1 with an empty history.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`, `Internal`.
    async fn replay(&self, group: &Group, id: &MessageId) -> Result<()>;

    /// Delivers every letter again that is dead at the call; answers how many. Not one step: a
    /// failure half-way leaves the rest dead.
    ///
    /// # Errors
    /// `NotFound` for a group that was never declared, `Unavailable`, `Internal`.
    async fn replay_all(&self, group: &Group) -> Result<u64>;

    /// Deletes a dead letter.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`, `Internal`.
    async fn delete_dead_letter(&self, group: &Group, id: &MessageId) -> Result<()>;

    /// Every group that receives something, holds something, or is paused, by name. Each is as it
    /// was at one moment, not all at the same.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    async fn groups(&self) -> Result<Vec<GroupStatus>>;

    /// One page of what a group holds, without leasing anything: no attempt begins, and receivers
    /// do not notice. A message that moves on meanwhile may be missing.
    ///
    /// # Errors
    /// `NotFound` for a group that was never declared, `Invalid` for a foreign cursor,
    /// `Unavailable`, `Internal`.
    async fn peek(&self, group: &Group, part: Part, cursor: Option<&str>, limit: usize) -> Result<HeldPage>;

    /// Deletes what a group holds at the call, durably; answers how many. Messages in flight stay,
    /// and so do other groups' copies. Not one step: a failure half-way leaves the rest, and
    /// messages that move on meanwhile may stay.
    ///
    /// # Errors
    /// `NotFound` for a group that was never declared, `Unavailable`, `Internal`.
    async fn purge(&self, group: &Group, what: Purge) -> Result<u64>;

    /// Stops deliveries to a group, durably and for every process on the engine. Publishing goes
    /// on, up to the depth limit; what is in flight can be renewed and settled. Pausing again
    /// changes nothing, and declarations leave it paused.
    ///
    /// # Errors
    /// `NotFound` for a group that was never declared, `Unavailable`, `Internal`.
    async fn pause(&self, group: &Group) -> Result<()>;

    /// Ends a pause, durably. Receivers that wait go on at once. A group that is not paused stays
    /// as it is.
    ///
    /// # Errors
    /// `NotFound` for a group that was never declared, `Unavailable`, `Internal`.
    async fn resume(&self, group: &Group) -> Result<()>;
}

/// As much of `reason` as is kept: [`MAX_REASON`] bytes, cut between characters.
#[must_use]
pub fn clip_reason(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    reason.get(..end).unwrap_or_default()
}
