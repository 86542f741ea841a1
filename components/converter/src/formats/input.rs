//! The file's bytes in order, with a look ahead that does not consume them.

use std::io::{Read, Seek, SeekFrom};

use symphonia::core::errors::Result;
use symphonia::core::io::{MediaSource, MediaSourceStream};

/// The furthest look ahead.
pub(super) const MAX_PEEK: usize = 1024 * 1024;
/// Bytes read at once.
const CHUNK: usize = 32 * 1024;

pub(super) struct Input<'s> {
    stream: MediaSourceStream<'s>,
    /// What was read and not yet consumed begins at `at`.
    window: Vec<u8>,
    at: usize,
    /// Where `window` begins in the file.
    base: u64,
}

impl<'s> Input<'s> {
    pub(super) fn new(stream: MediaSourceStream<'s>) -> Self {
        Self { stream, window: Vec::new(), at: 0, base: 0 }
    }

    pub(super) fn into_inner(self) -> MediaSourceStream<'s> {
        self.stream
    }

    /// Bytes in the file, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.stream.byte_len()
    }

    pub(super) fn position(&self) -> u64 {
        self.base.saturating_add(self.at as u64)
    }

    /// The next bytes: as many as asked for, up to [`MAX_PEEK`], and fewer only at the file's end.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8]> {
        let count = count.min(MAX_PEEK);
        while self.window.len() - self.at < count {
            if self.at > 0 {
                self.window.drain(..self.at);
                self.base = self.base.saturating_add(self.at as u64);
                self.at = 0;
            }
            let old = self.window.len();
            self.window.resize(old + CHUNK, 0);
            let read = self.stream.read(self.window.get_mut(old..).unwrap_or_default());
            self.window.truncate(old + read.as_ref().copied().unwrap_or(0).min(CHUNK));
            if read? == 0 {
                break;
            }
        }
        let rest = self.window.get(self.at..).unwrap_or_default();
        Ok(rest.get(..count).unwrap_or(rest))
    }

    /// As [`Input::peek`], consumed.
    pub(super) fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        let bytes = self.peek(count)?.to_vec();
        self.consume(bytes.len());
        Ok(bytes)
    }

    /// Goes over bytes that were peeked.
    pub(super) fn consume(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.window.len());
    }

    /// Goes over bytes; behind the file's end is an error.
    pub(super) fn skip(&mut self, count: u64) -> Result<()> {
        match usize::try_from(count) {
            Ok(count) if count <= self.window.len() - self.at => self.consume(count),
            _ => {
                let to = self.position().saturating_add(count);
                if self.stream.byte_len().is_some_and(|length| to > length) {
                    return Err(super::end_of_file());
                }
                self.seek(to)?;
            }
        }
        Ok(())
    }

    /// Goes to a place of the file.
    pub(super) fn seek(&mut self, position: u64) -> Result<()> {
        self.window.clear();
        self.at = 0;
        self.base = position;
        self.stream.seek(SeekFrom::Start(position))?;
        Ok(())
    }
}
