//! A thread that does what is due: makes delayed messages and those of leases that ran out
//! available, writes such failures down, and removes expired rows, a bounded number at a time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fjall::Readable as _;
use tessera_capability::Result;
use tessera_capability::time::Timestamp;

use super::core::Core;
use super::fault::{Fault, Step};
use super::record;
use super::tables::{self, Expiring, Seen, ValueHeader};
use super::writer::{Batch, Requests};

/// The longest sleep: the wall clock may be set, and expired rows pile up.
const MAX_SLEEP: Duration = Duration::from_secs(5);
/// At most so many expired rows are removed in one transaction.
const SWEEP: usize = 500;

/// Starts the timer. It ends when `core.stopping` is set.
pub(super) fn start(core: Arc<Core>, requests: Requests) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("embedded-timer".into()).spawn(move || {
        while !core.stopping.load(Ordering::Acquire) {
            let done = sweep_all(&core, &requests);
            let mut queues = core.queues();
            let now = core.now();
            let next = queues.advance(now).unwrap_or(Timestamp(u64::MAX)).min(now.saturating_add(MAX_SLEEP));
            if done.is_ok() && queues.has_expired() {
                drop(queues);
                if requests.run_blocking(|batch| super::queue::write_expired(batch).map(Ok)).is_ok() {
                    continue;
                }
                queues = core.queues();
            }
            queues.armed = next;
            if core.stopping.load(Ordering::Acquire) {
                return;
            }
            // Milliseconds are cut off, so a sleep to the very time could end before it.
            let sleep = next.saturating_since(now).saturating_add(Duration::from_millis(1));
            drop(core.timer.wait_timeout(queues, sleep).unwrap_or_else(PoisonError::into_inner));
        }
    })
}

/// Removes all expired rows, in transactions short enough not to hold up others.
fn sweep_all(core: &Core, requests: &Requests) -> Result<()> {
    while has_expired_rows(core) {
        requests.run_blocking(sweep)?;
    }
    Ok(())
}

fn has_expired_rows(core: &Core) -> bool {
    let from = core.swept.load(Ordering::Relaxed).to_be_bytes();
    let to = core.now().0.to_be_bytes();
    core.tables.db.read_tx().range(&core.tables.expiry, &from[..]..&to[..]).next().is_some()
}

/// Removes expired rows.
fn sweep(batch: &mut Batch<'_>) -> Step<()> {
    let tables = batch.tables;
    let from = batch.core.swept.load(Ordering::Relaxed).to_be_bytes();
    let rows = batch.keys(&tables.expiry, &from, &batch.now.0.to_be_bytes(), SWEEP)?;
    let mut last = None;
    for row in &rows {
        let (at, what, key) = tables::parse_expiring(row).ok_or(Fault::Missing("expiry"))?;
        last = Some(at);
        // The row may have been written again since, to live longer or for ever.
        match what {
            Expiring::Value => {
                let header: Option<ValueHeader> = batch
                    .get(&tables.kv, key)?
                    .map(|value| record::decode_prefix("value", &value).map(|(header, _)| header))
                    .transpose()?;
                if header.is_some_and(|header| header.expires == Some(at)) {
                    batch.remove(&tables.kv, key);
                }
            }
            Expiring::Seen => {
                let seen: Option<Seen> =
                    batch.get(&tables.seen, key)?.map(|seen| record::decode("seen id", &seen)).transpose()?;
                if seen.is_some_and(|seen| seen.until == at) {
                    batch.remove(&tables.seen, key);
                }
            }
        }
        batch.remove(&tables.expiry, row);
    }
    if let Some(last) = last {
        let core = batch.core;
        // Rows of the same millisecond may be left.
        core.swept.store(last.0, Ordering::Relaxed);
    }
    Ok(Ok(()))
}
