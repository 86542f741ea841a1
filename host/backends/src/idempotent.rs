//! Idempotency keys for senders that have no memory of their own, kept in a key-value store.
//!
//! A call claims its key, sends, and then writes down that it did. A claim keeps other calls
//! waiting, and ends by itself, so that one whose process died does not stand for ever. Only a
//! crash between the server's answer and the note sends a message twice; its `Message-ID` is the
//! same both times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tessera_capability::kv::{self, Check, Commit, Key, Operation, Version};
use tessera_capability::mail::{IDEMPOTENCY_WINDOW, Message, Receipt, Sender};
use tessera_capability::{Error, Result};

use crate::message::fingerprint;

/// Where the notes stand, followed by the fingerprint of scope and key.
const PREFIX: &[u8] = b"\xFFmail/";
/// For how long a key that was sent is remembered: the contract's time and a day.
const REMEMBER: Duration = IDEMPOTENCY_WINDOW.saturating_add(Duration::from_secs(24 * 3600));
/// How much longer a claim stands than sending may take.
const MARGIN: Duration = Duration::from_secs(30);
/// How often a call that waits for another one's claim looks.
const POLL: Duration = Duration::from_millis(50);
/// The note of a claim; any other note is the `Message-ID` of what was sent.
const CLAIMED: &[u8] = b"";

/// Sends a message with an idempotency key once.
pub struct Idempotent<S> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    sender: S,
    store: Arc<dyn kv::Store>,
    limit: Duration,
}

impl<S: Sender> Idempotent<S> {
    /// `sender` may take up to `limit` for a message; keys are remembered in `store`.
    pub fn new(sender: S, store: Arc<dyn kv::Store>, limit: Duration) -> Self {
        Self { inner: Arc::new(Inner { sender, store, limit }) }
    }
}

impl<S: Sender> Inner<S> {
    /// Sends within the time limit.
    async fn send_in_time(&self, scope: &str, message: Message) -> Result<Receipt> {
        match tokio::time::timeout(self.limit, self.sender.send(scope, message)).await {
            Ok(result) => result,
            Err(error) => Err(Error::unavailable("the mail server did not answer in time", error)),
        }
    }

    /// Claims a key, or answers the receipt of what was sent with it.
    async fn claim(&self, key: &Key) -> Result<Result<Version, Receipt>> {
        let deadline = Instant::now().checked_add(self.limit.saturating_add(MARGIN));
        loop {
            match self.store.get(key).await? {
                Some(entry) if entry.value != CLAIMED => {
                    let message_id = String::from_utf8(entry.value.to_vec())
                        .map_err(|error| Error::internal("read the note of a sent message", error))?;
                    return Ok(Err(Receipt { message_id, sent: false }));
                }
                Some(_) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Err(Error::Unavailable {
                        message: "another call is sending a message with this idempotency key".into(),
                        source: None,
                    });
                }
                Some(_) => tokio::time::sleep(POLL).await,
                None => {
                    let until = self.limit.saturating_add(MARGIN);
                    match self.note(key, Bytes::from_static(CLAIMED), until, Some(None)).await {
                        Ok(version) => return Ok(Ok(version)),
                        Err(Error::Conflict) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Writes a note for a while, provided that the entry has the version of `check`.
    async fn note(&self, key: &Key, value: Bytes, keep: Duration, check: Option<Option<Version>>) -> Result<Version> {
        let checks = check.map(|version| Check { key: key.clone(), version }).into_iter().collect();
        let operations = vec![Operation::Set { key: key.clone(), value, time_to_live: Some(keep) }];
        Ok(self.store.commit(Commit { checks, operations }).await?.version)
    }

    /// Gives a claim back after a failure.
    async fn release(&self, key: &Key, claim: Version) {
        let checks = vec![Check { key: key.clone(), version: Some(claim) }];
        let operations = vec![Operation::Delete { key: key.clone() }];
        match self.store.commit(Commit { checks, operations }).await {
            Ok(_) | Err(Error::Conflict) => {}
            Err(error) => tracing::warn!(%error, "the claim of an idempotency key stands until it expires"),
        }
    }

    async fn send(&self, scope: &str, message: Message, key: &Key) -> Result<Receipt> {
        let claim = match self.claim(key).await? {
            Ok(claim) => claim,
            Err(receipt) => return Ok(receipt),
        };
        match self.send_in_time(scope, message).await {
            Ok(receipt) => {
                let id = Bytes::from(receipt.message_id.clone());
                // The message is with the server: the answer is ok, whatever becomes of the note.
                if let Err(error) = self.note(key, id, REMEMBER, None).await {
                    tracing::error!(%error, "a sent message was not noted: its idempotency key may send it again");
                }
                Ok(receipt)
            }
            Err(error) => {
                self.release(key, claim).await;
                Err(error)
            }
        }
    }
}

#[async_trait]
impl<S: Sender + 'static> Sender for Idempotent<S> {
    async fn send(&self, scope: &str, message: Message) -> Result<Receipt> {
        message.validate()?;
        let Some(key) = &message.idempotency_key else { return self.inner.send_in_time(scope, message).await };
        let key = Key::any([PREFIX, fingerprint(scope, key).as_bytes()].concat())?;
        // A task of its own: a caller that goes away half-way must not leave a message that was
        // sent without its note.
        let (inner, scope) = (Arc::clone(&self.inner), scope.to_owned());
        match tokio::spawn(async move { inner.send(&scope, message, &key).await }).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("send a message", error)),
        }
    }
}
