//! What an operator sees of a group's messages without receiving them.

use super::{Depth, Group, Message, MessageId, QueueName, Subscription};
use crate::time::Timestamp;

/// Which of a group's messages to look at; the same parts as [`Depth`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Deliverable now.
    Ready,
    /// Waiting for their time, or behind another of their ordering key.
    Delayed,
    /// Leased.
    InFlight,
}

/// What keeps a message from being delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Nothing, unless the group is paused.
    Ready,
    /// It was published with this `not_before`.
    NotBefore(Timestamp),
    /// An attempt failed; the next may begin then.
    Retry(Timestamp),
    /// An earlier message of its ordering key is not handled yet.
    Behind,
    /// It is leased until then, unless the lease is renewed.
    Leased(Timestamp),
}

/// A message that a group holds, seen without leasing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The message's id.
    pub id: MessageId,
    /// The queue it was published to.
    pub queue: QueueName,
    /// The message.
    pub message: Message,
    /// How many attempts began, the running one of a leased message included.
    pub attempts: u32,
    /// When it was accepted.
    pub first_published: Timestamp,
    /// What it waits for.
    pub waits: Waits,
}

/// Part of a listing of a group's messages.
#[derive(Debug, Clone, Default)]
pub struct HeldPage {
    /// Earliest published first.
    pub messages: Vec<Held>,
    /// Set when there may be more; opaque.
    pub cursor: Option<String>,
}

/// What of a group to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// Everything that is ready or delayed.
    Messages,
    /// The dead letters.
    DeadLetters,
    /// Both.
    All,
}

impl Purge {
    /// True if ready and delayed messages are to go.
    #[must_use]
    pub fn messages(self) -> bool {
        matches!(self, Self::Messages | Self::All)
    }

    /// True if dead letters are to go.
    #[must_use]
    pub fn dead_letters(self) -> bool {
        matches!(self, Self::DeadLetters | Self::All)
    }
}

/// A group as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// Its name.
    pub group: Group,
    /// What it receives; `None` for a group that is declared no more.
    pub subscription: Option<Subscription>,
    /// True from `pause` to `resume`.
    pub paused: bool,
    /// What it holds.
    pub depth: Depth,
}
