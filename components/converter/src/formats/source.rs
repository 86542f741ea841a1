//! A cut file, told to its demultiplexer as long as it says it is: Symphonia refuses files whose parts reach behind
//! their end, and reads them well up to there if it does not know.

use std::io::{Read, Result, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

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
