//! A run of an MP3's frames that is encoded by itself, so that several encoders can share one track.
//!
//! All count frames and samples from the track's first one. An encoder that starts at a frame's first sample makes the
//! same frames as one that started at the track's, but for what it remembers of the sound before and for the bits that
//! earlier frames left over (the bit reservoir). So it starts [`LEAD`] frames early, throws those away, and lets its
//! first kept frame borrow nothing: whatever frames come before it, it can follow them.

use serde::{Deserialize, Serialize};

/// Frames encoded before the first that is kept. LAME's psychoacoustic model looks back by two; its adaptive hearing
/// threshold settles over several.
pub const LEAD: u64 = 12;
/// What LAME must have of a frame's successor to encode the frame, in samples.
const LOOK_AHEAD: u64 = 224;
/// By how much LAME delays the sound, in samples (`ENCDELAY`).
const DELAY: u64 = 576;

/// Which frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first one.
    pub from: u64,
    /// The one behind the last; absent: all to the track's end.
    pub to: Option<u64>,
}

impl Span {
    /// All the frames there are.
    pub const WHOLE: Self = Self { from: 0, to: None };

    /// Parts a track of about `frames` into `count` spans of about equal length, the last one open.
    #[must_use]
    pub fn share(frames: u64, count: u64) -> Vec<Self> {
        let count = count.clamp(1, frames.max(1));
        let border = |index: u64| frames / count * index;
        (0..count)
            .map(|index| Self { from: border(index), to: (index + 1 < count).then(|| border(index + 1)) })
            .collect()
    }

    /// True if these are all the frames there are.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::WHOLE
    }

    /// How much of the span is done when so much of the whole is, both from 0 to 1.
    #[must_use]
    pub fn progress(&self, whole: f64, frames: Option<u64>) -> f64 {
        let Some(frames) = frames.filter(|_| !self.is_whole()) else { return whole };
        let from = self.from.min(frames) as f64;
        let to = self.to.unwrap_or(frames).min(frames) as f64;
        ((whole * frames as f64 - from) / (to - from).max(1.0)).clamp(0.0, 1.0)
    }

    /// The first frame that is encoded.
    fn first(&self) -> u64 {
        self.from.saturating_sub(LEAD)
    }

    /// How many frames are encoded and thrown away.
    #[must_use]
    pub fn lead(&self) -> u64 {
        self.from - self.first()
    }

    /// How many frames it has at most, with those thrown away.
    #[must_use]
    pub fn most(&self) -> Option<u64> {
        self.to.map(|to| to.saturating_sub(self.first()))
    }

    /// The first sample that is encoded, of frames of `frame` samples.
    #[must_use]
    pub fn first_sample(&self, frame: u64) -> u64 {
        self.first().saturating_mul(frame)
    }
}

/// How many samples LAME must have for `frames` frames of `frame` samples.
#[must_use]
pub fn needed(frames: u64, frame: u64) -> u64 {
    if frames == 0 { 0 } else { frames.saturating_mul(frame).saturating_add(LOOK_AHEAD) }
}

/// How many frames of `frame` samples LAME has made of `samples`.
#[must_use]
pub fn made(samples: u64, frame: u64) -> u64 {
    samples.saturating_sub(LOOK_AHEAD) / frame.max(1)
}

/// How many frames of `frame` samples LAME makes of a track of `samples`, when it ends: they last at least half a
/// frame longer than the delayed track, as decoders need that.
#[must_use]
pub fn total(samples: u64, frame: u64) -> u64 {
    let frame = frame.max(1);
    let delayed = samples.saturating_add(DELAY);
    let padding = frame - delayed % frame;
    let padding = if padding < DELAY { padding + frame } else { padding };
    delayed.saturating_add(padding) / frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_follow_one_another_to_the_end() {
        let spans = Span::share(1000, 3);
        let borders: Vec<_> = spans.iter().map(|span| (span.from, span.to)).collect();
        assert_eq!(borders, [(0, Some(333)), (333, Some(666)), (666, None)]);
        assert!(Span::share(1000, 1)[0].is_whole() && Span::share(0, 9)[0].is_whole());
        assert_eq!(Span::share(2, 9).len(), 2);
    }

    #[test]
    fn a_span_starts_early_but_not_before_the_track() {
        let span = Span { from: 100, to: Some(150) };
        assert_eq!((span.lead(), span.most(), span.first_sample(1152)), (12, Some(62), 88 * 1152));
        let span = Span { from: 5, to: None };
        assert_eq!((span.lead(), span.most(), span.first_sample(576)), (5, None, 0));
    }

    #[test]
    fn progress_is_that_of_the_span() {
        let span = Span { from: 100, to: Some(200) };
        for (whole, part) in [(0.0, 0.0), (0.1, 0.0), (0.15, 0.5), (0.2, 1.0), (1.0, 1.0)] {
            assert!((span.progress(whole, Some(1000)) - part).abs() < 1e-9, "{whole}");
        }
        assert_eq!(Span::WHOLE.progress(0.3, Some(1000)), 0.3);
        assert_eq!(span.progress(0.3, None), 0.3);
    }

    #[test]
    fn frames_and_samples_agree() {
        for frame in [576, 1152] {
            for frames in [1, 2, 12, 1000] {
                assert_eq!(made(needed(frames, frame), frame), frames);
                assert_eq!(made(needed(frames, frame) - 1, frame), frames - 1);
            }
        }
        assert_eq!(total(0, 1152), 1);
        assert_eq!((total(1152, 1152), total(1153, 1152)), (2, 3));
    }
}
