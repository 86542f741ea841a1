//! Changes in directories, as Linux tells them (`inotify(7)`).

use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::mpsc;

/// So many changes wait to be looked at; the system keeps more.
const WAITING: usize = 1024;

/// Room for some events with their names.
const BUFFER: usize = 16 << 10;

type Directories = Arc<Mutex<HashMap<WatchDescriptor, PathBuf>>>;

/// The directories that are watched.
pub(super) struct Events {
    watches: Watches,
    directories: Directories,
    received: mpsc::Receiver<Option<PathBuf>>,
}

fn lock(directories: &Directories) -> MutexGuard<'_, HashMap<WatchDescriptor, PathBuf>> {
    directories.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Events {
    /// Watches what is directly in `directories` from now on.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn of(directories: &BTreeSet<PathBuf>) -> io::Result<Self> {
        let mut inotify = Inotify::init()?;
        let (send, received) = mpsc::channel(WAITING);
        let mut events = Self { watches: inotify.watches(), directories: Directories::default(), received };
        events.add(directories)?;
        let names = Arc::clone(&events.directories);
        std::thread::Builder::new().name("watch".into()).spawn(move || {
            let mut buffer = vec![0; BUFFER];
            loop {
                let happened = match inotify.read_events_blocking(&mut buffer) {
                    Ok(happened) => happened,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => {
                        tracing::error!(%error, "changes of files are no longer seen");
                        return;
                    }
                };
                for event in happened {
                    let path = if event.mask.contains(EventMask::Q_OVERFLOW) {
                        None
                    } else {
                        let directory = lock(&names).get(&event.wd).cloned();
                        let Some((directory, name)) = directory.zip(event.name) else { continue };
                        Some(directory.join(name))
                    };
                    if send.blocking_send(path).is_err() {
                        return;
                    }
                }
            }
        })?;
        Ok(events)
    }

    /// Watches these too. Those that are not there are left out.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn add(&mut self, directories: &BTreeSet<PathBuf>) -> io::Result<()> {
        // A file that is being written is not whole before it is closed.
        let mask = WatchMask::CLOSE_WRITE | WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
        for directory in directories {
            match self.watches.add(directory, mask | WatchMask::ONLYDIR) {
                Ok(watch) => drop(lock(&self.directories).insert(watch, directory.clone())),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    return Err(io::Error::other("too many directories: raise fs.inotify.max_user_watches"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A path where something changed; `Some(None)`: anywhere. `None` if no more can be known.
    pub(super) async fn next(&mut self) -> Option<Option<PathBuf>> {
        self.received.recv().await
    }
}
