//! MPEG program streams (`.mpg`, `.vob`), of MPEG-1 and MPEG-2.

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::common::FourCc;
use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::{FormatId, FormatInfo, Track};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use super::bytes::{be16, u8_at};
use super::frames::Coding;
use super::input::Input;
use super::pes::{Elementary, Given, Streams, next_start};
use super::{Demux, GAP, audio_track, end_of_file, info, names, pes, video_track};

/// Bytes looked through for the tracks once one of them is known, and if none is.
const PROBE: (u64, u64) = (4 << 20, 64 << 20);
const MAX_STREAMS: usize = 64;
/// The track numbers of uncompressed sound.
const PCM_TRACKS: u32 = 1000;
const VIDEO_TRACK: u32 = 2000;

pub(super) struct Program {
    tracks: Vec<Track>,
    streams: Streams,
    /// The streams' numbers in the file, in the order of `streams`.
    numbers: Vec<Number>,
    /// Uncompressed streams, by substream, with the samples that went before.
    pcm: Vec<(u8, Pcm, u64)>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pcm {
    rate: u32,
    channels: u8,
    bits: u8,
}

impl Demux for Program {
    const INFO: FormatInfo = info(FormatId::new(FourCc::new(*b"mpps")), "mpegps", "MPEG program stream");

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
        loop {
            match self.streams.next(self.ended) {
                Some(Given::Packet(packet)) => return Ok(Some(packet)),
                Some(Given::Gap) => return Err(Error::DecodeError(GAP)),
                Some(Given::Changed) => {
                    self.tracks = self.all_tracks();
                    return Err(Error::ResetRequired);
                }
                None if self.ended => return Ok(None),
                None => {}
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
        program.pcm.iter_mut().for_each(|(.., passed)| *passed = 0);
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
        tracks.extend(self.pcm.iter().filter_map(|(substream, pcm, _)| pcm.track(*substream)));
        if self.has_video {
            tracks.push(video_track(VIDEO_TRACK));
        }
        tracks
    }

    /// Reads one pack, header or packet.
    fn unit(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
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
        let format = u8_at(payload, 5)?;
        let pcm = Pcm {
            rate: [48_000, 96_000, 44_100, 32_000].get(usize::from(format >> 4 & 3)).copied()?,
            channels: (format & 7) + 1,
            bits: 16 + (format >> 6) * 4,
        };
        let index = self.pcm.iter().position(|(known, ..)| *known == substream).unwrap_or(self.pcm.len());
        if index == self.pcm.len() {
            self.pcm.push((substream, pcm, 0));
        }
        let (_, known, passed) = self.pcm.get_mut(index).filter(|(_, known, _)| *known == pcm)?;
        let frame = 2 * usize::from(known.channels);
        let data = payload.get(7..).filter(|_| known.bits == 16)?;
        let samples = data.len() / frame;
        let start = Timestamp::new(i64::try_from(*passed).ok()?);
        *passed = passed.saturating_add(samples as u64);
        let data = data.get(..samples * frame).filter(|data| !data.is_empty())?;
        Some(Packet::new(PCM_TRACKS + u32::from(substream), start, Duration::new(samples as u64), data))
    }
}

impl Pcm {
    fn track(self, substream: u8) -> Option<Track> {
        let id = if self.bits == 16 { codec::CODEC_ID_PCM_S16BE } else { names::DVD_PCM };
        let mut params = AudioCodecParameters::new();
        params.for_codec(id).with_sample_rate(self.rate);
        let positions = Position::from_wave_channel_count(u32::from(self.channels))?;
        params.with_channels(Channels::Positioned(positions));
        Some(audio_track(PCM_TRACKS + u32::from(substream), params, TimeBase::try_from_recip(self.rate)?, None))
    }
}
