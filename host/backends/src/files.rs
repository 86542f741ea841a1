//! Blobs on plain files: one immutable data file for each object, and an index that names it.
//!
//! ```text
//! <dir>/index.redb     (label, key) -> size, SHA-256, content type, metadata, data file
//! <dir>/data/<random>  the content and nothing else
//! ```
//!
//! A `put` writes a data file of its own, syncs it and its directory, and then enters it in the
//! index: that transaction is the commit point. So content and properties appear in one step,
//! replacing and `if_absent` are atomic, listings come in byte order, keys never become paths,
//! and a range is a plain file read. Files and renames alone cannot do this: properties would
//! need a second file or a header, and an ordered listing would sort the whole directory.
//!
//! Invariants: a data file never changes once the index names it; a file the index does not name
//! is a leftover, removed when its upload ends or at the next start. Readers hold their file open,
//! so they keep it after it is replaced or deleted. A copy is a hard link: no counting of
//! references, no second use of disk space.
//!
//! Nothing here is for several processes: the index is locked while the engine is open.

mod data;
mod index;
mod store;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tessera_capability::time::Clock;
use tessera_capability::{Error, Result, blob};

use self::data::DataFile;
use self::index::Index;
use self::store::Store;

/// The blob engine of one directory.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What the stores of all labels share.
struct Inner {
    data: PathBuf,
    index: Index,
    clock: Arc<dyn Clock>,
}

impl Engine {
    /// Opens the engine in `dir`, which is created if missing, and removes what interrupted
    /// uploads have left there. Blocks for as long as reading the directory takes.
    ///
    /// # Errors
    /// `Unavailable` if another process has it open, `Internal` if it cannot be read or written.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let data = dir.join("data");
        fs::create_dir_all(&data).map_err(|error| failed("create the blob directory", error))?;
        let index = Index::open(&dir.join("index.redb"), &data)?;
        for dir in [Some(dir), dir.parent().filter(|parent| !parent.as_os_str().is_empty())].into_iter().flatten() {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| failed("sync the blob directory", error))?;
        }
        let leftovers = sweep(&data, &index)?;
        if leftovers > 0 {
            tracing::info!(leftovers, "removed the files of interrupted uploads");
        }
        Ok(Self { inner: Arc::new(Inner { data, index, clock }) })
    }

    /// The store of a label; labels do not see one another's objects.
    #[must_use]
    pub fn store(&self, label: &str) -> Arc<dyn blob::Store> {
        Arc::new(Store::new(Arc::clone(&self.inner), label))
    }
}

/// Removes the data files that the index does not name, and answers how many.
fn sweep(data: &Path, index: &Index) -> Result<usize> {
    let failed = |error| failed("look for leftovers in the blob directory", error);
    let names = index.names()?;
    let mut leftovers = 0_usize;
    for entry in fs::read_dir(data).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // Anything else is not ours to remove.
        let Some(id) = name.to_str().and_then(data::parse_name) else { continue };
        if !names.contains(id)? {
            DataFile::existing(data, id).remove();
            leftovers = leftovers.saturating_add(1);
        }
    }
    Ok(leftovers)
}

/// The outcome of a failed file operation.
fn failed(what: &str, error: io::Error) -> Error {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => Error::unavailable("the blob store has no room", error),
        _ => Error::internal(what, error),
    }
}

/// Runs what blocks on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal("run a file operation", error)),
    }
}
