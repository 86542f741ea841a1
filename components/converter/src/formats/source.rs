//! Files told to Symphonia as other than they are, where it refuses them and reads them well otherwise.

use std::io::{Read, Result, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use symphonia::core::io::MediaSource;

/// A source for several attempts, one after the other.
pub(super) struct Shared<S>(Arc<Mutex<S>>);

impl<S> Shared<S> {
    pub(super) fn new(source: S) -> Self {
        Self(Arc::new(Mutex::new(source)))
    }

    fn with<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Read> Read for Shared<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.with(|source| source.read(buffer))
    }
}

impl<S: Seek> Seek for Shared<S> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.with(|source| source.seek(to))
    }
}

impl<S: MediaSource> MediaSource for Shared<S> {
    fn is_seekable(&self) -> bool {
        self.with(|source| source.is_seekable())
    }

    fn byte_len(&self) -> Option<u64> {
        self.with(|source| source.byte_len())
    }
}

/// A cut file, as long as it says it is: parts that reach behind a file's end are refused.
pub(super) struct Stretched<S> {
    pub(super) source: S,
    /// Bytes that the whole file would have.
    pub(super) length: u64,
    pub(super) seekable: bool,
}

impl<S: Read> Read for Stretched<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.source.read(buffer)
    }
}

impl<S: Seek> Seek for Stretched<S> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.source.seek(match to {
            SeekFrom::End(delta) => SeekFrom::Start(self.length.saturating_add_signed(delta)),
            to => to,
        })
    }
}

impl<S: MediaSource> MediaSource for Stretched<S> {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    /// Not told, so that nobody looks for tags at the end.
    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// What QuickTime's files before MPEG-4 lack.
const TYPE: [u8; 16] = *b"\0\0\0\x10ftypqt  \0\0\0\0";

/// A QuickTime file without a type, which gets one at its end, where it moves nothing.
pub(super) struct Typed<S> {
    source: S,
    /// Where the type begins.
    end: u64,
    position: u64,
    /// Whether the end is told.
    known: bool,
}

impl<S: Seek> Typed<S> {
    pub(super) fn new(mut source: S, end: u64, known: bool) -> Result<Self> {
        source.seek(SeekFrom::Start(0))?;
        Ok(Self { source, end, position: 0, known })
    }
}

impl<S: Read> Read for Typed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = match self.end.checked_sub(self.position) {
            Some(left @ 1..) => {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                self.source.read(buffer.get_mut(..most).unwrap_or_default())?
            }
            _ => {
                let within = usize::try_from(self.position - self.end).unwrap_or(usize::MAX);
                TYPE.get(within..).unwrap_or_default().read(buffer)?
            }
        };
        self.position = self.position.saturating_add(read as u64);
        Ok(read)
    }
}

impl<S: Seek> Seek for Typed<S> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(delta) => self.end.saturating_add(TYPE.len() as u64).checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = position.ok_or(std::io::ErrorKind::InvalidInput)?;
        self.source.seek(SeekFrom::Start(self.position.min(self.end)))?;
        Ok(self.position)
    }
}

impl<S: MediaSource> MediaSource for Typed<S> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        self.known.then(|| self.end.saturating_add(TYPE.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_type_is_read_behind_the_file() -> Result<()> {
        let mut typed = Typed::new(Cursor::new(b"moov".to_vec()), 4, true)?;
        let mut all = Vec::new();
        typed.read_to_end(&mut all)?;
        assert_eq!(all, [b"moov".as_slice(), &TYPE].concat());
        assert_eq!(typed.seek(SeekFrom::End(-18))?, 2);
        let mut some = [0; 4];
        typed.read_exact(&mut some)?;
        assert_eq!(&some, b"ov\0\0");
        assert_eq!(typed.byte_len(), Some(20));
        Ok(())
    }
}
