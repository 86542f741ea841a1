//! MPEG program streams (`.mpg`, `.vob`), of MPEG-1 and MPEG-2.

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::common::FourCc;
use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::{FormatId, FormatInfo, Track};
use symphonia::core::packet::Packet;

use super::bytes::{be16, u8_at};
use super::frames::Coding;
use super::input::Input;
use super::pes::{Elementary, Streams, next_start};
use super::{Demux, dvd, end_of_file, info, pes, video_track};

/// Bytes looked through for the tracks once one of them is known, and if none is.
const PROBE: (u64, u64) = (4 << 20, 64 << 20);
const MAX_STREAMS: usize = 64;
/// Zeros between packets; more are damage.
const MAX_STUFFING: usize = 64;
/// The track numbers of uncompressed sound.
const PCM_TRACKS: u32 = 1000;
const VIDEO_TRACK: u32 = 2000;

pub(super) struct Program {
    tracks: Vec<Track>,
    streams: Streams,
    /// The streams' numbers in the file, in the order of `streams`.
    numbers: Vec<Number>,
    /// Uncompressed streams.
    pcm: Vec<dvd::Stream>,
    has_video: bool,
    lost: bool,
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Stream(u8),
    /// Of the private stream 1.
    Substream(u8),
}

impl Demux for Program {
    const INFO: FormatInfo = info(FormatId::new(FourCc::new(*b"mpps")), "mpegps", "MPEG program stream");

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
        loop {
            if let Some(given) = self.streams.next(self.ended) {
                if matches!(given, Err(Error::ResetRequired)) {
                    self.tracks = self.all_tracks();
                }
                return given.map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(packet) = self.unit(input)? {
                return Ok(Some(packet));
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.streams.end();
    }
}

impl Program {
    /// Finds the tracks.
    pub(super) fn open(input: &mut Input<'_>) -> Result<Self> {
        let mut program = Self::empty();
        loop {
            match program.next(input) {
                Ok(None) => break,
                Ok(Some(_)) | Err(Error::ResetRequired | Error::DecodeError(_)) => {}
                Err(error) if matches!(&error, Error::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof) => {
                    break;
                }
                Err(error) => return Err(error),
            }
            let any = program.streams.known().1 || !program.pcm.is_empty();
            if input.position() > if any { PROBE.0 } else { PROBE.1 } {
                break;
            }
        }
        input.seek(0)?;
        program.pcm.iter_mut().for_each(dvd::Stream::renew);
        Ok(Self {
            tracks: program.all_tracks(),
            streams: program.streams.renewed(),
            lost: false,
            ended: false,
            ..program
        })
    }

    fn empty() -> Self {
        Self {
            tracks: Vec::new(),
            streams: Streams::default(),
            numbers: Vec::new(),
            pcm: Vec::new(),
            has_video: false,
            lost: false,
            ended: false,
        }
    }

    fn all_tracks(&self) -> Vec<Track> {
        let mut tracks: Vec<Track> = self.streams.tracks().collect();
        tracks.extend(self.pcm.iter().filter_map(dvd::Stream::track));
        if self.has_video {
            tracks.push(video_track(VIDEO_TRACK));
        }
        tracks
    }

    /// Reads one pack, header or packet.
    fn unit(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
        let zeros = stuffing(input)?;
        if zeros > 0 {
            input.consume(zeros);
            return Ok(None);
        }
        let head = input.peek(14)?;
        let (start, id) = (super::bytes::be24(head, 0), u8_at(head, 3));
        let length = usize::from(be16(head, 4).unwrap_or(0));
        match (start, id) {
            (Some(1), Some(0xba)) => {
                let second = u8_at(head, 4).is_some_and(|byte| byte >> 6 == 1);
                let stuffing = u8_at(head, 13).unwrap_or(0) & 7;
                input.skip(if second { 14 + u64::from(stuffing) } else { 12 })?;
            }
            (Some(1), Some(0xb9)) => input.consume(4),
            (Some(1), Some(id @ (0xbd | 0xc0..=0xdf))) => {
                let packet = input.take(6 + length)?;
                if packet.len() < 6 + length {
                    return Err(end_of_file());
                }
                self.lost = false;
                return Ok(self.audio(id, &packet));
            }
            (Some(1), Some(id @ 0xba..)) => {
                self.has_video |= (0xe0..=0xef).contains(&id);
                input.skip(6 + length as u64)?;
            }
            // A file may end with zeros, or within a start code.
            _ if head.len() < 14 && !head.iter().any(|byte| *byte > 1) => self.end(),
            _ => {
                let lost = std::mem::replace(&mut self.lost, true);
                input.consume(1);
                if !next_start(input)? {
                    self.end();
                } else if !lost {
                    self.streams.cut();
                }
            }
        }
        Ok(None)
    }

    fn audio(&mut self, id: u8, packet: &[u8]) -> Option<Packet> {
        let (at, time) = pes::header(packet)?;
        let payload = packet.get(at..)?;
        if id != 0xbd {
            self.push(Number::Stream(id), payload, time);
            return None;
        }
        let substream = u8_at(payload, 0)?;
        match substream {
            0x80..=0x8f | 0x98..=0x9f | 0xc0..=0xcf => {
                self.push(Number::Substream(substream), payload.get(4..)?, time);
                None
            }
            0xa0..=0xaf => self.uncompressed(substream, payload),
            _ => None,
        }
    }

    fn push(&mut self, number: Number, payload: &[u8], time: Option<u64>) {
        let index = self.numbers.iter().position(|known| *known == number);
        let Some(index) = index.or_else(|| self.add(number)) else { return };
        self.streams.push(index, payload, time);
    }

    fn add(&mut self, number: Number) -> Option<usize> {
        let index = self.numbers.len();
        if index >= MAX_STREAMS {
            return None;
        }
        let coding: std::result::Result<Coding, AudioCodecId> = match number {
            Number::Stream(_) => Ok(Coding::Unknown),
            Number::Substream(0x88..=0x8f | 0x98..=0x9f) => Err(codec::CODEC_ID_DCA),
            Number::Substream(_) => Ok(Coding::Ac3),
        };
        self.streams.add(Elementary::new(u32::try_from(index).ok()?, coding, None));
        self.numbers.push(number);
        Some(index)
    }

    fn uncompressed(&mut self, substream: u8, payload: &[u8]) -> Option<Packet> {
        let id = PCM_TRACKS + u32::from(substream);
        let index = self.pcm.iter().position(|stream| stream.id() == id).unwrap_or(self.pcm.len());
        if index == self.pcm.len() {
            self.pcm.push(dvd::Stream::new(id, payload)?);
        }
        self.pcm.get_mut(index)?.packet(payload)
    }
}

/// How many zeros come before a start code and its own two. Video CDs have twenty behind each packet of sound.
fn stuffing(input: &mut Input<'_>) -> Result<usize> {
    let head = input.peek(MAX_STUFFING + 4)?;
    let zeros = head.iter().take_while(|byte| **byte == 0).count();
    let some = (3..MAX_STUFFING).contains(&zeros) && u8_at(head, zeros) == Some(1);
    Ok(if some { zeros - 2 } else { 0 })
}
