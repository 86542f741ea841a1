//! ID3v2 tags before a file (id3.org, "ID3 tag version 2.4.0") without their large frames, which Symphonia would keep in
//! memory.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use symphonia::core::io::MediaSource;

use super::ballast::{MAX_STEPS, MOST};
use super::bytes::{array, be24, be32, bytes_at};
use super::patched::Patch;

/// Tags before a file.
const MAX_TAGS: usize = 8;
const HEADER: u64 = 10;

/// What is to be left out of a file, in order, and what is to be changed in the rest.
///
/// # Errors
/// The source failed.
pub(super) fn surplus(source: &mut (impl Read + Seek)) -> io::Result<(Vec<Range<u64>>, Vec<Patch>)> {
    let (mut ranges, mut patches, mut at, mut sum) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..MAX_TAGS {
        let head = bytes_at(source, at, HEADER)?;
        let (Some(size), Some([version, _, flags])) = (size(&head), array(&head, 3)) else { break };
        let footer = if version == 4 && flags & 0x10 != 0 { HEADER } else { 0 };
        let (body, end) = (at + HEADER, at + HEADER + size);
        // Where places are not those of the file, or there is more than frames, it is all or nothing.
        let plain = matches!(version, 2..=4) && flags & 0xf0 == 0;
        let found = if plain { frames(source, body..end, version, &mut sum)? } else { None };
        match found {
            Some(found) => {
                let left: u64 = size - found.iter().map(|range| range.end - range.start).sum::<u64>();
                if left < size {
                    patches.push(Patch { at: at + 6, bytes: in_sevens(left) });
                }
                ranges.extend(found);
            }
            None if size + sum > MOST || plain => ranges.push(at..end + footer),
            None => sum += size,
        }
        at = end + footer;
    }
    source.seek(SeekFrom::Start(0))?;
    Ok((ranges, patches))
}

/// The size of a tag that begins so.
fn size(head: &[u8]) -> Option<u64> {
    be32(head, 6).filter(|size| head.starts_with(b"ID3") && size & 0x8080_8080 == 0).map(syncsafe)
}

/// A number in seven bits of each byte.
fn syncsafe(size: u32) -> u64 {
    size.to_be_bytes().iter().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
}

fn in_sevens(size: u64) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
}

/// The frames that are too large, with those before them, which `sum` counts; none: all, as there are too many.
fn frames(
    source: &mut (impl Read + Seek),
    body: Range<u64>,
    version: u8,
    sum: &mut u64,
) -> io::Result<Option<Vec<Range<u64>>>> {
    let (mut large, mut at) = (Vec::new(), body.start);
    let header = if version == 2 { 6 } else { HEADER };
    for _ in 0..MAX_STEPS {
        let head = bytes_at(source, at, header)?;
        let size = match version {
            2 => be24(&head, 3).map(u64::from),
            3 => be32(&head, 4).map(u64::from),
            _ => be32(&head, 4).map(syncsafe),
        };
        let next = at.saturating_add(header).saturating_add(size.unwrap_or(0));
        // Padding, the end, or nonsense: what is left is left out if there is much of it.
        if size.is_none() || head.first() == Some(&0) || at >= body.end || next > body.end {
            if body.end.saturating_sub(at) > MOST {
                large.push(at..body.end);
            }
            return Ok(Some(large));
        }
        if *sum + (next - at) > MOST {
            large.push(at..next);
        } else {
            *sum += next - at;
        }
        at = next;
    }
    Ok(None)
}

/// A file without some of its bytes.
pub(super) struct Lean<S> {
    source: S,
    /// What is left out: in order, apart from one another.
    without: Vec<Range<u64>>,
    /// In what is left.
    position: u64,
}

impl<S: Seek> Lean<S> {
    /// The source is to be at its start.
    pub(super) fn new(source: S, without: Vec<Range<u64>>) -> Self {
        Self { source, without, position: 0 }
    }

    /// Where a place of what is left is in the source, and how many bytes follow it there before the next gap.
    fn place(&self) -> (u64, u64) {
        let mut place = self.position;
        for range in &self.without {
            if place < range.start {
                return (place, range.start - place);
            }
            place = place.saturating_add(range.end - range.start);
        }
        (place, u64::MAX)
    }

    fn left_out(&self) -> u64 {
        self.without.iter().map(|range| range.end - range.start).sum()
    }
}

impl<S: Read + Seek> Read for Lean<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (place, left) = self.place();
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.source.seek(SeekFrom::Start(place))?;
        let count = self.source.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl<S: Seek> Seek for Lean<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => {
                let end = self.source.seek(SeekFrom::End(0))?.saturating_sub(self.left_out());
                end.checked_add_signed(delta)
            }
        };
        self.position = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl<S: MediaSource> MediaSource for Lean<S> {
    fn is_seekable(&self) -> bool {
        self.source.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.source.byte_len().map(|length| length.saturating_sub(self.left_out()))
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is meant")]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn what_is_left_out_is_not_there() -> io::Result<()> {
        let mut lean = Lean::new(Cursor::new(b"0123456789"), vec![0..2, 4..5, 8..9]);
        let mut all = String::new();
        lean.read_to_string(&mut all)?;
        assert_eq!(all, "235679");
        assert_eq!(lean.seek(SeekFrom::End(-3))?, 3);
        all.clear();
        lean.read_to_string(&mut all)?;
        assert_eq!((all.as_str(), lean.byte_len()), ("679", Some(6)));
        Ok(())
    }

    #[test]
    fn large_frames_are_left_out_and_small_ones_stay() -> io::Result<()> {
        let frame = |name: &[u8], size: u32| [name, &size.to_be_bytes(), &[0, 0], &vec![b'x'; size as usize]].concat();
        let frames = [frame(b"TIT2", 20), frame(b"APIC", 7 << 20), frame(b"TPE1", 30), vec![0; 100]].concat();
        let size = frames.len() as u64;
        let file = [&b"ID3\x03\0\0"[..], &in_sevens(size), &frames, b"sound"].concat();
        let (ranges, patches) = surplus(&mut Cursor::new(&file))?;
        let large = 10 + (7 << 20);
        assert_eq!(ranges, [40..40 + large]);
        assert_eq!(patches, [Patch { at: 6, bytes: in_sevens(size - large) }]);
        // Whole, where its frames are not as they look, and where there are too many of them.
        let mut masked = file.clone();
        masked[5] = 0x80;
        assert_eq!(surplus(&mut Cursor::new(masked))?.0, [0..10 + size]);
        let many = frame(b"TXXX", 1).repeat(1100);
        let file = [&b"ID3\x03\0\0"[..], &in_sevens(many.len() as u64), &many].concat();
        assert_eq!(surplus(&mut Cursor::new(&file))?.0, [0..file.len() as u64]);
        Ok(())
    }
}
