//! AVI, also of OpenDML (files above 2 GiB), whose index is not needed: the chunks are taken as they come.

use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::well_known::FORMAT_ID_AVI;
use symphonia::core::formats::{FormatInfo, Track};
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use super::bytes::{array, le32};
use super::input::Input;
use super::waveform::{Packets, Waveform};
use super::{Demux, GAP, audio_track, end_of_file, info, video_track};

/// Chunks before the media.
const MAX_CHUNKS: usize = 4096;
const MAX_TRACKS: usize = 100;
/// Bytes of a chunk taken at once; a longer one is taken in pieces.
const PIECE: usize = 64 * 1024;
/// No audio chunk is longer than this; the length is an error then.
const MAX_CHUNK: u32 = 64 * 1024 * 1024;

pub(super) struct Avi {
    tracks: Vec<Track>,
    streams: Vec<Option<Packets>>,
    seconds: Option<f64>,
    /// The stream whose chunk is being read, and how much of it is left.
    current: Option<(usize, u32, bool)>,
    lost: bool,
    ended: bool,
}

/// The header of a stream while its format is awaited.
struct Pending {
    audio: bool,
    seconds: Option<f64>,
}

impl Demux for Avi {
    const INFO: FormatInfo = info(FORMAT_ID_AVI, "avi", "Audio Video Interleave");

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn seconds(&self) -> Option<f64> {
        self.seconds
    }

    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.streams.iter_mut().flatten().find_map(Packets::next) {
                return Ok(Some(packet));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some((stream, left, odd)) = self.current {
                let piece = input.peek((left as usize).min(PIECE))?;
                let length = piece.len();
                if let Some(Some(packets)) = self.streams.get_mut(stream) {
                    packets.push(piece);
                }
                input.consume(length);
                let left = left.saturating_sub(u32::try_from(length).unwrap_or(left));
                self.current = (left > 0 && length > 0).then_some((stream, left, odd));
                if left > 0 && length == 0 {
                    return Err(end_of_file());
                }
                if left == 0 && odd {
                    input.skip(1)?;
                }
                continue;
            }
            self.chunk(input)?;
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.streams.iter_mut().flatten().for_each(Packets::end);
    }
}

impl Avi {
    /// Finds the tracks.
    pub(super) fn open(input: &mut Input<'_>) -> Result<Self> {
        let mut avi =
            Self { tracks: Vec::new(), streams: Vec::new(), seconds: None, current: None, lost: false, ended: false };
        let mut pending = None;
        for _ in 0..MAX_CHUNKS {
            let head = input.peek(12)?;
            let (Some(id), Some(size)) = (array(head, 0), le32(head, 4)) else { break };
            let list: [u8; 4] = array(head, 8).unwrap_or_default();
            match (&id, &list) {
                (b"LIST", b"movi" | b"rec ") => {
                    input.consume(12);
                    return Ok(avi);
                }
                (b"RIFF", _) | (b"LIST", b"hdrl" | b"strl") => input.consume(12),
                (b"strh" | b"strf", _) => {
                    input.consume(8);
                    let body = input.take((size as usize).min(PIECE))?;
                    let unread = u64::from(size).saturating_sub(body.len() as u64);
                    input.skip(unread.saturating_add(u64::from(size & 1)))?;
                    if &id == b"strh" {
                        pending = Some(stream_header(&body));
                    } else if let Some(stream) = pending.take() {
                        avi.add(&stream, &body);
                    }
                }
                _ => input.skip(8 + u64::from(size) + u64::from(size & 1))?,
            }
        }
        Err(Error::DecodeError("avi: no media"))
    }

    fn add(&mut self, stream: &Pending, format: &[u8]) {
        let index = self.streams.len();
        if index >= MAX_TRACKS {
            return;
        }
        let id = u32::try_from(index).unwrap_or(u32::MAX);
        let audio = Waveform::parse(format).filter(|_| stream.audio);
        let base = audio.as_ref().and_then(|audio| TimeBase::try_from_recip(audio.rate));
        match (audio, base) {
            (Some(audio), Some(base)) => {
                self.seconds = self.seconds.or(stream.seconds);
                self.tracks.push(audio_track(id, audio.params, base, None));
                self.streams.push(Some(Packets::new(id, audio.packing)));
            }
            _ => {
                if !stream.audio {
                    self.tracks.push(video_track(id));
                }
                self.streams.push(None);
            }
        }
    }

    /// Reads a chunk's header and what is not audio of it.
    fn chunk(&mut self, input: &mut Input<'_>) -> Result<()> {
        let head = input.peek(12)?;
        let (Some(id), Some(size)) = (array(head, 0), le32(head, 4)) else {
            self.end();
            return Ok(());
        };
        let audio = audio_stream(id).filter(|stream| self.streams.get(*stream).is_some_and(Option::is_some));
        match (&id, audio) {
            (b"RIFF" | b"LIST", _) => {
                // The list of an index or of texts may come between; what is in it is gone over chunk by chunk.
                input.consume(12);
            }
            (_, Some(stream)) if size < MAX_CHUNK => {
                input.consume(8);
                self.lost = false;
                self.current = (size > 0).then_some((stream, size, size & 1 == 1));
            }
            _ if plausible(id) => {
                self.lost = false;
                input.skip(8 + u64::from(size) + u64::from(size & 1))?;
            }
            _ => {
                // No chunk begins here. The next one that does is looked for, byte by byte.
                input.consume(1);
                if !self.lost {
                    self.lost = true;
                    self.streams.iter_mut().flatten().for_each(Packets::cut);
                    return Err(Error::DecodeError(GAP));
                }
            }
        }
        Ok(())
    }
}

fn stream_header(header: &[u8]) -> Pending {
    let number = |at| le32(header, at).map(f64::from);
    let seconds = || Some(number(32)? * number(20)? / number(24).filter(|rate| *rate > 0.0)?);
    Pending { audio: array(header, 0) == Some(*b"auds"), seconds: seconds().filter(|seconds| *seconds > 0.0) }
}

/// The stream's number, of an id such as `01wb`.
fn audio_stream([tens, ones, w, b]: [u8; 4]) -> Option<usize> {
    let digits = tens.is_ascii_digit() && ones.is_ascii_digit() && (w, b) == (b'w', b'b');
    digits.then(|| usize::from(tens - b'0') * 10 + usize::from(ones - b'0'))
}

/// Whether a chunk may have this id.
fn plausible(id: [u8; 4]) -> bool {
    let stream = |[tens, ones, ..]: [u8; 4]| tens.is_ascii_digit() && ones.is_ascii_digit();
    let rest = id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ');
    rest && (stream(id)
        || matches!(&id, b"idx1" | b"JUNK" | b"INFO" | b"indx" | b"avih" | b"strh" | b"strf" | b"strn" | b"strd")
        || matches!(id, [b'i', b'x', ..] | [b'I', ..]))
}
