//! Streams of frames without a container: AAC in ADTS or LATM, AC-3 and E-AC-3.
//!
//! Recordings of radio are put together of pieces, and so their frames may change in rate and channels.

use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::well_known::FORMAT_ID_ADTS;
use symphonia::core::formats::{FormatInfo, Track};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use super::bytes::be32;
use super::frames::{Coding, Frame, Header, Splitter};
use super::input::Input;
use super::{Demux, audio_track, info};

/// Read at once.
const PIECE: usize = 16 * 1024;
/// Bytes of which the length of the whole is estimated.
const SAMPLE: u64 = 256 * 1024;
/// Bytes in which the first frame has to be.
const PROBE: u64 = 64 * 1024;
const TRACK: u32 = 0;

pub(super) struct Elementary {
    tracks: Vec<Track>,
    splitter: Splitter,
    header: Header,
    /// The rate that times are counted in: that of the first frame.
    rate: u32,
    /// Of another kind than those before, which was said.
    held: Option<Frame>,
    time: u64,
    start: u64,
    seconds: Option<f64>,
    ended: bool,
}

/// What a file's frames are, if it consists of such.
pub(super) fn coding(head: &[u8]) -> Option<Coding> {
    let body = usize::try_from(tag_length(head)).ok().and_then(|length| head.get(length..))?;
    [Coding::Adts, Coding::Latm, Coding::Ac3].into_iter().find(|coding| {
        let mut splitter = Splitter::new(*coding);
        splitter.push(body, None);
        // Several in a row, from the first byte on, are no accident.
        splitter.starts_with_frame() && (0..3).all(|_| splitter.next().is_some())
    })
}

/// The length of an ID3v2 tag in front of the frames.
fn tag_length(head: &[u8]) -> u64 {
    match (head.first_chunk(), be32(head, 6)) {
        (Some(b"ID3"), Some(size)) => {
            let size = (0..4).fold(0, |sum, place| sum | (size >> (8 * place) & 0x7f) << (7 * place));
            u64::from(size) + 10
        }
        _ => 0,
    }
}

impl Elementary {
    /// Finds the tracks.
    pub(super) fn open(input: &mut Input<'_>) -> Result<Self> {
        let none = Error::DecodeError("es: no frames");
        let head = input.peek(PROBE as usize)?;
        let start = tag_length(head);
        let Some(coding) = coding(head) else { return Err(none) };
        input.seek(start)?;
        let mut splitter = Splitter::new(coding);
        splitter.push(&input.take(PIECE)?, None);
        let Some(first) = splitter.next() else { return Err(none) };
        let header = first.header;
        let base = TimeBase::try_from_recip(header.rate).ok_or(none)?;
        let mut stream = Self {
            tracks: vec![audio_track(TRACK, header.parameters(), base, None)],
            splitter: splitter.renewed(),
            header,
            rate: header.rate,
            held: None,
            time: 0,
            start,
            seconds: None,
            ended: false,
        };
        input.seek(start)?;
        while input.position() < start + SAMPLE
            && let Some(frame) = stream.frame(input)?
        {
            stream.packet(frame);
        }
        let seen = stream.time as f64 / f64::from(stream.rate);
        let read = input.position().saturating_sub(start);
        let whole = input.length().map(|length| length.saturating_sub(start) as f64 / read.max(1) as f64);
        let seconds = whole.map(|whole| whole * seen).filter(|seconds| *seconds > 0.0);
        input.seek(stream.start)?;
        Ok(Self { splitter: splitter.renewed(), time: 0, ended: false, seconds, ..stream })
    }

    fn frame(&mut self, input: &mut Input<'_>) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.splitter.next() {
                return Ok(Some(frame));
            }
            if self.ended {
                return Ok(None);
            }
            match input.take(PIECE)? {
                piece if piece.is_empty() => {
                    self.ended = true;
                    self.splitter.end();
                }
                piece => self.splitter.push(&piece, None),
            }
        }
    }

    fn packet(&mut self, frame: Frame) -> Packet {
        let ticks = u64::from(frame.header.samples) * u64::from(self.rate) / u64::from(frame.header.rate.max(1));
        let time = Timestamp::new(i64::try_from(self.time).unwrap_or(i64::MAX));
        self.time = self.time.saturating_add(ticks);
        Packet::new(TRACK, time, Duration::new(ticks), frame.data)
    }
}

impl Demux for Elementary {
    const INFO: FormatInfo = info(FORMAT_ID_ADTS, "es", "Elementary stream");

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn seconds(&self) -> Option<f64> {
        self.seconds
    }

    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
        if let Some(frame) = self.held.take() {
            return Ok(Some(self.packet(frame)));
        }
        let Some(frame) = self.frame(input)? else { return Ok(None) };
        if !self.header.same_stream(&frame.header) {
            self.header = frame.header;
            let base = TimeBase::try_from_recip(self.rate).ok_or(Error::DecodeError("es: rate"))?;
            self.tracks = vec![audio_track(TRACK, frame.header.parameters(), base, None)];
            self.held = Some(frame);
            return Err(Error::ResetRequired);
        }
        Ok(Some(self.packet(frame)))
    }

    fn end(&mut self) {
        self.ended = true;
        self.splitter.end();
    }
}
