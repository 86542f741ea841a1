//! Encodes one span of a track's frames, of all the samples that the track has.

use crate::encode::{EncodeError, Mp3, Settings};
use crate::part::{Part, Tally};
use crate::span::{Span, made, needed, total};

/// Samples of silence given at once.
const SILENCE: [f32; 1152] = [0.0; 1152];

/// The longest that a frame is, in bytes: 320 kbit/s at 32 kHz.
const LONGEST_FRAME: usize = 1441;

/// A span of an MP3 in the making.
pub struct Piece {
    mp3: Mp3,
    span: Span,
    /// Samples of the track seen.
    seen: u64,
    /// Samples given to the encoder, of which the first frames are thrown away.
    fed: u64,
    leading: bool,
    complete: bool,
    tally: Tally,
    /// The first bytes that came out, more than an info frame has.
    beginning: Vec<u8>,
    thrown: Vec<u8>,
}

impl Piece {
    /// For 1 or 2 channels at a sample rate. A span that is not the whole needs a rate that MP3 has.
    ///
    /// # Errors
    /// LAME refuses the combination or has no memory.
    pub fn new(rate: u32, channels: usize, settings: Settings, span: Span) -> Result<Self, EncodeError> {
        let mp3 = Mp3::new(rate, channels, settings, span.from == 0)?;
        let leading = span.lead() > 0;
        Ok(Self {
            mp3,
            span,
            seen: 0,
            fed: 0,
            leading,
            complete: false,
            tally: Tally::default(),
            beginning: Vec::new(),
            thrown: Vec::new(),
        })
    }

    /// True if nothing that follows belongs to it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Samples of the track seen, per channel.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Which frames.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// The first sample of the track that is encoded.
    #[must_use]
    pub fn first_sample(&self) -> u64 {
        self.span.first_sample(self.mp3.frame_samples())
    }

    /// The encoder.
    #[must_use]
    pub fn mp3(&self) -> &Mp3 {
        &self.mp3
    }

    /// So many samples of the track are left out, all before [`Piece::first_sample`].
    pub fn skip(&mut self, samples: u64) {
        self.seen = self.seen.saturating_add(samples);
    }

    /// Takes the track's next samples, one plane per channel, and appends what is ready of the span to `out`.
    ///
    /// # Errors
    /// LAME failed.
    pub fn encode(&mut self, planes: &[&[f32]], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let count = planes.first().map_or(0, |plane| plane.len());
        let before = self.first_sample().saturating_sub(self.seen);
        self.seen = self.seen.saturating_add(count as u64);
        let from = usize::try_from(before).unwrap_or(usize::MAX).min(count);
        self.feed(planes, from..count, out)
    }

