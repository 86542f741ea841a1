//! A stored object as a seekable source for the demultiplexers, in bounded memory.
//!
//! Demultiplexers jump between tracks that lie apart in the file, so the last few pages read are kept.
//! What goes wrong below is remembered as a [`Fault`]: a demultiplexer may take an input error for the
//! file's end, and a store that cannot be reached must not look like a broken file.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use symphonia::core::io::MediaSource;

/// Bytes per call to the store.
const PAGE: u64 = 512 * 1024;
/// Pages kept.
const PAGES: usize = 6;

/// Why a store gave no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The object is no longer there.
    Missing,
    /// The same read may succeed later; what happened.
    Temporary(String),
}

/// Random access to one object.
pub trait ReadAt: Send + Sync {
    /// Bytes in the object.
    fn size(&self) -> u64;

    /// `length` bytes from `offset`, fewer only at the object's end.
    ///
    /// # Errors
    /// The store did not give them.
    fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, Fault>;
}

/// Shared between a [`Source`], which a demultiplexer owns, and whoever drives that.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    furthest: u64,
}

impl Watch {
    /// The first thing that went wrong in the store, if anything did.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.with(|state| state.fault.clone())
    }

    /// How far into the object was read, in bytes.
    #[must_use]
    pub fn furthest(&self) -> u64 {
        self.with(|state| state.furthest)
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Page {
    index: u64,
    bytes: Vec<u8>,
}

/// An object as [`MediaSource`].
pub struct Source<R> {
    store: R,
    position: u64,
    /// Most recently used first.
    pages: VecDeque<Page>,
    watch: Watch,
}

impl<R: ReadAt> Source<R> {
    /// A source at the object's start.
    pub fn new(store: R) -> Self {
        Self { store, position: 0, pages: VecDeque::new(), watch: Watch::default() }
    }

    /// What becomes of the reads.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Makes the page the first of `pages`.
    fn load(&mut self, index: u64) -> io::Result<()> {
        if let Some(at) = self.pages.iter().position(|page| page.index == index) {
            if at > 0
                && let Some(page) = self.pages.remove(at)
            {
                self.pages.push_front(page);
            }
            return Ok(());
        }
        if self.watch.with(|state| state.fault.is_some()) {
            return Err(io::Error::other("the store failed earlier"));
        }
        let offset = index.saturating_mul(PAGE);
        let length = self.store.size().saturating_sub(offset).min(PAGE);
        let bytes = self.store.read_at(offset, u32::try_from(length).unwrap_or(u32::MAX)).map_err(|fault| {
            self.watch.with(|state| state.fault = Some(fault));
            io::Error::other("the store failed")
        })?;
        self.pages.truncate(PAGES - 1);
        self.pages.push_front(Page { index, bytes });
        Ok(())
    }
}

impl<R: ReadAt> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.store.size() {
            return Ok(0);
        }
        self.load(self.position / PAGE)?;
        let within = usize::try_from(self.position % PAGE).map_err(io::Error::other)?;
        let available = self.pages.front().and_then(|page| page.bytes.get(within..)).unwrap_or_default();
        let count = available.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), available.get(..count)) {
            to.copy_from_slice(from);
        }
        self.position = self.position.saturating_add(count as u64);
        let position = self.position;
        self.watch.with(|state| state.furthest = state.furthest.max(position));
        Ok(count)
    }
}

impl<R: ReadAt> Seek for Source<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.store.size().checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

impl<R: ReadAt> MediaSource for Source<R> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.store.size())
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, Fault> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let end = start.saturating_add(length as usize).min(self.len());
        Ok(self.get(start..end).unwrap_or_default().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counted {
        bytes: Vec<u8>,
        reads: Arc<AtomicUsize>,
        fail_from: usize,
    }

    impl ReadAt for Counted {
        fn size(&self) -> u64 {
            self.bytes.size()
        }

        fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, Fault> {
            if self.reads.fetch_add(1, Ordering::Relaxed) >= self.fail_from {
                return Err(Fault::Temporary("down".into()));
            }
            self.bytes.read_at(offset, length)
        }
    }

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn reads_are_the_objects_bytes_across_pages() -> io::Result<()> {
        let bytes = sample(PAGE as usize * 2 + 100);
        let mut source = Source::new(bytes.clone());
        let mut all = Vec::new();
        source.read_to_end(&mut all)?;
        assert!(all == bytes);
        assert_eq!(source.watch().furthest(), bytes.len() as u64);
        assert_eq!(source.seek(SeekFrom::End(-3))?, bytes.len() as u64 - 3);
        let mut end = Vec::new();
        source.read_to_end(&mut end)?;
        assert_eq!(end, bytes[bytes.len() - 3..]);
        assert!(source.seek(SeekFrom::Current(-(bytes.len() as i64) - 1)).is_err());
        Ok(())
    }

    #[test]
    fn jumping_between_pages_reads_each_once_and_few_stay() -> io::Result<()> {
        let reads = Arc::new(AtomicUsize::new(0));
        let store = Counted { bytes: sample(PAGE as usize * 20), reads: Arc::clone(&reads), fail_from: usize::MAX };
        let mut source = Source::new(store);
        let mut byte = [0];
        for round in 0..50 {
            for page in [0, 7, 13] {
                source.seek(SeekFrom::Start(page * PAGE + round))?;
                source.read_exact(&mut byte)?;
            }
        }
        assert_eq!(reads.load(Ordering::Relaxed), 3);
        for page in 0..20 {
            source.seek(SeekFrom::Start(page * PAGE))?;
            source.read_exact(&mut byte)?;
        }
        assert!(source.pages.len() <= PAGES);
        Ok(())
    }

    #[test]
    fn the_stores_fault_is_remembered_and_it_is_not_asked_again() -> io::Result<()> {
        let reads = Arc::new(AtomicUsize::new(0));
        let store = Counted { bytes: sample(PAGE as usize * 3), reads: Arc::clone(&reads), fail_from: 1 };
        let mut source = Source::new(store);
        let watch = source.watch();
        let mut byte = [0];
        source.read_exact(&mut byte)?;
        assert_eq!(watch.fault(), None);
        source.seek(SeekFrom::Start(PAGE))?;
        assert!(source.read_exact(&mut byte).is_err());
        assert!(source.read_exact(&mut byte).is_err());
        assert_eq!(watch.fault(), Some(Fault::Temporary("down".into())));
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        Ok(())
    }
}
