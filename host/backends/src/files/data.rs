//! Data files: written once in large pieces while being hashed, then only read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{mem, ops};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use sha2::{Digest, Sha256};
use tessera_capability::blob::Body;
use tessera_capability::{Error, Result};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{blocking, failed};

/// Bytes written at a time. An upload holds two such buffers: one fills while the other is
/// hashed and written.
const WRITE: usize = 1 << 20;
/// After so many bytes they are synced while more come, so that the last sync is short. The disk
/// is never further behind than twice as much.
const SYNC: u64 = 32 << 20;
/// Bytes read at a time. A download holds two of them: one is read ahead.
const READ: u64 = 256 << 10;

/// The file name of a data file.
fn name(id: u128) -> String {
    format!("{id:032x}")
}

/// The data file with this name, if it is one's.
pub(super) fn parse_name(text: &str) -> Option<u128> {
    u128::from_str_radix(text, 16).ok().filter(|id| name(*id) == text)
}

/// The path of a data file.
pub(super) fn path(dir: &Path, id: u128) -> PathBuf {
    dir.join(name(id))
}

/// A data file that nobody needs: removed when this is dropped, unless it is [kept](Self::keep).
pub(super) struct DataFile {
    id: u128,
    path: Option<PathBuf>,
}

impl DataFile {
    /// A name that no file has yet.
    fn fresh(dir: &Path) -> Self {
        Self::existing(dir, rand::random())
    }

    /// A file that the index has named until now, or should never name.
    pub(super) fn existing(dir: &Path, id: u128) -> Self {
        Self { id, path: Some(path(dir, id)) }
    }

    /// A further name for the content of `source`. Blocks.
    pub(super) fn link(dir: &Path, source: u128) -> io::Result<Self> {
        let copy = Self::fresh(dir);
        let (from, to) = (path(dir, source), path(dir, copy.id));
        match fs::hard_link(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            // Too many links, or a file system without them.
            Err(_) => {
                fs::copy(&from, &to)?;
                File::open(&to)?.sync_all()?;
            }
        }
        Ok(copy)
    }

    pub(super) fn id(&self) -> u128 {
        self.id
    }

    /// The index names it now.
    pub(super) fn keep(mut self) {
        self.path = None;
    }

    /// Removes it now. Blocks.
    pub(super) fn remove(mut self) {
        if let Some(path) = self.path.take() {
            remove(&path);
        }
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        // Removing a large file takes a while.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || remove(&path))),
            Err(_) => remove(&path),
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a data file could not be removed; the next start tries again");
    }
}

/// A complete data file, synced but for its directory.
pub(super) struct Complete {
    pub(super) file: DataFile,
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
}

/// A data file being written. Dropping it removes the file.
pub(super) struct Upload {
    dir: PathBuf,
    buffer: Vec<u8>,
    writing: Option<JoinHandle<Written>>,
    syncing: Option<JoinHandle<io::Result<()>>>,
    /// How many bytes have been handed to a sync.
    synced: u64,
}

/// A write's outcome, and its buffer for the next one.
type Written = io::Result<(Partial, Vec<u8>)>;

