//! The key-value contract: an ordered store of bytes with atomic, optimistic transactions.
//!
//! The sentences of `wit/deps/tessera-keyvalue` hold for every [`Store`]; the suite in
//! `conformance::kv` has a test for each.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::queue::{MessageId, Publication};
use crate::{Error, Result};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// The default limit of a value, in bytes.
pub const MAX_VALUE: usize = 1 << 20;
/// The most entries in a page.
pub const MAX_PAGE: usize = 1000;
/// A page ends when its keys and values reach this many bytes.
pub const MAX_PAGE_BYTES: usize = 4 << 20;
/// The most checks, and the most operations, in a commit.
pub const MAX_COMMIT: usize = 128;
/// The most bytes in a commit: keys, values and message bodies.
pub const MAX_COMMIT_BYTES: usize = 8 << 20;
/// Keys that begin with this byte belong to the host, like FoundationDB's system keys.
pub const RESERVED: u8 = 0xFF;

/// A key: 1 to [`MAX_KEY`] bytes, compared bytewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// A guest's key.
    ///
    /// # Errors
    /// `Invalid` if it is empty or begins with [`RESERVED`], `TooLarge` over [`MAX_KEY`].
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.first() == Some(&RESERVED) {
            return Err(Error::Invalid("keys that begin with the byte 0xFF are reserved".into()));
        }
        Self::any(bytes)
    }

    /// A key that may also be one of the host's own.
    ///
    /// # Errors
    /// `Invalid` if it is empty, `TooLarge` over [`MAX_KEY`].
    pub fn any(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        match bytes.len() {
            0 => Err(Error::Invalid("a key has at least 1 byte".into())),
            1..=MAX_KEY => Ok(Self(bytes)),
            len => Err(Error::TooLarge(format!("a key has at most {MAX_KEY} bytes, not {len}"))),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, without copying.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// Changes with every write of an entry and never comes back for the same key; compare for
/// equality only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(pub u64);

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Bytes,
    /// The version that wrote it.
    pub version: Version,
}

/// Keys from `start` (included) to `end` (excluded). Built from a guest's range by [`Range::new`],
/// which folds the prefix into the bounds, so engines see bounds only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    /// The first key, included.
    pub start: Option<Bytes>,
    /// The end, excluded.
    pub end: Option<Bytes>,
}

impl Range {
    /// The keys that are in all of: those beginning with `prefix`, those from `start`, those
    /// before `end`.
    #[must_use]
    pub fn new(prefix: Option<Bytes>, start: Option<Bytes>, end: Option<Bytes>) -> Self {
        let Some(prefix) = prefix else { return Self { start, end } };
        let prefix_end = successor(&prefix);
        let start = Some(start.map_or_else(|| prefix.clone(), |start| start.max(prefix.clone())));
        let end = match (end, prefix_end) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { start, end }
    }

    /// The keys beginning with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        Self::new(Some(prefix.into()), None, None)
    }

    /// The part of it that guests may see: without the keys that begin with [`RESERVED`].
    #[must_use]
    pub fn without_reserved(mut self) -> Self {
        let reserved = Bytes::from_static(&[RESERVED]);
        self.end = Some(self.end.map_or_else(|| reserved.clone(), |end| end.min(reserved.clone())));
        self
    }

    /// True if no key can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!((&self.start, &self.end), (Some(start), Some(end)) if start >= end)
    }

    /// The rest of this range after `last`, the last key a page ended with. Never more than the
    /// range itself, because cursors come back from guests.
    #[must_use]
    pub fn after(mut self, last: &[u8], reverse: bool) -> Self {
        if reverse {
            let end = Bytes::copy_from_slice(last);
            self.end = Some(self.end.map_or(end.clone(), |bound| bound.min(end)));
        } else {
            let start = Bytes::from([last, &[0]].concat());
            self.start = Some(self.start.map_or(start.clone(), |bound| bound.max(start)));
        }
        self
    }
}

/// The smallest byte string greater than all that begin with `prefix`; none if there is no such.
fn successor(prefix: &[u8]) -> Option<Bytes> {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes.into());
        }
    }
    None
}

/// What to list.
#[derive(Debug, Clone)]
pub struct List {
    /// Which keys.
    pub range: Range,
    /// At most so many entries, 1 to [`MAX_PAGE`].
    pub limit: usize,
    /// Descending instead of ascending.
    pub reverse: bool,
    /// The key that the previous page ended with.
    pub cursor: Option<Bytes>,
}

/// Part of a listing.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// In the order asked for.
    pub entries: Vec<Entry>,
    /// Set when there may be more: the last entry's key.
    pub cursor: Option<Bytes>,
}

/// A condition of a commit.
#[derive(Debug, Clone)]
pub struct Check {
    /// The key to look at.
    pub key: Key,
    /// The version it must have; `None`: it must not exist.
    pub version: Option<Version>,
}

/// One step of a commit.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Writes an entry, replacing value, version and time-to-live.
    Set {
        /// Where.
        key: Key,
        /// What.
        value: Bytes,
        /// After this time the entry is gone.
        time_to_live: Option<Duration>,
    },
    /// Removes an entry if it exists.
    Delete {
        /// Which.
        key: Key,
    },
    /// Adds to a counter kept as decimal text; a missing entry counts as 0. Keeps the entry's
    /// time-to-live. `Invalid` if the value is not such a number or the sum leaves 64 bits.
    Add {
        /// Which.
        key: Key,
        /// How much.
        delta: i64,
    },
    /// Publishes a message if and only if the commit is applied.
    Publish(Publication),
}

