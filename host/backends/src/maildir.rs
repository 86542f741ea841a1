//! The embedded outbox: mail that goes nowhere, kept where any mail program can read it.
//!
//! ```text
//! <dir>/new/<id>    a message, in the maildir format; programs move what was read to cur/
//! <dir>/tmp/<id>    one being written
//! <dir>/sent/<id>   an empty file for each idempotency key, as old as its message
//! ```
//!
//! The id is made of scope and idempotency key, or random without one. A message is written to
//! `tmp` and synced; then its key is entered in `sent`, the commit point; then it moves to `new`.
//! At start, what is in `tmp` moves on if its key was entered and is removed if not. So a crash
//! at any point leaves one message or none, and deleting or moving a message does not make the
//! outbox forget its key.
//!
//! A file is as old as its message was handed over. It begins with an `X-Envelope-To` header that names every recipient: the message itself does
//! not name those of `bcc`, and whoever looks at the outbox wants to know. Lines end as Unix
//! lines do, like in every maildir.

mod reading;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use lettre::address::Envelope;
use tessera_capability::mail::{IDEMPOTENCY_WINDOW, Message, Receipt, Sender};
use tessera_capability::time::{Clock, Timestamp};
use tessera_capability::{Error, Result};

use crate::message::{Composed, Composer, fingerprint};

/// The header that names every recipient.
const ENVELOPE: &str = "X-Envelope-To";
/// How often old idempotency keys are forgotten.
const PRUNE: Duration = Duration::from_secs(3600);
/// For how long they are remembered: the contract's time and a day.
const REMEMBER: Duration = IDEMPOTENCY_WINDOW.saturating_add(Duration::from_secs(24 * 3600));

/// A maildir that takes mail and keeps it.
pub struct Outbox {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    composer: Composer,
    clock: Arc<dyn Clock>,
    /// Held while a message is stored.
    state: Arc<Mutex<State>>,
}

struct State {
    pruned: Timestamp,
    /// Keeps other processes out.
    _lock: File,
}

impl Outbox {
    /// Opens the outbox in `dir`, which is created if missing, and finishes or removes what an
    /// interrupted process has left. `from` is the sender of messages that name none. Blocks.
    ///
    /// # Errors
    /// `Invalid` if `from` is not an address, `Unavailable` if another process has it open,
    /// `Internal` if it cannot be read or written.
    pub fn open(dir: &Path, from: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        let composer = Composer::new(from)?;
        for name in ["tmp", "new", "cur", "sent"] {
            fs::create_dir_all(dir.join(name)).map_err(|error| failed("create the outbox", error))?;
        }
        let lock = File::create(dir.join(".lock")).map_err(|error| failed("lock the outbox", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Unavailable {
                    message: "the outbox is in use by another process: stop that one or choose another directory"
                        .into(),
                    source: None,
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock the outbox", error)),
        }
        let state = Arc::new(Mutex::new(State { pruned: clock.now(), _lock: lock }));
        let inner = Inner { dir: dir.to_owned(), composer, clock, state };
        inner.recover().map_err(|error| failed("recover the outbox", error))?;
        inner.prune(inner.clock.now()).map_err(|error| failed("read the outbox", error))?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The same outbox with another sender of messages that name none.
    ///
    /// # Errors
    /// `Invalid` if `from` is not an address.
    pub fn with_sender(&self, from: &str) -> Result<Self> {
        let Inner { dir, clock, state, .. } = &*self.inner;
        let composer = Composer::new(from)?;
        let inner = Inner { dir: dir.clone(), composer, clock: Arc::clone(clock), state: Arc::clone(state) };
        Ok(Self { inner: Arc::new(inner) })
    }
}

#[async_trait]
impl Sender for Outbox {
    async fn send(&self, scope: &str, message: Message) -> Result<Receipt> {
        let inner = Arc::clone(&self.inner);
        let id = message.idempotency_key.as_deref().map(|key| fingerprint(scope, key));
        let store = move || {
            let now = inner.clock.now();
            let keyed = id.is_some();
            let id = id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
            let Composed { message_id, message } = inner.composer.compose(&id, now, message)?;
            let text = file(message.envelope(), &message.formatted());
            let sent = inner.store(&id, keyed, now, &text).map_err(|error| failed("write to the outbox", error))?;
            Ok(Receipt { message_id, sent })
        };
        match tokio::task::spawn_blocking(store).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("write to the outbox", error)),
        }
    }
}

impl Inner {
    fn path(&self, part: &str, id: &str) -> PathBuf {
        self.dir.join(part).join(id)
    }

