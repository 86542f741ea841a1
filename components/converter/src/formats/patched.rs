//! Files of which a few bytes are told otherwise than they are, for Symphonia to read what it refuses.

use std::io::{Read, Result, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

/// Four bytes that a file is to have elsewhere than it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) at: u64,
    pub(super) bytes: [u8; 4],
}

/// A file with some bytes changed.
pub(super) struct Patched<S> {
    pub(super) source: S,
    pub(super) patches: Vec<Patch>,
    /// Where the source is; it begins at its start.
    pub(super) position: u64,
}

impl<S: Read> Read for Patched<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.source.read(buffer)?;
        let (start, end) = (self.position, self.position.saturating_add(count as u64));
        for patch in &self.patches {
            for (at, byte) in (patch.at..).zip(patch.bytes) {
                if (start..end).contains(&at)
                    && let Some(place) = usize::try_from(at - start).ok().and_then(|at| buffer.get_mut(at))
                {
                    *place = byte;
                }
            }
        }
        self.position = end;
        Ok(count)
    }
}

impl<S: Seek> Seek for Patched<S> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.position = self.source.seek(to)?;
        Ok(self.position)
    }
}

impl<S: MediaSource> MediaSource for Patched<S> {
    fn is_seekable(&self) -> bool {
        self.source.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.source.byte_len()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn patches_show_in_whatever_pieces_the_file_is_read() -> Result<()> {
        let patches = vec![Patch { at: 2, bytes: *b"abcd" }, Patch { at: 9, bytes: *b"efgh" }];
        for size in 1..12 {
            let mut source = Patched { source: Cursor::new(b"0123456789AB"), patches: patches.clone(), position: 0 };
            let (mut read, mut piece) = (Vec::new(), vec![0; size]);
            loop {
                match source.read(&mut piece)? {
                    0 => break,
                    count => read.extend_from_slice(&piece[..count]),
                }
            }
            assert_eq!(read, b"01abcd678efg", "{size}");
            source.seek(SeekFrom::Start(4))?;
            source.read_exact(&mut piece[..1])?;
            assert_eq!(piece[0], b'c');
        }
        Ok(())
    }
}
