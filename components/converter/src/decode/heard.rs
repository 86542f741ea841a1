//! What is heard of the blocks of samples that a decoder gives: containers say in three ways where a track starts and
//! ends.

use std::ops::Range;

/// The samples of one packet.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Where it lies on the track's timeline, in samples; before 0: not meant to be heard.
    pub(super) start: i64,
    /// One plane per output channel.
    pub(super) planes: Vec<Vec<f32>>,
    /// How many samples the container says it has, if that is exact.
    pub(super) length: Option<u64>,
}

impl Block {
    /// Samples of each channel.
    pub(super) fn frames(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }
}

/// Which samples of the timeline are heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// All that the decoder gives; it cuts off itself what its format marks so.
    All,
    /// From 0 on; the last block may be shorter than what its decoder gives.
    Positive,
    /// These, in order.
    Ranges(Vec<Range<u64>>),
}

impl Heard {
    /// How much is heard between two places of the timeline.
    pub(super) fn count(&self, from: i64, to: i64) -> u64 {
        let (from, to) = (u64::try_from(from).unwrap_or(0), u64::try_from(to).unwrap_or(0));
        match self {
            Heard::All | Heard::Positive => to.saturating_sub(from),
            Heard::Ranges(ranges) => {
                ranges.iter().map(|range| range.end.min(to).saturating_sub(range.start.max(from))).sum()
            }
        }
    }

    /// Cuts off what is not to be heard of a block.
    pub(super) fn cut(&self, block: Block, last: bool, rate: u32) -> Vec<Vec<f32>> {
        let frames = block.frames() as u64;
        let end = block.start.saturating_add_unsigned(frames);
        let positive;
        let keep: &[Range<u64>] = match self {
            Heard::All => return block.planes,
            Heard::Positive => {
                // Block times in Matroska are in milliseconds by default, so only what differs by more is meant.
                let slack = u64::from(rate / 500);
                let length = block.length.filter(|length| last && length + slack < frames).unwrap_or(frames);
                positive = 0..u64::try_from(block.start.saturating_add_unsigned(length)).unwrap_or(0);
                std::slice::from_ref(&positive)
            }
            Heard::Ranges(ranges) => ranges,
        };
        let start = u64::try_from(block.start).unwrap_or(0);
        let end = u64::try_from(end).unwrap_or(0);
        let whole = block.start >= 0;
        if whole && keep.iter().any(|range| range.start <= start && end <= range.end) {
            return block.planes;
        }
        let mut planes = vec![Vec::new(); block.planes.len()];
        for range in keep {
            let from = i128::from(range.start.max(start)) - i128::from(block.start);
            let to = i128::from(range.end.min(end)) - i128::from(block.start);
            let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to)) else { continue };
            for (plane, source) in planes.iter_mut().zip(&block.planes) {
                plane.extend_from_slice(source.get(from..to).unwrap_or_default());
            }
        }
        planes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(start: i64, frames: usize, length: Option<u64>) -> Block {
        Block { start, planes: vec![(0..frames).map(|i| i as f32).collect()], length }
    }

    fn kept(rule: &Heard, block: Block, last: bool) -> Vec<f32> {
        rule.cut(block, last, 48_000).concat()
    }

    #[test]
    fn ranges_cut_blocks_at_their_borders() {
        let rule = Heard::Ranges(vec![4..10, 12..13]);
        assert_eq!(kept(&rule, block(0, 4, None), false), Vec::<f32>::new());
        assert_eq!(kept(&rule, block(2, 4, None), false), [2.0, 3.0]);
        assert_eq!(kept(&rule, block(5, 3, None), false), [0.0, 1.0, 2.0]);
        assert_eq!(kept(&rule, block(8, 10, None), false), [0.0, 1.0, 4.0]);
        assert_eq!(kept(&rule, block(-3, 8, None), false), [7.0]);
        assert_eq!((rule.count(-3, 5), rule.count(5, 100), rule.count(10, 12)), (1, 6, 0));
    }

    #[test]
    fn before_zero_nothing_is_heard_and_the_last_block_may_be_shorter() {
        assert_eq!(kept(&Heard::Positive, block(-2, 4, None), false), [2.0, 3.0]);
        assert_eq!(kept(&Heard::Positive, block(-9, 4, None), false), Vec::<f32>::new());
        assert_eq!(kept(&Heard::Positive, block(0, 1000, Some(500)), false).len(), 1000);
        assert_eq!(kept(&Heard::Positive, block(0, 1000, Some(500)), true).len(), 500);
        assert_eq!(kept(&Heard::Positive, block(0, 1000, Some(990)), true).len(), 1000);
    }
}
