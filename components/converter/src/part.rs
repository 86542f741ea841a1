//! What is known of a part of an MP3, and how the parts' frames become one MP3.

use crc::{CRC_16_ARC, Crc, Digest};
use serde::{Deserialize, Serialize};

/// The checksum of LAME's header (<http://gabriel.mp3-tech.org/mp3infotag.html>).
const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_ARC);
/// The most places that a part remembers; at twice as many, every second is forgotten.
const MARKS: usize = 128;
/// Entries of the seek table.
const SEEKS: usize = 100;

// Offsets within the header, from its `Xing` or `Info` on.
const FRAMES: usize = 8;
const BYTES: usize = 12;
const TABLE: usize = 16;
const GAPS: usize = 141;
const LENGTH: usize = 148;
const MUSIC: usize = 152;
const CHECK: usize = 154;

/// A part that is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// How many frames.
    pub frames: u64,
    /// How long they are.
    pub bytes: u64,
    /// Their checksum.
    crc: u16,
    /// How many frames lie between two marks.
    stride: u64,
    /// How many bytes lie before frame 0, `stride`, 2 x `stride`…
    marks: Vec<u64>,
}

/// Takes a part's measure while it is made.
pub struct Tally {
    part: Part,
    digest: Digest<'static, u16>,
}

impl Default for Tally {
    fn default() -> Self {
        static TABLE: Crc<u16> = CRC;
        Self { part: Part { stride: 1, ..Part::default() }, digest: TABLE.digest() }
    }
}

impl Tally {
    /// More bytes, after which `frames` are encoded; some of them may still be on their way.
    pub fn add(&mut self, bytes: &[u8], frames: u64) {
        let part = &mut self.part;
        while part.marks.len() as u64 * part.stride < frames {
            if part.marks.len() == MARKS {
                let mut index = 0;
                part.marks.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                part.stride *= 2;
            } else {
                part.marks.push(part.bytes);
            }
        }
        self.digest.update(bytes);
        part.bytes += bytes.len() as u64;
        part.frames = frames;
    }

    /// The part, complete, of all that was added behind `head`.
    #[must_use]
    pub fn finish(self, head: &[u8]) -> Part {
        let length = head.len() as u64;
        let bytes = self.part.bytes.saturating_sub(length);
        let marks = self.part.marks.iter().map(|mark| mark.saturating_sub(length)).collect();
        let crc = self.digest.finalize() ^ followed_by_zeros(CRC.checksum(head), bytes);
        Part { crc, bytes, marks, ..self.part }
    }
}

impl Part {
    /// About how many bytes lie before a frame.
    fn before(&self, frame: u64) -> u64 {
        let stride = self.stride.max(1);
        let index = frame / stride;
        let mark = |index: u64| usize::try_from(index).ok().and_then(|index| self.marks.get(index)).copied();
        let (Some(low), high) = (mark(index), mark(index + 1).unwrap_or(self.bytes)) else { return self.bytes };
        let between = stride.min(self.frames.saturating_sub(index * stride)).max(1);
        low + high.saturating_sub(low) * (frame % stride) / between
    }
}

