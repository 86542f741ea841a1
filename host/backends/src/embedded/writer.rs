//! The one writer: a thread that applies the requests waiting for it in one transaction, makes
//! that durable with one fsync, and answers them all. While it waits for the disk the next requests
//! gather, so the more callers there are the more share an fsync.
//!
//! Each request is atomic on its own: it looks before it writes, sees what the requests before it
//! did, and one that is refused has written nothing. A fault of the store aborts the transaction,
//! and all its requests answer `Unavailable`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use fjall::{Readable as _, SingleWriterTxKeyspace as Table, SingleWriterWriteTx, Slice};
use tessera_capability::queue::Group;
use tessera_capability::time::Timestamp;
use tessera_capability::{Error, Result};
use tokio::sync::{mpsc, oneshot};

use super::core::Core;
use super::fault::{Fault, Step};
use super::queue::{Expired, Queues};
use super::record;
use super::tables::{self, Expiring, SEQUENCES, Sequences, Tables};

/// How many requests may wait; further callers wait for room.
const WAITING: usize = 256;
/// A transaction takes no further request when it has so many…
const MAX_REQUESTS: usize = 256;
/// …or has written so many bytes.
const MAX_BYTES: usize = 8 << 20;

type Answer = Box<dyn FnOnce() + Send>;
type Request = Box<dyn FnOnce(&mut Batch<'_>) -> Result<Answer, Fault> + Send>;
type Effect = Box<dyn FnOnce(&mut Queues, Timestamp)>;

/// A transaction being put together.
pub(super) struct Batch<'a> {
    pub core: &'a Core,
    pub tables: &'a Tables,
    /// When the current request is applied.
    pub now: Timestamp,
    pub sequences: &'a mut Sequences,
    /// Messages this transaction adds to groups, beyond those the groups in memory hold.
    pub added: HashMap<Group, u64>,
    /// Failures this transaction writes down.
    pub expired: Vec<(Group, Expired)>,
    tx: SingleWriterWriteTx<'a>,
    effects: Vec<Effect>,
    bytes: usize,
}

impl Batch<'_> {
    pub(super) fn get(&self, table: &Table, key: &[u8]) -> Result<Option<Slice>, Fault> {
        Ok(self.tx.get(table, key)?)
    }

    pub(super) fn insert(&mut self, table: &Table, key: &[u8], value: &[u8]) {
        self.bytes = self.bytes.saturating_add(key.len()).saturating_add(value.len());
        self.tx.insert(table, key, value);
    }

    pub(super) fn remove(&mut self, table: &Table, key: &[u8]) {
        self.bytes = self.bytes.saturating_add(key.len());
        self.tx.remove(table, key);
    }

    /// The first key with a prefix.
    pub(super) fn first(&self, table: &Table, prefix: &[u8]) -> Result<Option<Slice>, Fault> {
        self.tx.prefix(table, prefix).next().map(fjall::Guard::key).transpose().map_err(Fault::from)
    }

    /// Up to `limit` keys in a range.
    pub(super) fn keys(&self, table: &Table, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Slice>, Fault> {
        let keys = self.tx.range(table, from..to).take(limit).map(fjall::Guard::key);
        keys.collect::<Result<_, _>>().map_err(Fault::from)
    }

    /// Has the sweep look at a row after `at`.
    pub(super) fn expire(&mut self, at: Timestamp, what: Expiring, row: &[u8]) {
        self.core.swept.fetch_min(at.0, Ordering::Relaxed);
        let tables = self.tables;
        self.insert(&tables.expiry, &tables::expiring(at, what, row), &[]);
    }

    /// What to do to the queues in memory once the transaction is durable.
    pub(super) fn after(&mut self, effect: impl FnOnce(&mut Queues, Timestamp) + 'static) {
        self.effects.push(Box::new(effect));
    }
}

/// Where requests go. Clones lead to the same writer.
#[derive(Clone)]
pub(super) struct Requests(mpsc::Sender<Request>);