    /// The track has ended: appends the rest of the span to `out`.
    ///
    /// # Errors
    /// LAME failed.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let frame = self.mp3.frame_samples();
        if self.complete || self.fed == 0 {
            return Ok(());
        }
        if self.span.is_whole() {
            let start = out.len();
            self.mp3.finish(out)?;
            self.count(out, start, total(self.fed, frame));
            self.complete = true;
            return Ok(());
        }
        // As LAME would, but no further than the span goes: the next one has the rest.
        let frames = self.span.most().unwrap_or(u64::MAX).min(total(self.fed, frame));
        while !self.complete && self.fed < needed(frames, frame) && frames > self.span.lead() {
            let silence = needed(frames, frame).saturating_sub(self.fed).min(SILENCE.len() as u64);
            self.feed(&[&SILENCE, &SILENCE], 0..usize::try_from(silence).unwrap_or(0), out)?;
        }
        if !self.complete && !self.leading {
            self.close(out)?;
        }
        Ok(())
    }

    /// The span's measure, when it is complete, without the place of the info frame.
    #[must_use]
    pub fn part(self) -> Part {
        let info = self.mp3.info_bytes().min(self.beginning.len());
        self.tally.finish(self.beginning.get(..info).unwrap_or_default())
    }

    /// Feeds samples up to the next border, crosses it, and so on.
    fn feed(
        &mut self,
        planes: &[&[f32]],
        mut range: std::ops::Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let frame = self.mp3.frame_samples();
        while !self.complete && !range.is_empty() {
            let border = if self.leading { Some(self.span.lead()) } else { self.span.most() };
            let room = border.map_or(u64::MAX, |frames| needed(frames, frame).saturating_sub(self.fed));
            let count = range.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let pieces: Option<Vec<&[f32]>> =
                planes.iter().map(|plane| plane.get(range.start..range.start + count)).collect();
            let pieces = pieces.ok_or_else(EncodeError::uneven)?;
            let start = out.len();
            self.mp3.encode(&pieces, if self.leading { &mut self.thrown } else { out })?;
            self.fed = self.fed.saturating_add(count as u64);
            range.start += count;
            self.count(out, start, made(self.fed, frame));
            if count as u64 == room {
                self.cross(out)?;
            }
        }
        Ok(())
    }

    /// At the border before the first frame that is kept, or behind the last.
    fn cross(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if !self.leading {
            return self.close(out);
        }
        // What is kept must not borrow bits of what is thrown away.
        self.mp3.flush_frames(&mut self.thrown)?;
        self.thrown = Vec::new();
        self.leading = false;
        Ok(())
    }

    fn close(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        self.mp3.flush_frames(out)?;
        self.count(out, start, made(self.fed, self.mp3.frame_samples()));
        self.complete = true;
        Ok(())
    }

    /// Counts what came to `out` behind `start`, after so many frames with those thrown away.
    fn count(&mut self, out: &[u8], start: usize, frames: u64) {
        let new = out.get(start..).unwrap_or_default();
        let missing = LONGEST_FRAME.saturating_sub(self.beginning.len());
        self.beginning.extend_from_slice(new.get(..missing.min(new.len())).unwrap_or_default());
        self.tally.add(new, frames.saturating_sub(self.span.lead()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::info_frame;

    const RATE: u32 = 44_100;

    /// Two sweeps, whose frames all differ.
    fn track(samples: usize) -> [Vec<f32>; 2] {
        let sweep = |from: f32, by: f32| {
            (0..samples)
                .map(|index| index as f32 / RATE as f32)
                .map(|time| ((from + by * time) * time * std::f32::consts::TAU).sin() * 0.4)
                .collect()
        };
        [sweep(200.0, 90.0), sweep(900.0, 40.0)]
    }

    fn encode(track: &[Vec<f32>; 2], settings: &Settings, span: Span) -> (Vec<u8>, Part, Vec<u8>) {
        let mut piece = Piece::new(RATE, 2, settings.clone(), span).expect("an encoder");
        let mut out = Vec::new();
        let [left, right] = track;
        for (left, right) in left.chunks(1000).zip(right.chunks(1000)) {
            piece.encode(&[left, right], &mut out).expect("frames");
        }
        piece.finish(&mut out).expect("the last frames");
        let info = if span.from == 0 { piece.mp3().info_frame().expect("an info frame") } else { Vec::new() };
        (out, piece.part(), info)
    }

    /// The frames' sizes, by their headers (ISO 11172-3, 2.4.2.3; layer III, 44.1 kHz).
    fn frames(mut bytes: &[u8]) -> Vec<usize> {
        const KBIT: [usize; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
        let mut sizes = Vec::new();
        while !bytes.is_empty() {
            assert_eq!((bytes[0], bytes[1] & 0xfe), (0xff, 0xfa), "a frame's header, after {} frames", sizes.len());
            let size = 144_000 * KBIT[usize::from(bytes[2] >> 4)] / RATE as usize + usize::from(bytes[2] >> 1 & 1);
            bytes = &bytes[size..];
            sizes.push(size);
        }
        sizes
    }

    #[test]
    fn parts_make_the_frames_of_the_whole_and_a_true_header() {
        let variable = Settings::default().with(messages::Choices { vbr: Some(4), ..Default::default() });
        for settings in [Settings::default(), variable] {
            for samples in [150 * 1152, 150 * 1152 + 575, 150 * 1152 + 577, 149 * 1152 + 1151] {
                let track = track(samples);
                let (whole, single, info) = encode(&track, &settings, Span::WHOLE);
                let mut joined = Vec::new();
                let mut parts = Vec::new();
                let mut first = Vec::new();
                for span in Span::share(150, 4) {
                    let (body, part, info) = encode(&track, &settings, span);
                    assert_eq!(part.frames, span.to.unwrap_or(single.frames) - span.from, "{samples} {span:?}");
                    joined.extend(body);
                    parts.push(part);
                    first = if span.from == 0 { info } else { first };
                }
                let header = info_frame(&first, &parts, samples as u64, 1152).expect("an info frame");
                assert_eq!(frames(&joined).len(), frames(&whole).len(), "{samples}");
                assert_eq!(single.frames as usize + 1, frames(&whole).len(), "{samples}");
                // What does not depend on the frames' content is as LAME writes it: count, delay, padding.
                let at = info.windows(4).position(|four| four == b"Info" || four == b"Xing").expect("a header");
                assert_eq!(header[..at + 12], info[..at + 12]);
                assert_eq!(header[at + 116..at + 148], info[at + 116..at + 148], "{samples}");
                assert_eq!(header[at + 12..at + 16], (joined.len() as u32).to_be_bytes());
                let close = |one: u8, other: u8| one.abs_diff(other) <= 8;
                let tables = header[at + 16..at + 116].iter().zip(&info[at + 16..at + 116]);
                assert!(tables.clone().all(|(one, other)| close(*one, *other)), "{:?}", tables.collect::<Vec<_>>());
                // And of one part alone, all is, but for the rounding of the seek table.
                let own = info_frame(&info, &[single], samples as u64, 1152).expect("an info frame");
                assert_eq!((&own[..at + 16], &own[at + 116..at + 154]), (&info[..at + 16], &info[at + 116..at + 154]));
            }
        }
    }

    #[test]
    fn a_track_that_ends_before_a_span_leaves_it_empty() {
        let track = track(20 * 1152);
        let settings = Settings::default();
        for span in [Span { from: 60, to: Some(90) }, Span { from: 25, to: None }, Span { from: 33, to: Some(40) }] {
            let (body, part, _) = encode(&track, &settings, span);
            assert_eq!((body.len(), part.frames, part.bytes), (0, 0, 0), "{span:?}");
        }
        let (_, part, _) = encode(&track, &settings, Span { from: 18, to: Some(90) });
        assert_eq!(part.frames, total(20 * 1152, 1152) - 18);
    }
}