/// Checks and operations, applied all or not at all.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// All must hold.
    pub checks: Vec<Check>,
    /// Applied in order; later ones see earlier ones.
    pub operations: Vec<Operation>,
}

impl Commit {
    /// Refuses a commit beyond the contract's limits.
    ///
    /// # Errors
    /// `TooLarge` or `Invalid`, saying what.
    pub fn validate(&self, max_value: usize) -> Result<()> {
        if self.checks.len() > MAX_COMMIT || self.operations.len() > MAX_COMMIT {
            return Err(Error::TooLarge(format!(
                "a commit has at most {MAX_COMMIT} checks and {MAX_COMMIT} operations"
            )));
        }
        let mut total = 0_usize;
        for operation in &self.operations {
            let size = match operation {
                Operation::Set { key, value, .. } => {
                    if value.len() > max_value {
                        return Err(Error::TooLarge(format!(
                            "a value has at most {max_value} bytes, not {}",
                            value.len()
                        )));
                    }
                    key.as_bytes().len().saturating_add(value.len())
                }
                Operation::Delete { key } | Operation::Add { key, .. } => key.as_bytes().len(),
                Operation::Publish(publication) => {
                    publication.message.validate().map_err(|error| Error::Publish(Box::new(error)))?;
                    publication.message.body.len()
                }
            };
            total = total.saturating_add(size);
        }
        if total > MAX_COMMIT_BYTES {
            return Err(Error::TooLarge(format!("a commit has at most {MAX_COMMIT_BYTES} bytes, not {total}")));
        }
        Ok(())
    }
}

/// What an applied commit answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The version of every entry it wrote.
    pub version: Version,
    /// One for each publication, in order.
    pub messages: Vec<MessageId>,
}

/// What a back-end can do natively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// It applies [`Operation::Publish`] in its own transaction. Without it such a commit answers
    /// `Invalid`, and [`crate::outbox::Outbox`] provides it.
    pub publish: bool,
}

/// A label's store.
#[async_trait]
pub trait Store: Send + Sync {
    /// What it can do natively.
    fn capabilities(&self) -> Capabilities;

    /// The entry; none if the key is missing or expired.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    async fn get(&self, key: &Key) -> Result<Option<Entry>>;

    /// One page, a consistent snapshot; at least one entry if the range has one.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    async fn list(&self, list: List) -> Result<Page>;

    /// Applies a commit whole, durably, or not at all.
    ///
    /// # Errors
    /// `Conflict` if a check does not hold, `Invalid` for a counter that cannot be added to,
    /// `Publish` for a refused publication, `Unavailable`, `Internal`.
    async fn commit(&self, commit: Commit) -> Result<Committed>;
}

/// The sum a counter has after an `add`, as it is stored.
///
/// The encoding belongs to the contract: canonical decimal text on every engine.
///
/// # Errors
/// `Invalid` if `current` is not a decimal 64-bit number or the sum leaves 64 bits.
pub fn add(current: Option<&[u8]>, delta: i64) -> Result<Bytes> {
    let current: i64 = match current {
        None => 0,
        Some(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::Invalid("the entry is not a counter".into()))?,
    };
    let sum = current.checked_add(delta).ok_or_else(|| Error::Invalid("the counter would leave 64 bits".into()))?;
    Ok(Bytes::from(sum.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(prefix: &'static [u8]) -> Range {
        Range::prefix(prefix)
    }

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(range(b"ab").end.as_deref(), Some(&b"ac"[..]));
        assert_eq!(range(b"a\xff").end.as_deref(), Some(&b"b"[..]));
        assert_eq!(range(b"\xff\xff").end, None);
    }

    #[test]
    fn a_prefix_narrows_the_bounds() {
        let range = Range::new(Some("b".into()), Some("a".into()), Some("bz".into()));
        assert_eq!((range.start.as_deref(), range.end.as_deref()), (Some(&b"b"[..]), Some(&b"bz"[..])));
        assert!(Range::new(Some("b".into()), Some("c".into()), None).is_empty());
    }

    #[test]
    fn a_cursor_narrows_the_range_and_never_widens_it() {
        let range = Range { start: Some("b".into()), end: Some("y".into()) };
        assert_eq!(range.clone().after(b"c", false).start.as_deref(), Some(&b"c\0"[..]));
        assert_eq!(range.clone().after(b"c", true).end.as_deref(), Some(&b"c"[..]));
        assert_eq!(range.clone().after(b"a", false), range);
        assert_eq!(range.clone().after(b"\xff\xff", true), range);
    }

    #[test]
    fn keys_are_valid_by_construction() {
        assert!(Key::new("").is_err());
        assert!(Key::new(vec![0xFF, 1]).is_err());
        assert!(Key::new(vec![1; MAX_KEY]).is_ok());
        assert!(Key::new(vec![1; MAX_KEY + 1]).is_err());
    }

    #[test]
    fn counters_are_checked_decimal_text() {
        assert_eq!(add(None, -3).unwrap(), "-3");
        assert_eq!(add(Some(b"40"), 2).unwrap(), "42");
        assert!(add(Some(b"forty"), 2).is_err());
        assert!(add(Some(i64::MAX.to_string().as_bytes()), 1).is_err());
    }
}
