//! The embedded engine: key-value and queues in one store on local disk, for one process.
//!
//! - `tables`, `record`: what is on disk.
//! - `writer`: the one writer and its group commit.
//! - `kv`, `queue`: the contracts on top.
//! - `timer`: what happens by itself when its time has come.
//!
//! **The store is fjall**, a log-structured merge tree. It was measured against redb 4 (a
//! copy-on-write B-tree) and SQLite (write-ahead log, full sync) behind this same group-commit
//! writer, two rows to a commit, each transaction fsynced. Commits per second with 1, 16 and 64
//! callers, as multiples of a loop that appends 100 bytes and calls `fdatasync`: fjall 1.3, 5.7,
//! 12.6; redb 0.6, 2.2, 4.4; SQLite 0.9, 3.3, 4.2; appending alone, the bound for all, 0.9, 7.5, 16.
//! A commit here is one append to a log and one fsync, where a B-tree writes whole pages; and after
//! a crash only the log's tail is read, where redb walks the whole file.
//!
//! Durability: what `commit` and `publish` answered is on disk, and nothing is visible to anybody
//! before it is. Readers see snapshots and never wait for the writer.

mod core;
mod fault;
mod kv;
mod queue;
mod record;
mod tables;
mod timer;
mod writer;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tessera_capability::queue::Broker;
use tessera_capability::time::Clock;
use tessera_capability::{Error, Result, kv as contract};

use self::core::Core;
use self::tables::Tables;
use self::writer::Requests;

/// An open store. Handles made from it keep it open; it closes when the last is gone, or by
/// [`Engine::close`].
#[derive(Clone)]
pub struct Engine(Arc<Handle>);

/// What keeps the engine running; its end stops the threads.
struct Handle {
    core: Arc<Core>,
    requests: Requests,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Opens the store in `dir`, creating both if they do not exist, for this process alone. What
    /// an earlier process had leased and not settled is deliverable again at once, as the next
    /// attempt.
    ///
    /// Blocks on the disk; takes the longer the more messages wait in the queues.
    ///
    /// # Errors
    /// `Unavailable` if another process uses `dir` or it cannot be read or written, `Internal` if
    /// the store is damaged.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let cannot = |error: std::io::Error| {
            Error::unavailable(format!("cannot open the embedded store in `{}`", dir.display()), error)
        };
        std::fs::create_dir_all(dir).map_err(cannot)?;
        let tables = Tables::open(&dir.join("store")).map_err(|error| match error {
            fjall::Error::Locked => Error::unavailable(
                format!("another tessera already uses `{}`: stop it, or choose another --state-dir", dir.display()),
                error,
            ),
            error => {
                Error::unavailable(format!("cannot open the embedded store in `{}`: {error}", dir.display()), error)
            }
        })?;
        let (leases, left) = queue::LeaseFile::open(&dir.join("leases")).map_err(cannot)?;
        // The names of new files last, too.
        std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(cannot)?;
        let queues = queue::load(&tables, &leases, &left, clock.now())?;
        let sequences = tables.sequences()?;
        let core = Arc::new(Core::new(clock, tables, leases, queues));
        let (requests, writer) = writer::start(Arc::clone(&core), sequences).map_err(cannot)?;
        let timer = timer::start(Arc::clone(&core), requests.clone()).map_err(cannot)?;
        Ok(Self(Arc::new(Handle { core, requests, threads: Mutex::new(vec![timer, writer]) })))
    }

    /// The store of a label; labels do not see each other's keys.
    #[must_use]
    pub fn store(&self, label: &str) -> Arc<dyn contract::Store> {
        Arc::new(kv::EmbeddedStore { handle: Arc::clone(&self.0), label: label.into() })
    }

    /// The queues.
    #[must_use]
    pub fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(queue::EmbeddedBroker(Arc::clone(&self.0)))
    }

    /// Stops the engine after the requests that wait; later ones answer `Unavailable`. The
    /// directory is free for another process when all stores and brokers are dropped, too.
    pub async fn close(self) {
        let handle = Arc::clone(&self.0);
        if tokio::task::spawn_blocking(move || handle.stop()).await.is_err() {
            tracing::error!("a thread of the embedded engine panicked");
        }
    }
}

impl Handle {
    fn stop(&self) {
        self.core.stopping.store(true, Ordering::Release);
        // The timer looks at the flag under this lock before it sleeps.
        drop(self.core.queues());
        self.core.timer.notify_all();
        self.requests.nudge();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the embedded engine panicked");
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs what reads the disk on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal("read the embedded store", error))?
}
