//! What the engine's handles and threads share.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tessera_capability::time::{Clock, Timestamp};

use super::queue::{LeaseFile, Queues};
use super::tables::Tables;

pub(super) struct Core {
    pub clock: Arc<dyn Clock>,
    pub tables: Tables,
    pub leases: LeaseFile,
    queues: Mutex<Queues>,
    /// Tells the timer that [`Queues::armed`] is too late.
    pub timer: Condvar,
    /// Set once, by whoever closes the engine.
    pub stopping: AtomicBool,
    /// Nothing in the expiry table is earlier, in milliseconds: rows before it are removed ones,
    /// which a scan from the table's beginning would have to step over.
    pub swept: AtomicU64,
}

impl Core {
    pub(super) fn new(clock: Arc<dyn Clock>, tables: Tables, leases: LeaseFile, queues: Queues) -> Self {
        Self {
            clock,
            tables,
            leases,
            queues: Mutex::new(queues),
            timer: Condvar::new(),
            stopping: AtomicBool::new(false),
            swept: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The queues in memory. Held for moments only: no disk is touched under this lock.
    pub(super) fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the lock, and has the timer look earlier where that is needed.
    pub(super) fn rearm(&self, queues: MutexGuard<'_, Queues>) {
        if queues.is_late() {
            self.timer.notify_one();
        }
    }
}
