//! The tables of the store and the keys of their rows.
//!
//! Variable-length parts of a key come behind their length, so that no name is another's prefix;
//! numbers are big-endian, so that they sort.

use std::path::Path;

use fjall::{KeyspaceCreateOptions, PersistMode, Readable, SingleWriterTxDatabase, SingleWriterTxKeyspace as Table};
use serde::{Deserialize, Serialize};
use tessera_capability::queue::{Failure, Group, Message, MessageId, QueueName, Subscription};
use tessera_capability::time::Timestamp;

use super::fault::Fault;
use super::record;

/// How much of the tables is kept in memory for reading, in bytes; the operating system's page
/// cache stands behind it.
const CACHE: u64 = 32 << 20;
/// A table's unsorted latest writes go to a file of their own at this size, in bytes.
const MEMTABLE: u64 = 8 << 20;
/// The most bytes of the write-ahead log, which is read again at every start.
const JOURNAL: u64 = 128 << 20;

/// The store with its tables. Clones share it.
#[derive(Clone)]
pub(super) struct Tables {
    pub db: SingleWriterTxDatabase,
    /// (label, key) → [`ValueHeader`], then the value.
    pub kv: Table,
    /// (time, row to look at) → nothing: what to remove after that time.
    pub expiry: Table,
    /// message number → [`StoredMessage`]: stored once, however many groups receive it.
    pub messages: Table,
    /// message number → how many groups still hold it, if more than one.
    pub shares: Table,
    /// (group, message number) → [`StoredEntry`]: what a group has yet to handle.
    pub entries: Table,
    /// (group, death number) → [`StoredDeath`].
    pub dead: Table,
    /// (group, message id, death number) → nothing.
    pub dead_ids: Table,
    /// deduplication or message id → [`Seen`].
    pub seen: Table,
    /// group → [`StoredGroup`].
    pub groups: Table,
    /// [`SEQUENCES`] → [`Sequences`]; [`PAUSED`] and a group → nothing.
    pub meta: Table,
}

/// What stands before a value.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct ValueHeader {
    pub version: u64,
    pub expires: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredMessage {
    pub id: MessageId,
    pub queue: QueueName,
    pub message: Message,
    pub first_published: Timestamp,
}

/// A queue and an ordering key: what is handled one after another.
pub(super) type LaneName = (QueueName, String);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredEntry {
    /// Failed attempts.
    pub attempts: u32,
    /// How often it came back from the dead letters; attempts count from the last time.
    pub replays: u32,
    /// Not deliverable before.
    pub due: Timestamp,
    pub first_published: Timestamp,
    pub lane: Option<LaneName>,
    pub history: Vec<Failure>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredDeath {
    /// The message's number.
    pub message: u64,
    pub died: Timestamp,
    pub reason: String,
    pub entry: StoredEntry,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    pub id: MessageId,
    /// Forgotten from then on.
    pub until: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredGroup {
    /// Stands for the group where its name is too long.
    pub number: u32,
    /// None while it is not declared.
    pub subscription: Option<Subscription>,
}

/// The next numbers; a number once committed is never given again.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Sequences {
    pub version: u64,
    pub message: u64,
    pub death: u64,
    pub group: u32,
}

impl Default for Sequences {
    fn default() -> Self {
        Self { version: 1, message: 1, death: 1, group: 1 }
    }
}

/// The row of [`Tables::meta`] with the sequences.
pub(super) const SEQUENCES: &[u8] = b"sequences";
/// What the rows of [`Tables::meta`] for paused groups begin with.
pub(super) const PAUSED: &[u8] = b"paused/";

impl Tables {
    /// Opens the store at `path`, creating it if there is none.
    pub(super) fn open(path: &Path) -> Result<Self, fjall::Error> {
        let db = SingleWriterTxDatabase::builder(path).cache_size(CACHE).max_journaling_size(JOURNAL).open()?;
        let table = |name| db.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE));
        let tables = Self {
            kv: table("kv")?,
            expiry: table("expiry")?,
            messages: table("messages")?,
            shares: table("shares")?,
            entries: table("entries")?,
            dead: table("dead")?,
            dead_ids: table("dead_ids")?,
            seen: table("seen")?,
            groups: table("groups")?,
            meta: table("meta")?,
            db,
        };
        tables.db.persist(PersistMode::SyncAll)?;
        Ok(tables)
    }

    /// A transaction that is on disk when its commit returns, and not visible to readers before.
    pub(super) fn begin(&self) -> fjall::SingleWriterWriteTx<'_> {
        self.db.write_tx().durability(Some(PersistMode::SyncData))
    }

    pub(super) fn sequences(&self) -> Result<Sequences, Fault> {
        match self.db.read_tx().get(&self.meta, SEQUENCES)? {
            Some(bytes) => record::decode("sequences", &bytes),
            None => Ok(Sequences::default()),
        }
    }
}