impl Upload {
    /// An upload that has not touched the disk yet.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, buffer: Vec::new(), writing: None, syncing: None, synced: 0 }
    }

    /// Adds bytes, waiting for the disk once a buffer is full.
    pub(super) async fn push(&mut self, mut chunk: Bytes) -> Result<()> {
        while !chunk.is_empty() {
            let room = WRITE.saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&chunk.split_to(room.min(chunk.len())));
            if self.buffer.len() >= WRITE {
                let (partial, spare) = self.written().await?;
                if let Some(partial) = &partial
                    && partial.size.saturating_sub(self.synced) >= SYNC
                {
                    self.sync_done().await?;
                    let file = Arc::clone(&partial.file);
                    self.syncing = Some(spawn_blocking(move || file.sync_data()));
                    self.synced = partial.size;
                }
                let (dir, full) = (self.dir.clone(), mem::replace(&mut self.buffer, spare));
                self.writing = Some(spawn_blocking(move || write(partial, &dir, full)));
            }
        }
        Ok(())
    }

    /// Writes what is left and syncs the file.
    pub(super) async fn finish(mut self) -> Result<Complete> {
        let (partial, _) = self.written().await?;
        self.sync_done().await?;
        blocking(move || {
            let complete = || {
                let (partial, _) = write(partial, &self.dir, self.buffer)?;
                partial.file.sync_data()?;
                Ok(partial)
            };
            let partial = complete().map_err(|error| failed("write a blob", error))?;
            Ok(Complete { file: partial.name, size: partial.size, sha256: partial.hash.finalize().into() })
        })
        .await
    }

    /// Removes the file, and has removed it when this returns.
    pub(super) async fn abandon(mut self) {
        if let Ok((Some(partial), _)) = self.written().await {
            // A panic there leaves the file to the next sweep.
            let _ = spawn_blocking(move || partial.name.remove()).await;
        }
    }

    /// Waits for the sync under way. An error of the disk is told once, so it must not get lost.
    async fn sync_done(&mut self) -> Result<()> {
        let Some(syncing) = self.syncing.take() else { return Ok(()) };
        match syncing.await {
            Ok(result) => result.map_err(|error| failed("write a blob", error)),
            Err(error) => Err(Error::internal("write a blob", error)),
        }
    }

    /// Waits until the buffer that is being written is written, and gives it back, empty.
    async fn written(&mut self) -> Result<(Option<Partial>, Vec<u8>)> {
        let Some(writing) = self.writing.take() else { return Ok((None, Vec::new())) };
        match writing.await {
            Ok(Ok((partial, buffer))) => Ok((Some(partial), buffer)),
            Ok(Err(error)) => Err(failed("write a blob", error)),
            Err(error) => Err(Error::internal("write a blob", error)),
        }
    }
}

/// What has been written of an upload.
struct Partial {
    name: DataFile,
    file: Arc<File>,
    hash: Sha256,
    size: u64,
}

fn write(partial: Option<Partial>, dir: &Path, mut buffer: Vec<u8>) -> Written {
    let mut partial = match partial {
        Some(partial) => partial,
        None => {
            let name = DataFile::fresh(dir);
            let file = File::options().write(true).create_new(true).mode(0o600).open(path(dir, name.id))?;
            Partial { name, file: Arc::new(file), hash: Sha256::new(), size: 0 }
        }
    };
    (&*partial.file).write_all(&buffer)?;
    partial.hash.update(&buffer);
    partial.size = partial.size.saturating_add(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
    buffer.clear();
    Ok((partial, buffer))
}

/// Reads bytes of a file. Blocks.
pub(super) fn read(file: &File, range: ops::Range<u64>) -> Result<Bytes> {
    let length = usize::try_from(range.end.saturating_sub(range.start))
        .map_err(|error| Error::internal("size a read buffer", error))?;
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, range.start).map_err(|error| failed("read a blob", error))?;
    Ok(buffer.into())
}

/// Reads a range of a file as a stream, one piece ahead of its consumer.
pub(super) fn body(file: File, range: ops::Range<u64>) -> Body<'static> {
    let ahead = ahead(file, range);
    stream::unfold(ahead, |ahead| async {
        match ahead?.await {
            Ok(Ok((file, piece, rest))) => Some((Ok(piece), self::ahead(file, rest))),
            Ok(Err(error)) => Some((Err(error), None)),
            Err(error) => Some((Err(Error::internal("read a blob", error)), None)),
        }
    })
    .boxed()
}

type Ahead = Option<JoinHandle<Result<(File, Bytes, ops::Range<u64>)>>>;

/// Begins to read the next piece; none at the end.
fn ahead(file: File, range: ops::Range<u64>) -> Ahead {
    if range.is_empty() {
        return None;
    }
    Some(spawn_blocking(move || {
        let end = range.start.saturating_add(READ).min(range.end);
        let piece = read(&file, range.start..end)?;
        Ok((file, piece, end..range.end))
    }))
}