/// The info frame of an MP3 of these parts: the first part's, with what changes. None if that is no info frame.
///
/// `samples` is the length of the whole track, and `frame` that of a frame.
#[must_use]
pub fn info_frame(first: &[u8], parts: &[Part], samples: u64, frame: u64) -> Option<Vec<u8>> {
    let mut info = first.to_vec();
    let at = info.windows(4).take(64).position(|four| four == b"Xing" || four == b"Info")?;
    let frames: u64 = parts.iter().map(|part| part.frames).sum();
    let bytes = parts.iter().map(|part| part.bytes).sum::<u64>() + info.len() as u64;
    let mut put = |offset: usize, bytes: &[u8]| {
        info.get_mut(at + offset..at + offset + bytes.len()).map(|place| place.copy_from_slice(bytes))
    };
    let short = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    put(FRAMES, &short(frames))?;
    put(BYTES, &short(bytes))?;
    put(TABLE, &seek_table(parts, first.len() as u64, frames, bytes))?;
    let gaps = first.get(at + GAPS..at + GAPS + 3)?;
    let delay = gaps.iter().take(2).fold(0, |delay, byte| delay << 8 | u64::from(*byte)) >> 4;
    let padding = (frames * frame).saturating_sub(delay + samples).min(0xfff);
    let [_, gaps @ ..] = u32::try_from(delay << 12 | padding).ok()?.to_be_bytes();
    put(GAPS, &gaps)?;
    put(LENGTH, &short(bytes))?;
    put(MUSIC, &checksum(parts).to_be_bytes())?;
    let check = CRC.checksum(info.get(..at + CHECK)?).to_be_bytes();
    info.get_mut(at + CHECK..at + CHECK + 2)?.copy_from_slice(&check);
    Some(info)
}

/// Where each hundredth of the time lies, in 256ths of the bytes.
fn seek_table(parts: &[Part], head: u64, frames: u64, bytes: u64) -> [u8; SEEKS] {
    std::array::from_fn(|percent| {
        let mut frame = frames * percent as u64 / SEEKS as u64;
        let mut before = head;
        for part in parts {
            if frame < part.frames {
                before += part.before(frame);
                break;
            }
            frame -= part.frames;
            before += part.bytes;
        }
        // The beginning counts as 0: players go there for it, and find the header.
        if percent == 0 { 0 } else { u8::try_from(before * 256 / bytes.max(1)).unwrap_or(u8::MAX) }
    })
}

/// The checksum of all frames in a row. The checksum of two pieces is that of the first one followed by as many zeros
/// as the second is long, plus (modulo 2) that of the second.
fn checksum(parts: &[Part]) -> u16 {
    parts.iter().fold(0, |before, part| followed_by_zeros(before, part.bytes) ^ part.crc)
}

fn followed_by_zeros(crc: u16, mut zeros: u64) -> u16 {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut digest = CRC.digest_with_initial(crc.reverse_bits());
    while zeros > 0 {
        let count = zeros.min(ZEROS.len() as u64);
        digest.update(ZEROS.get(..usize::try_from(count).unwrap_or(0)).unwrap_or_default());
        zeros -= count;
    }
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: &[u8], frames: u64) -> Part {
        let mut tally = Tally::default();
        for (index, piece) in bytes.chunks(100).enumerate() {
            tally.add(piece, frames.min(index as u64 + 1));
        }
        tally.add(&[], frames);
        tally.finish(&[])
    }

    #[test]
    fn the_checksum_of_the_parts_is_that_of_the_whole() {
        let bytes: Vec<u8> = (0..10_000u32).map(|number| (number * 7 % 251) as u8).collect();
        let whole = CRC.checksum(&bytes);
        for border in [0, 1, 4096, 9_999, 10_000] {
            let (one, two) = bytes.split_at(border);
            assert_eq!(checksum(&[part(one, 1), part(two, 1)]), whole, "{border}");
        }
    }

    #[test]
    fn any_number_of_frames_keeps_a_bounded_number_of_marks() {
        let mut tally = Tally::default();
        for frame in 1..=100_000 {
            tally.add(&[0; 10], frame);
        }
        let part = tally.finish(&[]);
        assert!(part.marks.len() <= MARKS);
        for frame in [0, 1, 5000, 99_999] {
            assert!(part.before(frame).abs_diff(frame * 10) <= 20, "{frame}: {}", part.before(frame));
        }
    }

    #[test]
    fn what_is_no_info_frame_is_refused() {
        assert_eq!(info_frame(&[0; 400], &[], 0, 1152), None);
        assert_eq!(info_frame(b"....Info", &[], 0, 1152), None);
    }
}
