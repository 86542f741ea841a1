//! Publishing from within a commit where the store and the queues are on different engines: the
//! transactional outbox.
//!
//! The publication is written into the store by the same commit, under a key that guests cannot
//! see, and passed on to the broker afterwards: at once by the committing call, or by
//! [`Outbox::relay`] if that was cut off. Passing on twice is harmless: the publication carries its
//! message id. So a message is published if and only if its commit was applied.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::kv::{self, Capabilities, Commit, Committed, Entry, Key, List, Operation, Page, Range};
use crate::queue::{Broker, MessageId, Publication};
use crate::time::Clock;
use crate::{Error, Result};

/// Where pending publications stand, followed by the time and the message id.
const PREFIX: &[u8] = b"\xFFoutbox/";

/// A [`kv::Store`] that can publish to any broker.
pub struct Outbox {
    store: Arc<dyn kv::Store>,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
}

impl Outbox {
    /// Publications of `store`'s commits go to `broker`.
    pub fn new(store: Arc<dyn kv::Store>, broker: Arc<dyn Broker>, clock: Arc<dyn Clock>) -> Self {
        Self { store, broker, clock }
    }

    /// Passes on what earlier calls could not, in the order it was committed, and answers how many.
    /// Call it at start and from time to time.
    ///
    /// # Errors
    /// The first refusal; what was not passed on stays for the next call.
    pub async fn relay(&self) -> Result<usize> {
        let mut relayed = 0_usize;
        let mut cursor = None;
        loop {
            let list = List { range: Range::prefix(PREFIX), limit: 100, reverse: false, cursor };
            let page = self.store.list(list).await?;
            for entry in page.entries {
                let publication = postcard::from_bytes(&entry.value)
                    .map_err(|error| Error::internal("read a pending publication", error))?;
                self.pass_on(entry.key, publication).await?;
                relayed = relayed.saturating_add(1);
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(relayed);
            }
        }
    }

    async fn pass_on(&self, key: Key, publication: Publication) -> Result<()> {
        self.broker.publish(publication).await?;
        self.store.commit(Commit { checks: vec![], operations: vec![Operation::Delete { key }] }).await?;
        Ok(())
    }

    /// Gives the publication an id and writes it down.
    fn pending(&self, index: usize, mut publication: Publication) -> Result<(Key, Publication, Bytes)> {
        let id = publication.id.get_or_insert_with(|| MessageId(format!("{:032x}", rand::random::<u128>())));
        let name = format!("{:016x}-{index:03}-{id}", self.clock.now().0);
        let key = Key::any([PREFIX, name.as_bytes()].concat())?;
        let record =
            postcard::to_stdvec(&publication).map_err(|error| Error::internal("write a pending publication", error))?;
        Ok((key, publication, record.into()))
    }
}

#[async_trait]
impl kv::Store for Outbox {
    fn capabilities(&self) -> Capabilities {
        Capabilities { publish: true }
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        self.store.get(key).await
    }

    async fn list(&self, list: List) -> Result<Page> {
        self.store.list(list).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let mut operations = Vec::with_capacity(commit.operations.len());
        let mut pending = Vec::new();
        for (index, operation) in commit.operations.into_iter().enumerate() {
            let Operation::Publish(publication) = operation else {
                operations.push(operation);
                continue;
            };
            let refused = |error| Error::Publish(Box::new(error));
            if !self.broker.subscribed(&publication.queue).await.map_err(refused)? {
                return Err(refused(Error::NotFound(format!("no group subscribes to `{}`", publication.queue))));
            }
            let (key, publication, record) = self.pending(index, publication)?;
            operations.push(Operation::Set { key: key.clone(), value: record, time_to_live: None });
            pending.push((key, publication));
        }
        let mut committed = self.store.commit(Commit { checks: commit.checks, operations }).await?;
        committed.messages = pending.iter().filter_map(|(_, publication)| publication.id.clone()).collect();
        for (key, publication) in pending {
            // The commit is applied whatever happens now; `relay` makes up for a failure here.
            if self.pass_on(key, publication).await.is_err() {
                break;
            }
        }
        Ok(committed)
    }
}
