//! The key-value store: per label a hash of entries, a sorted set as their ordered index, a sorted
//! set of those that expire, and a counter of versions.
//!
//! Expired entries are invisible from their time on, because every script compares it with the
//! server's clock; later commits and listings sweep them. Versions count the label's commits, so
//! that none comes back after a delete.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Script, Value};
use tessera_capability::kv::{
    Capabilities, Commit, Committed, Entry, Key, List, MAX_PAGE, MAX_PAGE_BYTES, Operation, Page, Version,
};
use tessera_capability::{Error, Result, kv};

use super::connection::Connection;
use super::reply::Parts;

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("kv/common.lua"), include_str!($file))))
    };
}

static GET: LazyLock<Script> = script!("kv/get.lua");
static LIST: LazyLock<Script> = script!("kv/list.lua");
static COMMIT: LazyLock<Script> = script!("kv/commit.lua");

/// Times beyond this many milliseconds (100,000 years) are cut, so that Lua's doubles hold the sum.
const MAX_TIME: u128 = 100_000 * 365 * 86_400_000;

/// A label's store.
pub(super) struct Store {
    connection: Connection,
    keys: [String; 5],
}

impl Store {
    pub(super) fn new(connection: Connection, namespace: &str, label: &str) -> Self {
        let keys = ["entries", "index", "expiry", "version", "scratch"]
            .map(|name| format!("{{{namespace}:kv:{label}}}:{name}"));
        Self { connection, keys }
    }

    async fn run(&self, script: &Script, doing: &str, arguments: &[&[u8]]) -> Result<Value> {
        let keys = self.keys.each_ref().map(String::as_str);
        self.connection.run(script, doing, &keys, arguments).await
    }
}

/// At least 1 millisecond: an entry does not vanish before its time.
fn milliseconds(duration: Duration) -> String {
    duration.as_nanos().div_ceil(1_000_000).min(MAX_TIME).to_string()
}

/// A bound as `ZRANGE … BYLEX` takes it.
fn bound(kind: u8, key: Option<&Bytes>, open: &[u8]) -> Vec<u8> {
    key.map_or_else(|| open.to_vec(), |key| [&[kind], &key[..]].concat())
}

#[async_trait]
impl kv::Store for Store {
    fn capabilities(&self) -> Capabilities {
        Capabilities { publish: false }
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        let answer = self.run(&GET, "get", &[key.as_bytes()]).await?;
        if answer == Value::Nil {
            return Ok(None);
        }
        let mut parts = Parts::new(answer)?;
        let version = Version(parts.number()?);
        Ok(Some(Entry { key: key.clone(), value: parts.bytes()?, version }))
    }

    async fn list(&self, list: List) -> Result<Page> {
        let range = match &list.cursor {
            Some(cursor) => list.range.after(cursor, list.reverse),
            None => list.range,
        };
        if range.is_empty() {
            return Ok(Page::default());
        }
        let start = bound(b'[', range.start.as_ref(), b"-");
        let end = bound(b'(', range.end.as_ref(), b"+");
        let (from, to, reverse): (_, _, &[u8]) = if list.reverse { (end, start, b"1") } else { (start, end, b"0") };
        let limit = list.limit.clamp(1, MAX_PAGE).to_string();
        let bytes = MAX_PAGE_BYTES.to_string();
        let arguments = [&from[..], &to, reverse, limit.as_bytes(), bytes.as_bytes()];
        let mut parts = Parts::new(self.run(&LIST, "list", &arguments).await?)?;
        let more = parts.text()? == "1";
        let mut entries = Vec::new();
        while !parts.is_empty() {
            let key = Key::any(parts.bytes()?)?;
            let version = Version(parts.number()?);
            entries.push(Entry { key, value: parts.bytes()?, version });
        }
        let cursor = entries.last().filter(|_| more).map(|entry| entry.key.clone().into_bytes());
        Ok(Page { entries, cursor })
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let mut arguments: Vec<Bytes> =
            vec![commit.checks.len().to_string().into(), commit.operations.len().to_string().into()];
        for check in commit.checks {
            arguments.push(check.key.into_bytes());
            arguments.push(check.version.map(|version| version.0.to_string()).unwrap_or_default().into());
        }
        for operation in commit.operations {
            match operation {
                Operation::Set { key, value, time_to_live } => {
                    let time_to_live = time_to_live.map(milliseconds).unwrap_or_default();
                    arguments.extend(["s".into(), key.into_bytes(), value, time_to_live.into()]);
                }
                Operation::Delete { key } => arguments.extend(["d".into(), key.into_bytes()]),
                Operation::Add { key, delta } => {
                    arguments.extend(["a".into(), key.into_bytes(), delta.to_string().into()]);
                }
                Operation::Publish(_) => {
                    return Err(Error::Invalid("a Redis store cannot publish in a commit by itself".into()));
                }
            }
        }
        let arguments: Vec<&[u8]> = arguments.iter().map(|argument| &argument[..]).collect();
        let mut parts = Parts::new(self.run(&COMMIT, "commit", &arguments).await?)?;
        match parts.text()?.as_str() {
            "ok" => Ok(Committed { version: Version(parts.number()?), messages: vec![] }),
            "conflict" => Err(Error::Conflict),
            _ => Err(Error::Invalid(parts.text()?)),
        }
    }
}