/// A name with its length before it.
fn named(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    let mut key = length.to_be_bytes().to_vec();
    key.extend_from_slice(name);
    key
}

/// What all keys of a label or a group begin with.
pub(super) fn prefix(name: &str) -> Vec<u8> {
    named(name.as_bytes())
}

/// A row of a label or a group.
pub(super) fn row(name: &str, rest: &[u8]) -> Vec<u8> {
    let mut key = prefix(name);
    key.extend_from_slice(rest);
    key
}

/// The row of [`Tables::meta`] that says that a group is paused.
pub(super) fn paused(group: &Group) -> Vec<u8> {
    [PAUSED, group.as_str().as_bytes()].concat()
}

/// A numbered row of a group.
pub(super) fn numbered(group: &str, number: u64) -> Vec<u8> {
    row(group, &number.to_be_bytes())
}

/// The number a row's key ends with.
pub(super) fn number(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The dead letters of a group with this message id; ids have no zero byte.
pub(super) fn dead_id_prefix(group: &str, id: &MessageId) -> Vec<u8> {
    let mut key = row(group, id.0.as_bytes());
    key.push(0);
    key
}

pub(super) fn dead_id(group: &str, id: &MessageId, death: u64) -> Vec<u8> {
    let mut key = dead_id_prefix(group, id);
    key.extend_from_slice(&death.to_be_bytes());
    key
}

/// The row of [`Tables::seen`] for a deduplication id.
pub(super) fn seen_deduplication(queue: &QueueName, id: &str) -> Vec<u8> {
    row(queue.as_str(), id.as_bytes())
}

/// The row of [`Tables::seen`] for a message id; no queue's name is empty.
pub(super) fn seen_message(id: &MessageId) -> Vec<u8> {
    row("", id.0.as_bytes())
}

/// Which table a row of [`Tables::expiry`] speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiring {
    Value,
    Seen,
}

/// The row of [`Tables::expiry`] for a row of another table.
pub(super) fn expiring(at: Timestamp, what: Expiring, key: &[u8]) -> Vec<u8> {
    let mut row = at.0.to_be_bytes().to_vec();
    row.push(match what {
        Expiring::Value => 0,
        Expiring::Seen => 1,
    });
    row.extend_from_slice(key);
    row
}

/// Takes a row of [`Tables::expiry`] apart.
pub(super) fn parse_expiring(row: &[u8]) -> Option<(Timestamp, Expiring, &[u8])> {
    let (at, rest) = row.split_first_chunk()?;
    let (what, key) = rest.split_first()?;
    let what = match what {
        0 => Expiring::Value,
        1 => Expiring::Seen,
        _ => return None,
    };
    Some((Timestamp(u64::from_be_bytes(*at)), what, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_a_prefix_of_anothers_rows() {
        assert!(!row("jobs", b"x").starts_with(&prefix("job")));
        assert!(!row("ab", b"").starts_with(&prefix("a")));
    }

    #[test]
    fn numbered_rows_sort_by_number() {
        assert!(numbered("g", 9) < numbered("g", 10));
        assert!(numbered("g", 255) < numbered("g", 256));
        assert_eq!(number(&numbered("g", 256)), Some(256));
    }

    #[test]
    fn expiring_rows_sort_by_time_and_come_apart() {
        let early = expiring(Timestamp(5), Expiring::Seen, b"z");
        assert!(early < expiring(Timestamp(6), Expiring::Value, b"a"));
        assert_eq!(parse_expiring(&early), Some((Timestamp(5), Expiring::Seen, &b"z"[..])));
        assert_eq!(parse_expiring(b"short"), None);
    }
}
