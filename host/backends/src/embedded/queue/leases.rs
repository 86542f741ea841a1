//! A file that remembers, past the death of the process, which messages were leased.
//!
//! A lease ends with its process, so it needs no fsync; but the attempt must count even if the
//! handler took the process down, or such a message would be tried for ever. So each lease has a
//! slot in this file, written before the message is handed out: the operating system keeps it
//! after `kill -9`. A power failure may lose it, and then the attempt does not count.
//!
//! A slot is left as it is when its delivery was settled, and used again: by then the store says
//! that the message is gone, or counts the attempt. Only a release must clear it.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const SLOT: usize = 28;
/// Marks a used slot, and the format.
const USED: u32 = 0x0153_534C;

/// A lease that its process did not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::embedded) struct Leased {
    /// The group's number.
    pub group: u32,
    /// The message's number.
    pub message: u64,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// How often the message had come back from the dead letters.
    pub replays: u32,
}

impl Leased {
    fn encode(self) -> [u8; SLOT] {
        let mut slot = [0; SLOT];
        let parts = self.group.to_be_bytes().into_iter().chain(self.message.to_be_bytes());
        let parts = USED.to_be_bytes().into_iter().chain(parts).chain(self.attempt.to_be_bytes());
        let parts = parts.chain(self.replays.to_be_bytes());
        for (to, from) in slot.iter_mut().zip(parts) {
            *to = from;
        }
        slot
    }

    fn decode(slot: &[u8]) -> Option<Self> {
        let (used, rest) = slot.split_first_chunk()?;
        let (group, rest) = rest.split_first_chunk()?;
        let (message, rest) = rest.split_first_chunk()?;
        let (attempt, rest) = rest.split_first_chunk()?;
        let replays = rest.first_chunk()?;
        (u32::from_be_bytes(*used) == USED).then_some(Self {
            group: u32::from_be_bytes(*group),
            message: u64::from_be_bytes(*message),
            attempt: u32::from_be_bytes(*attempt),
            replays: u32::from_be_bytes(*replays),
        })
    }
}

#[derive(Debug)]
pub(in crate::embedded) struct LeaseFile(File);

impl LeaseFile {
    /// Opens the file; answers the leases that an earlier process left.
    pub(in crate::embedded) fn open(path: &Path) -> std::io::Result<(Self, Vec<Leased>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok((Self(file), bytes.chunks(SLOT).filter_map(Leased::decode).collect()))
    }

    /// Forgets all.
    pub(in crate::embedded) fn clear_all(&self) -> std::io::Result<()> {
        self.0.set_len(0)
    }

    pub(in crate::embedded) fn write(&self, slot: u32, leased: Leased) -> std::io::Result<()> {
        self.0.write_all_at(&leased.encode(), offset(slot))
    }

    pub(in crate::embedded) fn clear(&self, slot: u32) -> std::io::Result<()> {
        self.0.write_all_at(&[0; SLOT], offset(slot))
    }
}

fn offset(slot: u32) -> u64 {
    u64::from(slot).saturating_mul(SLOT as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_cleared_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("leases");
        let leased = |message| Leased { group: 7, message, attempt: 3, replays: 1 };
        let (file, left) = LeaseFile::open(&path).unwrap();
        assert_eq!(left, []);
        for slot in 0..3 {
            file.write(slot, leased(u64::from(slot) + 100)).unwrap();
        }
        file.clear(1).unwrap();
        drop(file);
        let (file, left) = LeaseFile::open(&path).unwrap();
        assert_eq!(left, [leased(100), leased(102)]);
        file.clear_all().unwrap();
        assert_eq!(LeaseFile::open(&path).unwrap().1, []);
    }
}
