//! What MPEG's two systems layers have in common (ISO/IEC 13818-1, 2.4.3.6): packets with time stamps that carry an
//! elementary stream in pieces.

use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::Track;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use super::bytes::{be16, u8_at};
use super::frames::{Coding, Frame, Header, Splitter};
use super::{GAP, audio_track};

/// Ticks per second.
pub(super) const CLOCK: u32 = 90_000;
/// Time stamps have 33 bits.
const WRAP: u64 = 1 << 33;
/// A step of the time stamps between these is a hole; less is jitter, and more another clock.
const HOLE: std::ops::Range<u64> = CLOCK as u64 / 10..CLOCK as u64 * 60;

/// The end of a packet's header, and its time stamp. None: more of it has to come.
pub(super) fn header(packet: &[u8]) -> Option<(usize, Option<u64>)> {
    let flags = u8_at(packet, 6)?;
    if flags >> 6 == 2 {
        let end = 9 + usize::from(u8_at(packet, 8)?);
        packet.get(..end)?;
        return Some((end, if u8_at(packet, 7)? & 0x80 == 0 { None } else { time(packet, 9) }));
    }
    // MPEG-1: stuffing, the buffer's size, the time.
    let mut at = 6;
    while u8_at(packet, at)? == 0xff && at < 6 + 16 {
        at += 1;
    }
    if u8_at(packet, at)? >> 6 == 1 {
        at += 2;
    }
    match u8_at(packet, at)? >> 4 {
        2 => Some((at + 5, time(packet, at))),
        3 => Some((at + 10, time(packet, at))),
        _ => Some((at + 1, None)),
    }
}

fn time(packet: &[u8], at: usize) -> Option<u64> {
    let [high, middle, low] =
        [u64::from(u8_at(packet, at)?), be16(packet, at + 1)?.into(), be16(packet, at + 3)?.into()];
    Some((high >> 1 & 7) << 30 | (middle >> 1) << 15 | low >> 1)
}

/// A timeline without the breaks and wraps of the stream's clock.
#[derive(Default)]
struct Clock {
    /// The time stamp that comes next if nothing is missing.
    expected: Option<u64>,
    now: u64,
}

impl Clock {
    /// Where a frame lies that is so long. A smaller hole counts where the stream is known to be cut.
    fn stamp(&mut self, time: Option<u64>, length: u64, cut: bool) -> u64 {
        if let Some(time) = time {
            if let Some(expected) = self.expected {
                let ahead = time.wrapping_sub(expected) % WRAP;
                let smallest = if cut { length / 2 } else { HOLE.start };
                self.now += if (smallest..HOLE.end).contains(&ahead) { ahead } else { 0 };
            }
            self.expected = Some(time);
        }
        let start = self.now;
        self.now = self.now.saturating_add(length);
        self.expected = self.expected.map(|expected| (expected + length) % WRAP);
        start
    }
}

/// One audio stream.
pub(super) struct Elementary {
    id: u32,
    language: Option<String>,
    /// Known, but not decoded here.
    refused: Option<AudioCodecId>,
    splitter: Splitter,
    header: Option<Header>,
    held: Option<Frame>,
    clock: Clock,
    /// The stream was cut, and no time stamp has shown yet whether anything is missing.
    was_cut: bool,
    /// What comes behind a gap.
    behind: Option<Packet>,
}

impl Elementary {
    pub(super) fn new(id: u32, coding: std::result::Result<Coding, AudioCodecId>, language: Option<String>) -> Self {
        let splitter = Splitter::new(coding.unwrap_or(Coding::Unknown));
        Self {
            id,
            language,
            refused: coding.err(),
            splitter,
            header: None,
            held: None,
            clock: Clock::default(),
            was_cut: false,
            behind: None,
        }
    }

    /// The same stream, as it is before its first frame.
    fn renewed(self) -> Self {
        let splitter = self.splitter.renewed();
        Self { splitter, held: None, clock: Clock::default(), was_cut: false, behind: None, ..self }
    }

    /// Goes on with a stream coded otherwise.
    pub(super) fn recode(&mut self, coding: std::result::Result<Coding, AudioCodecId>) {
        self.splitter = Splitter::new(coding.unwrap_or(Coding::Unknown));
        self.refused = coding.err();
    }

    /// Whether it is known what the decoder has to be.
    pub(super) fn is_known(&self) -> bool {
        self.refused.is_some() || self.header.is_some()
    }

    pub(super) fn push(&mut self, piece: &[u8], time: Option<u64>) {
        if self.refused.is_none() {
            self.splitter.push(piece, time);
        }
    }

    pub(super) fn cut(&mut self) {
        self.splitter.cut();
        self.was_cut = true;
    }

    pub(super) fn end(&mut self) {
        self.splitter.end();
    }

