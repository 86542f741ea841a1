//! Going at once to what is listened to, where a file's tables say to the sample where everything lies.

use symphonia::core::formats::{SeekMode, SeekTo};
use symphonia::core::units::Timestamp;

use super::heard::Heard;
use super::ticks::to_samples;
use super::{Audio, LOOK_BACK};
use crate::edits::Movie;

/// Packets at a track's start that are all equally long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steady {
    /// How many.
    packets: u32,
    /// How long each is, in ticks of the track.
    ticks: u32,
}

impl Steady {
    /// Those of a track of a movie whose tables are all at one place, and whose samples are all there.
    pub(super) fn of(movie: &Movie, track: u32) -> Option<Self> {
        let (packets, ticks) = movie.entries.iter().find(|entry| entry.track == track)?.steady?;
        (!movie.fragmented && movie.cut.is_none() && ticks > 0).then_some(Self { packets, ticks })
    }
}

impl Audio {
    /// Nobody listens to what lies before this sample of what is heard: it may be silence, but not shorter or longer.
    /// Only before the first block. Answers how many samples of what is heard will not be given at all.
    pub fn skip_before(&mut self, sample: u64) -> u64 {
        if !self.can_skip() {
            return 0;
        }
        self.skipped = i64::try_from(sample).unwrap_or(i64::MAX);
        // Only an edit list says where the sound begins.
        if matches!(self.heard, Heard::Ranges(_)) { self.jump().unwrap_or(0) } else { 0 }
    }

    /// Goes to the first packet that has to be decoded, or near it; none where packets have to be counted one by one.
    fn jump(&mut self) -> Option<u64> {
        let (steady, base) = (self.steady?, self.time_base?);
        let ticks = i64::from(steady.ticks);
        let length = to_samples(ticks, base, self.rate);
        // Where ticks are no whole samples, packets differ by one; and what they give may not be what they are said to.
        let whole = to_samples(1, base, self.rate).checked_mul(ticks) == Some(length);
        if !whole || length <= 0 || usize::try_from(length) != Ok(self.usual) || self.next_start % length != 0 {
            return None;
        }
        let first = self.skipped / length - LOOK_BACK;
        let first = first.min(i64::from(steady.packets) - 1);
        if first <= self.next_start / length {
            return None;
        }
        let to = SeekTo::Timestamp { ts: Timestamp::new(first.checked_mul(ticks)?), track_id: self.track };
        // A track that ends earlier, if only one of pictures, is no reason to give up: packets are counted then.
        let sought = self.format.seek(SeekMode::Accurate, to).ok()?;
        let start = to_samples(sought.actual_ts.get(), base, self.rate);
        let from =
            self.next_start.saturating_sub_unsigned(self.pending.take().map_or(0, |block| block.frames() as u64));
        let heard = self.heard.count(from, start);
        self.given = self.given.saturating_add(heard);
        self.next_start = start;
        self.pending = self.read_block();
        Some(heard)
    }
}
