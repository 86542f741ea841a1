//! The blob contract: named objects of any size, written and read as streams.
//!
//! The sentences of `wit/deps/tessera-blob` hold for every [`Store`]; the suite in
//! `conformance::blob` has a test for each.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::{Error, Result};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// The most metadata pairs.
pub const MAX_METADATA: usize = 32;
/// The most bytes of all metadata names and values together.
pub const MAX_METADATA_BYTES: usize = 2 << 10;
/// The most bytes of one `read_at`.
pub const MAX_READ: usize = 1 << 20;
/// The most objects in a page.
pub const MAX_PAGE: usize = 1000;
/// What an object is without a content type of its own.
pub const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// An object's key: 1 to [`MAX_KEY`] bytes of UTF-8 without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// A key.
    ///
    /// # Errors
    /// `Invalid` if it is empty or has a control character, `TooLarge` over [`MAX_KEY`].
    pub fn new(key: impl Into<String>) -> Result<Self> {
        let key = key.into();
        if key.len() > MAX_KEY {
            return Err(Error::TooLarge(format!("a key has at most {MAX_KEY} bytes, not {}", key.len())));
        }
        if key.is_empty() || key.chars().any(char::is_control) {
            return Err(Error::Invalid("a key has at least 1 byte and no control characters".into()));
        }
        Ok(Self(key))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(key: String) -> Result<Self> {
        Self::new(key)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

/// How to store an object.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// A media type; `None`: [`DEFAULT_CONTENT_TYPE`].
    pub content_type: Option<String>,
    /// Name and value pairs.
    pub metadata: Vec<(String, String)>,
    /// Answer `Conflict` if the key exists when the object is complete.
    pub if_absent: bool,
    /// Answer `TooLarge` as soon as the body has more bytes.
    pub max_size: Option<u64>,
}

impl PutOptions {
    /// Refuses options beyond the contract's limits.
    ///
    /// # Errors
    /// `TooLarge` or `Invalid`, saying what.
    pub fn validate(&self) -> Result<()> {
        let bytes = self
            .metadata
            .iter()
            .fold(0_usize, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()));
        if self.metadata.len() > MAX_METADATA || bytes > MAX_METADATA_BYTES {
            return Err(Error::TooLarge(format!(
                "metadata has at most {MAX_METADATA} pairs of {MAX_METADATA_BYTES} bytes altogether"
            )));
        }
        if self.content_type.as_ref().is_some_and(|kind| kind.len() > 255 || kind.chars().any(char::is_control)) {
            return Err(Error::Invalid("a content type has at most 255 bytes and no control characters".into()));
        }
        Ok(())
    }
}

/// An object's properties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Its key.
    pub key: Key,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content in lower-case hexadecimal, where the engine keeps it.
    pub sha256: Option<String>,
    /// A strong entity tag without quotes.
    pub etag: String,
    /// When it was completed.
    pub created: Timestamp,
    /// A media type.
    pub content_type: String,
    /// Name and value pairs.
    pub metadata: Vec<(String, String)>,
}

/// Part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first byte, from 0.
    pub offset: u64,
    /// How many bytes; `None`: to the end.
    pub length: Option<u64>,
}

impl Range {
    /// The bytes it stands for in an object of `size`: start and end, excluded.
    ///
    /// # Errors
    /// `Invalid` if it starts behind the end. It may start at the end, and is empty then.
    pub fn resolve(self, size: u64) -> Result<std::ops::Range<u64>> {
        if self.offset > size {
            return Err(Error::Invalid(format!("the range starts at byte {} of {size}", self.offset)));
        }
        let end = self.length.map_or(size, |length| self.offset.saturating_add(length).min(size));
        Ok(self.offset..end)
    }
}

/// Part of a listing.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// In byte order of their keys.
    pub objects: Vec<Info>,
    /// Set when there may be more; opaque.
    pub cursor: Option<String>,
}

/// An object's content as it comes: an `Err` ends it and means it is not whole.
pub type Body<'a> = BoxStream<'a, Result<Bytes>>;

/// What a back-end can do. A manifest that needs what is missing is refused at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Honours `if_absent` atomically.
    pub if_absent: bool,
    /// Answers `sha256`.
    pub sha256: bool,
}

/// A label's store.
#[async_trait]
pub trait Store: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Stores an object when `body` has ended without an error: whole, durable, or not at all.
    /// Dropping the call leaves nothing.
    ///
    /// # Errors
    /// The body's own error; `Conflict`, `TooLarge`, `Invalid`, `Unavailable`, `Internal`.
    async fn put(&self, key: &Key, options: PutOptions, body: Body<'_>) -> Result<Info>;

    /// Opens an object or a range of it. What was opened is read to its end, whatever happens to
    /// the key meanwhile.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for a range that starts behind the end, `Unavailable`, `Internal`.
    async fn get(&self, key: &Key, range: Option<Range>) -> Result<(Info, Body<'static>)>;

    /// Reads up to `length` bytes (at most [`MAX_READ`]) from `offset`; fewer only at the object's
    /// end, none behind it.
    ///
    /// # Errors
    /// `NotFound`, `TooLarge`, `Unavailable`, `Internal`.
    async fn read_at(&self, key: &Key, offset: u64, length: usize) -> Result<Bytes>;

    /// An object's properties.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`, `Internal`.
    async fn head(&self, key: &Key) -> Result<Info>;

    /// Deletes an object, durably; a missing one is no error.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// One page of the objects whose keys begin with `prefix`; `limit` is 1 to [`MAX_PAGE`].
    ///
    /// # Errors
    /// `Invalid` for a foreign cursor or limit, `Unavailable`, `Internal`.
    async fn list(&self, prefix: &str, cursor: Option<&str>, limit: usize) -> Result<Page>;

    /// Copies an object, atomically, with content type and metadata.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`, `Internal`.
    async fn copy(&self, source: &Key, destination: &Key) -> Result<Info>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_the_end() {
        let range = |offset, length| Range { offset, length }.resolve(10);
        assert_eq!(range(2, Some(3)).unwrap(), 2..5);
        assert_eq!(range(8, Some(u64::MAX)).unwrap(), 8..10);
        assert_eq!(range(10, None).unwrap(), 10..10);
        assert!(range(11, None).is_err());
    }

    #[test]
    fn keys_are_valid_by_construction() {
        assert!(Key::new("").is_err());
        assert!(Key::new("a\nb").is_err());
        assert!(Key::new("../..//é").is_ok());
        assert!(Key::new("a".repeat(MAX_KEY + 1)).is_err());
    }
}