    fn sync(&self, part: &str) -> io::Result<()> {
        File::open(self.dir.join(part))?.sync_all()
    }

    /// Stores a message, or answers false because its key was used before.
    fn store(&self, id: &str, keyed: bool, now: Timestamp, text: &[u8]) -> io::Result<bool> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_since(state.pruned) >= PRUNE {
            self.prune(now)?;
            state.pruned = now;
        }
        let sent = self.path("sent", id);
        if keyed && sent.try_exists()? {
            // An earlier call may have failed between its last two steps.
            return self.deliver(id);
        }
        let tmp = self.path("tmp", id);
        let written = || {
            write_synced(&tmp, text, now)?;
            if keyed {
                self.sync("tmp")?;
                let key = private().open(&sent)?;
                key.set_modified(system_time(now))?;
                key.sync_all()?;
                self.sync("sent")?;
            }
            Ok(())
        };
        if let Err(error) = written() {
            // Not `tmp` if the key may have been entered: the next call or start decides.
            if !matches!(sent.try_exists(), Ok(true) | Err(_)) {
                let _ = fs::remove_file(&tmp);
            }
            return Err(error);
        }
        self.deliver(id)
    }

    /// Moves a message from `tmp` to `new`; false if it is not there any more.
    fn deliver(&self, id: &str) -> io::Result<bool> {
        match fs::rename(self.path("tmp", id), self.path("new", id)) {
            Ok(()) => self.sync("new").map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Finishes what a crash has interrupted.
    fn recover(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.dir.join("tmp"))? {
            let name = entry?.file_name();
            // Other programs may write here too; their names are not like ours.
            let Some(id) = name.to_str().filter(|id| id.len() == 32 && hex::decode(id).is_ok()) else { continue };
            if self.path("sent", id).try_exists()? {
                self.deliver(id)?;
            } else {
                fs::remove_file(self.path("tmp", id))?;
            }
        }
        Ok(())
    }

    /// Forgets the idempotency keys of long ago.
    fn prune(&self, now: Timestamp) -> io::Result<()> {
        for entry in fs::read_dir(self.dir.join("sent"))? {
            let entry = entry?;
            let age = system_time(now).duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            if age > REMEMBER {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// A message as the outbox keeps it.
fn file(envelope: &Envelope, message: &[u8]) -> Vec<u8> {
    let recipients: Vec<&str> = envelope.to().iter().map(AsRef::as_ref).collect();
    let mut text = format!("{ENVELOPE}: {}\n", recipients.join(",\n ")).into_bytes();
    text.reserve(message.len());
    // Contents are encoded, so these are ends of lines and nothing else.
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => {
                text.extend_from_slice(line);
                text.push(b'\n');
            }
            None => text.extend_from_slice(line),
        }
    }
    text
}

fn private() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
}

fn write_synced(path: &Path, text: &[u8], now: Timestamp) -> io::Result<()> {
    let mut file = private().open(path)?;
    file.write_all(text)?;
    file.set_modified(system_time(now))?;
    file.sync_all()
}

fn system_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(time.0)).unwrap_or(UNIX_EPOCH)
}

fn failed(what: &str, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::unavailable("the outbox has no room", error),
        _ => Error::internal(what, error),
    }
}