fn closed() -> Error {
    Error::Unavailable { message: "the embedded engine is closed".into(), source: None }
}

fn aborted() -> Error {
    Error::Unavailable { message: "the embedded store could not write; the log has the cause".into(), source: None }
}

fn request<T: Send + 'static>(
    step: impl FnOnce(&mut Batch<'_>) -> Step<T> + Send + 'static,
) -> (Request, oneshot::Receiver<Result<T>>) {
    let (sender, receiver) = oneshot::channel();
    let request: Request = Box::new(move |batch| {
        let answer = step(batch)?;
        Ok(Box::new(move || {
            // A caller that went away needs no answer.
            let _gone = sender.send(answer);
        }))
    });
    (request, receiver)
}

impl Requests {
    /// Applies a step; its answer comes when it is durable.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Batch<'_>) -> Step<T> + Send + 'static,
    ) -> Result<T> {
        let (request, answer) = request(step);
        self.0.send(request).await.map_err(|_| closed())?;
        answer.await.map_err(|_| aborted())?
    }

    /// Like [`Self::run`], for a thread that may block.
    pub(super) fn run_blocking<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Batch<'_>) -> Step<T> + Send + 'static,
    ) -> Result<T> {
        let (request, answer) = request(step);
        self.0.blocking_send(request).map_err(|_| closed())?;
        answer.blocking_recv().map_err(|_| aborted())?
    }

    /// Has the writer notice that it is to stop.
    pub(super) fn nudge(&self) {
        // If there is no room the writer is awake.
        let _full = self.0.try_send(request(|_| Ok(Ok(()))).0);
    }
}

/// Starts the writer. It ends when `core.stopping` is set and no request waits.
pub(super) fn start(core: Arc<Core>, mut sequences: Sequences) -> std::io::Result<(Requests, JoinHandle<()>)> {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let thread = thread::Builder::new().name("embedded-writer".into()).spawn(move || {
        while let Some(first) = receiver.blocking_recv() {
            for answer in transaction(&core, &mut sequences, first, &mut receiver) {
                answer();
            }
            if core.stopping.load(Ordering::Acquire) && receiver.is_empty() {
                return;
            }
        }
    })?;
    Ok((Requests(sender), thread))
}

/// Applies `first` and what else waits; the answers are due once this returns.
fn transaction(
    core: &Core,
    sequences: &mut Sequences,
    first: Request,
    waiting: &mut mpsc::Receiver<Request>,
) -> Vec<Answer> {
    let mut batch = Batch {
        core,
        tables: &core.tables,
        now: core.now(),
        sequences,
        added: HashMap::new(),
        expired: Vec::new(),
        tx: core.tables.begin(),
        effects: Vec::new(),
        bytes: 0,
    };
    let mut answers = Vec::new();
    let mut next = Some(first);
    while let Some(request) = next {
        batch.now = core.now();
        match request(&mut batch) {
            Ok(answer) => answers.push(answer),
            Err(fault) => return abort(core, batch.expired, &fault),
        }
        let full = answers.len() >= MAX_REQUESTS || batch.bytes >= MAX_BYTES;
        next = if full { None } else { waiting.try_recv().ok() };
    }
    let Batch { mut tx, effects, expired, sequences, bytes, .. } = batch;
    if bytes > 0 {
        let written = record::encode(sequences).and_then(|record| {
            tx.insert(&core.tables.meta, SEQUENCES, record);
            tx.commit().map_err(Fault::from)
        });
        if let Err(fault) = written {
            return abort(core, expired, &fault);
        }
    }
    let now = core.now();
    let mut queues = core.queues();
    for effect in effects {
        effect(&mut queues, now);
    }
    core.rearm(queues);
    answers
}

/// The requests' answers are dropped, which tells their callers.
fn abort(core: &Core, expired: Vec<(Group, Expired)>, fault: &Fault) -> Vec<Answer> {
    tracing::error!(error = %fault, "the embedded store could not apply a transaction");
    core.queues().abort(expired, core.now());
    Vec::new()
}