    /// The next packet, [`GAP`] where part of the stream is missing, or `ResetRequired` where from here on another
    /// decoder is needed, as [`Elementary::track`] says.
    fn next(&mut self) -> Option<Result<Packet>> {
        if let Some(packet) = self.behind.take() {
            return Some(Ok(packet));
        }
        let frame = self.held.take().or_else(|| self.splitter.next())?;
        let before = self.header.replace(frame.header);
        if before.is_some_and(|before| !before.same_stream(&frame.header)) {
            self.held = Some(frame);
            return Some(Err(Error::ResetRequired));
        }
        let length = u64::from(frame.header.samples) * u64::from(CLOCK) / u64::from(frame.header.rate.max(1));
        let before = self.clock.now;
        let start = self.clock.stamp(frame.time, length, self.was_cut);
        let is_behind_gap = self.was_cut && start > before;
        self.was_cut &= frame.time.is_none();
        let begin = Timestamp::new(i64::try_from(start).unwrap_or(i64::MAX));
        let packet = Packet::new(self.id, begin, Duration::new(length), frame.data);
        if is_behind_gap {
            self.behind = Some(packet);
            return Some(Err(Error::DecodeError(GAP)));
        }
        Some(Ok(packet))
    }

    /// The track to decode it by; none if nothing is known of it.
    pub(super) fn track(&self) -> Option<Track> {
        let mut unknown = AudioCodecParameters::new();
        let params = match (self.refused, &self.header) {
            (Some(codec), _) => std::mem::take(unknown.for_codec(codec)),
            (None, Some(header)) => header.parameters(),
            (None, None) => return None,
        };
        Some(audio_track(self.id, params, TimeBase::try_from_recip(CLOCK)?, self.language.as_deref()))
    }
}

/// The audio streams of a file.
#[derive(Default)]
pub(super) struct Streams {
    all: Vec<Elementary>,
    /// The one that may have frames.
    ready: usize,
}

impl Streams {
    pub(super) fn add(&mut self, stream: Elementary) {
        self.all.push(stream);
    }

    pub(super) fn get(&mut self, index: usize) -> Option<&mut Elementary> {
        self.all.get_mut(index)
    }

    /// Appends to a stream. Take all that is ready before the next piece.
    pub(super) fn push(&mut self, index: usize, piece: &[u8], time: Option<u64>) {
        if let Some(stream) = self.all.get_mut(index) {
            stream.push(piece, time);
            self.ready = index;
        }
    }

    pub(super) fn cut(&mut self) {
        self.all.iter_mut().for_each(Elementary::cut);
    }

    pub(super) fn end(&mut self) {
        self.all.iter_mut().for_each(Elementary::end);
        self.ready = 0;
    }

    /// The same streams, as they are before their first frames.
    pub(super) fn renewed(self) -> Self {
        Self { all: self.all.into_iter().map(Elementary::renewed).collect(), ready: 0 }
    }

    /// As [`Demux::next`](super::Demux::next). None: more has to be pushed, or nothing is left.
    pub(super) fn next(&mut self, ended: bool) -> Option<Result<Packet>> {
        loop {
            if let Some(given) = self.all.get_mut(self.ready)?.next() {
                return Some(given);
            }
            if !ended {
                return None;
            }
            self.ready += 1;
        }
    }

    /// Whether all streams are known, or at least one of them.
    pub(super) fn known(&self) -> (bool, bool) {
        (self.all.iter().all(Elementary::is_known), self.all.iter().any(Elementary::is_known))
    }

    pub(super) fn tracks(&self) -> impl Iterator<Item = Track> + '_ {
        self.all.iter().filter_map(Elementary::track)
    }
}

/// Goes to the next place that begins with 0, 0, 1 and a stream's number; false at the file's end.
pub(super) fn next_start(input: &mut super::input::Input<'_>) -> Result<bool> {
    loop {
        let window = input.peek(4096)?;
        if window.len() < 4 {
            return Ok(false);
        }
        let found = window.windows(4).position(|four| matches!(four, [0, 0, 1, id] if *id >= 0xb9));
        let passed = found.unwrap_or(window.len() - 3);
        input.consume(passed);
        if found.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_generations_are_read() {
        let second = [0, 0, 1, 0xc0, 0, 20, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1, 0xff];
        assert_eq!(header(&second), Some((14, Some(0))));
        assert_eq!(header(&second[..13]), None);
        let first = [0, 0, 1, 0xc0, 0, 20, 0xff, 0x40, 0x20, 0x2f, 0xff, 0xff, 0xff, 0xff, 7];
        assert_eq!(header(&first), Some((14, Some(WRAP - 1))));
        assert_eq!(header(&[0, 0, 1, 0xc0, 0, 20, 0x0f, 7]), Some((7, None)));
    }

    #[test]
    fn the_timeline_has_the_holes_but_not_the_wraps_and_breaks_of_the_clock() {
        let mut clock = Clock::default();
        assert_eq!(clock.stamp(Some(WRAP - 1000), 2000, false), 0);
        assert_eq!(clock.stamp(Some(1000), 2000, false), 2000);
        assert_eq!(clock.stamp(Some(3000 + 90_000), 2000, false), 94_000);
        assert_eq!(clock.stamp(Some(5_000_000_000), 2000, false), 96_000);
        assert_eq!(clock.stamp(None, 2000, false), 98_000);
        assert_eq!(clock.stamp(Some(5_000_003_999), 2000, false), 100_000);
    }
}
