//! FLV, with the codecs of Adobe's specification and those that Enhanced RTMP names by four letters.

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, CODEC_ID_NULL_AUDIO};
use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::well_known::FORMAT_ID_FLV;
use symphonia::core::formats::{FormatInfo, Track};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use super::bytes::{array, be24, be32, find, u8_at};
use super::frames::{Coding, Splitter};
use super::input::Input;
use super::{Demux, GAP, audio_track, end_of_file, info, names, video_track};

const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const SCRIPT: u8 = 18;
/// Tags looked through for the first sound.
const MAX_TAGS: usize = 20_000;
/// No audio tag is longer than this; the length is an error then.
const MAX_AUDIO: usize = 512 * 1024;
const TRACK: u32 = 0;

pub(super) struct Flv {
    tracks: Vec<Track>,
    start: u64,
    seconds: Option<f64>,
    kind: Option<Kind>,
    splitter: Option<Splitter>,
    time: u32,
    lost: bool,
    ended: bool,
}

/// What the first byte of an audio tag says, or the four letters behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain(u8),
    Named([u8; 4]),
}

struct Tag {
    kind: u8,
    time: u32,
    size: usize,
}

/// The part of an audio tag that counts.
enum Sound<'a> {
    /// What the decoder is to be set up with.
    Setup(&'a [u8]),
    Data(&'a [u8]),
    Nothing,
}

impl Demux for Flv {
    const INFO: FormatInfo = info(FORMAT_ID_FLV, "flv", "Flash Video");

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn seconds(&self) -> Option<f64> {
        self.seconds
    }

    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
        loop {
            if let Some(frame) = self.splitter.as_mut().and_then(Splitter::next) {
                let milliseconds = u64::from(frame.header.samples) * 1000 / u64::from(frame.header.rate.max(1));
                return Ok(Some(self.packet(frame.data, milliseconds)));
            }
            if self.ended {
                return Ok(None);
            }
            let Some(tag) = self.tag(input)? else { continue };
            if tag.kind != AUDIO || tag.size > MAX_AUDIO {
                input.skip(tag.size as u64)?;
                let again = input.peek(4)?.len();
                input.consume(again);
                continue;
            }
            let body = input.take(tag.size)?;
            if body.len() < tag.size {
                return Err(end_of_file());
            }
            // The size again; it may be missing at the end.
            let again = input.peek(4)?.len();
            input.consume(again);
            self.time = tag.time;
            match (kind(&body), sound(&body)) {
                // Another codec in mid-stream is not followed.
                (kind, _) if kind != self.kind => {}
                (_, Some(Sound::Data(data))) => match &mut self.splitter {
                    Some(splitter) => splitter.push(data, None),
                    None if data.is_empty() => {}
                    None => return Ok(Some(self.packet(data.into(), 0))),
                },
                (_, Some(Sound::Setup(setup))) if self.changed(setup) => return Err(Error::ResetRequired),
                _ => {}
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        if let Some(splitter) = &mut self.splitter {
            splitter.end();
        }
    }
}

impl Flv {
    /// Finds the tracks.
    pub(super) fn open(input: &mut Input<'_>) -> Result<Self> {
        let head = input.peek(9)?;
        let offset = be32(head, 5).ok_or(Error::DecodeError("flv: header"))?;
        let mut flv = Self {
            tracks: Vec::new(),
            start: u64::from(offset).clamp(9, 4096) + 4,
            seconds: None,
            kind: None,
            splitter: None,
            time: 0,
            lost: false,
            ended: false,
        };
        input.seek(flv.start)?;
        let mut has_video = false;
        for _ in 0..MAX_TAGS {
            let Ok(Some(tag)) = flv.tag(input) else { break };
            match tag.kind {
                AUDIO => {
                    let body = input.take(tag.size)?;
                    if let Some(params) = flv.recognise(&body) {
                        let base = TimeBase::try_from_recip(1000).ok_or(Error::DecodeError("flv: time base"))?;
                        flv.splitter = match params.codec {
                            codec::CODEC_ID_MP3 => Some(Splitter::new(Coding::Mpeg)),
                            codec::CODEC_ID_AC3 | codec::CODEC_ID_EAC3 => Some(Splitter::new(Coding::Ac3)),
                            _ => None,
                        };
                        flv.tracks.push(audio_track(TRACK, params, base, None));
                        break;
                    }
                }
                SCRIPT => {
                    let body = input.take(tag.size)?;
                    flv.seconds = flv.seconds.or_else(|| duration(&body));
                }
                kind => {
                    has_video |= kind == VIDEO;
                    if input.skip(tag.size as u64).is_err() {
                        break;
                    }
                }
            }
            let again = input.peek(4)?.len();
            input.consume(again);
        }
        if has_video || flv.tracks.is_empty() {
            flv.tracks.push(video_track(TRACK + 1));
        }
        flv.ended = false;
        flv.lost = false;
        input.seek(flv.start)?;
        Ok(flv)
    }

    /// The next tag's header. None at the end, and where none was found.
    fn tag(&mut self, input: &mut Input<'_>) -> Result<Option<Tag>> {
        let head = input.peek(11)?;
        let fields = (u8_at(head, 0), be24(head, 1), be24(head, 4), u8_at(head, 7), be24(head, 8));
        let (Some(kind), Some(size), Some(time), Some(high), Some(stream)) = fields else {
            self.end();
            return Ok(None);
        };
        if matches!(kind & 0x1f, AUDIO | VIDEO | SCRIPT) && kind & 0xc0 == 0 && stream == 0 {
            self.lost = false;
            input.consume(11);
            return Ok(Some(Tag { kind: kind & 0x1f, time: u32::from(high) << 24 | time, size: size as usize }));
        }
        input.consume(1);
        if !self.lost {
            self.lost = true;
            if let Some(splitter) = &mut self.splitter {
                splitter.cut();
            }
            return Err(Error::DecodeError(GAP));
        }
        Ok(None)
    }

    /// What the decoder has to know, from the first tag that says it.
    fn recognise(&mut self, body: &[u8]) -> Option<AudioCodecParameters> {
        let kind = kind(body)?;
        let first = u8_at(body, 0)?;
        let mut params = AudioCodecParameters::new();
        let id = codec_of(kind, first);
        let rate = match (kind, first >> 2 & 3) {
            // G.711 and MP3 at a rate that the header has no number for.
            (Kind::Plain(7 | 8 | 14), _) => 8000,
            (_, 0) => 5512,
            (_, shift) => 11_025 << (shift - 1),
        };
        params.for_codec(id).with_sample_rate(rate);
        let channels = if first & 1 == 1 { 2 } else { 1 };
        if let (Kind::Plain(_), Some(positions)) = (kind, Position::from_count(channels)) {
            params.with_channels(Channels::Positioned(positions));
        }
        if matches!(id, codec::CODEC_ID_AAC | codec::CODEC_ID_OPUS | codec::CODEC_ID_FLAC) {
            let Some(Sound::Setup(setup)) = sound(body) else { return None };
            if matches!(kind, Kind::Plain(_)) || id == codec::CODEC_ID_AAC {
                params.channels = None;
            }
            params.sample_rate = if id == codec::CODEC_ID_OPUS { Some(48_000) } else { aac_rate(setup) };
            params.with_extra_data(setup.into());
        }
        self.kind = Some(kind);
        Some(params)
    }

    /// Takes over what the decoder is to be set up with from now on; whether that is different.
    fn changed(&mut self, setup: &[u8]) -> bool {
        let Some(symphonia::core::codecs::CodecParameters::Audio(params)) =
            self.tracks.first_mut().and_then(|track| track.codec_params.as_mut())
        else {
            return false;
        };
        if setup.is_empty() || params.extra_data.as_deref() == Some(setup) {
            return false;
        }
        params.extra_data = Some(setup.into());
        params.sample_rate = aac_rate(setup).or(params.sample_rate);
        true
    }

    fn packet(&self, data: Box<[u8]>, milliseconds: u64) -> Packet {
        Packet::new(TRACK, Timestamp::new(i64::from(self.time)), Duration::new(milliseconds), data)
    }
}

fn kind(body: &[u8]) -> Option<Kind> {
    match u8_at(body, 0)? >> 4 {
        9 => array(body, 1).map(Kind::Named),
        plain => Some(Kind::Plain(plain)),
    }
}

fn codec_of(kind: Kind, first: u8) -> AudioCodecId {
    match kind {
        Kind::Plain(0 | 3) if first & 2 == 0 => codec::CODEC_ID_PCM_U8,
        Kind::Plain(0 | 3) => codec::CODEC_ID_PCM_S16LE,
        Kind::Plain(1) => names::ADPCM_FLASH,
        Kind::Plain(2 | 14) | Kind::Named([b'.', b'm', b'p', b'3']) => codec::CODEC_ID_MP3,
        Kind::Plain(4..=6) => names::NELLYMOSER,
        Kind::Plain(7) => codec::CODEC_ID_PCM_ALAW,
        Kind::Plain(8) => codec::CODEC_ID_PCM_MULAW,
        Kind::Plain(10) => codec::CODEC_ID_AAC,
        Kind::Plain(11) => codec::CODEC_ID_SPEEX,
        Kind::Named(letters) => match &letters {
            b"mp4a" => codec::CODEC_ID_AAC,
            b"Opus" => codec::CODEC_ID_OPUS,
            b"fLaC" => codec::CODEC_ID_FLAC,
            b"ac-3" => codec::CODEC_ID_AC3,
            b"ec-3" => codec::CODEC_ID_EAC3,
            _ => CODEC_ID_NULL_AUDIO,
        },
        Kind::Plain(_) => CODEC_ID_NULL_AUDIO,
    }
}

fn sound(body: &[u8]) -> Option<Sound<'_>> {
    let first = u8_at(body, 0)?;
    Some(match (first >> 4, first & 15) {
        (9, 0) => Sound::Setup(body.get(5..)?),
        (9, 1) => Sound::Data(body.get(5..)?),
        (9, _) => Sound::Nothing,
        (10, _) if u8_at(body, 1)? == 0 => Sound::Setup(body.get(2..)?),
        (10, _) => Sound::Data(body.get(2..)?),
        _ => Sound::Data(body.get(1..)?),
    })
}

/// The sample rate of an AudioSpecificConfig.
fn aac_rate(config: &[u8]) -> Option<u32> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];
    let start = super::bytes::be16(config, 0)?;
    RATES.get(usize::from(start >> 7 & 15)).copied()
}

/// The property `duration` of `onMetaData`: a number is a zero byte and a float.
fn duration(script: &[u8]) -> Option<f64> {
    const KEY: &[u8] = b"\0\x08duration\0";
    let at = find(script, KEY)?;
    let seconds = f64::from_be_bytes(array(script, at + KEY.len())?);
    (seconds.is_finite() && seconds > 0.0).then_some(seconds)
}
