//! Microsoft's description of an audio stream (WAVEFORMATEX), and the packets of a stream described so.

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, CODEC_ID_NULL_AUDIO};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::bytes::{le16, le32};
use super::frames::{Coding, Splitter};
use super::names;

/// Samples of uncompressed sound in a packet, about.
const PACKET_SAMPLES: u32 = 2048;

/// How a stream becomes packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Blocks of the same size, many to a packet.
    Blocks { bytes: u32, samples: u32 },
    /// Frames that have to be found.
    Frames(Coding),
    /// Every chunk is a packet, of so many samples if that is known.
    Whole { samples: u32 },
}

#[derive(Debug)]
pub(super) struct Waveform {
    pub(super) params: AudioCodecParameters,
    pub(super) packing: Packing,
    pub(super) rate: u32,
}

impl Waveform {
    pub(super) fn parse(format: &[u8]) -> Option<Self> {
        let mut tag = le16(format, 0)?;
        let (channels, rate) = (le16(format, 2)?, le32(format, 4)?);
        let (align, bits) = (le16(format, 12)?, le16(format, 14).unwrap_or(0));
        let mut extra = format.get(18..).unwrap_or_default();
        let mut mask = None;
        if tag == 0xfffe {
            mask = le32(extra, 2).and_then(Position::from_wave_channel_mask);
            tag = le16(extra, 6)?;
            extra = extra.get(22..).unwrap_or_default();
        }
        if channels == 0 || channels > 64 || rate == 0 {
            return None;
        }
        let (codec, packing) = coding(tag, channels, align, bits);
        let mut params = AudioCodecParameters::new();
        params.for_codec(codec).with_sample_rate(rate);
        let positions = mask.filter(|mask| mask.bits().count_ones() == u32::from(channels));
        let positions = positions.or_else(|| Position::from_wave_channel_count(u32::from(channels)));
        params.with_channels(positions.map_or(Channels::Discrete(channels), Channels::Positioned));
        if let Packing::Blocks { bytes, samples } = packing {
            // One block holds at least as much as there is of its header and a sample per channel.
            if bytes == 0 || samples == 0 {
                return None;
            }
            params.with_frames_per_block(u64::from(samples));
            params.with_max_frames_per_packet(u64::from(samples * blocks_per_packet(samples)));
        }
        if !extra.is_empty() {
            params.with_extra_data(extra.into());
        }
        Some(Self { params, packing, rate })
    }
}

/// What the decoder of QuickTime's ADPCM (IMA 4:1) has to know: blocks of 34 bytes per channel and 64 samples.
pub(super) fn ima_quicktime(params: &mut AudioCodecParameters) {
    params.with_frames_per_block(64).with_max_frames_per_packet(u64::from(64 * blocks_per_packet(64)));
}

pub(super) fn blocks_per_packet(samples: u32) -> u32 {
    (PACKET_SAMPLES / samples.max(1)).max(1)
}

fn coding(tag: u16, channels: u16, align: u16, bits: u16) -> (AudioCodecId, Packing) {
    let (channels, align) = (u32::from(channels), u32::from(align));
    let pcm = |codec, bytes: u32| (codec, Packing::Blocks { bytes: bytes * channels, samples: 1 });
    // Four bits per sample behind a header per channel, which has the first samples.
    let adpcm = |codec, header: u32, first: u32| {
        let samples = align.checked_sub(header * channels).map_or(0, |rest| rest * 2 / channels + first);
        (codec, Packing::Blocks { bytes: align, samples })
    };
    match (tag, bits) {
        (1, 1..=8) => pcm(codec::CODEC_ID_PCM_U8, 1),
        (1, 9..=16) => pcm(codec::CODEC_ID_PCM_S16LE, 2),
        (1, 17..=24) => pcm(codec::CODEC_ID_PCM_S24LE, 3),
        (1, 25..=32) => pcm(codec::CODEC_ID_PCM_S32LE, 4),
        (3, 32) => pcm(codec::CODEC_ID_PCM_F32LE, 4),
        (3, 64) => pcm(codec::CODEC_ID_PCM_F64LE, 8),
        (6, _) => pcm(codec::CODEC_ID_PCM_ALAW, 1),
        (7, _) => pcm(codec::CODEC_ID_PCM_MULAW, 1),
        (2, 4) => adpcm(codec::CODEC_ID_ADPCM_MS, 7, 2),
        (0x11, 4) => adpcm(codec::CODEC_ID_ADPCM_IMA_WAV, 4, 1),
        (0x50, _) => (codec::CODEC_ID_MP2, Packing::Frames(Coding::Mpeg)),
        (0x55, _) => (codec::CODEC_ID_MP3, Packing::Frames(Coding::Mpeg)),
        (0x2000, _) => (codec::CODEC_ID_AC3, Packing::Frames(Coding::Ac3)),
        (0x1600, _) => (codec::CODEC_ID_AAC, Packing::Frames(Coding::Adts)),
        (0xff | 0x706d | 0xa106, _) => (codec::CODEC_ID_AAC, Packing::Whole { samples: 1024 }),
        (0x566f | 0x674f..=0x6771, _) => (codec::CODEC_ID_VORBIS, Packing::Whole { samples: 0 }),
        (0xf1ac, _) => (codec::CODEC_ID_FLAC, Packing::Whole { samples: 0 }),
        (0x20, _) => (names::YAMAHA, Packing::Whole { samples: 0 }),
        (0x45 | 0x64, _) => (names::G726, Packing::Whole { samples: 0 }),
        (0x65 | 0x28f, _) => (names::G722, Packing::Whole { samples: 0 }),
        (0x2001, _) => (codec::CODEC_ID_DCA, Packing::Whole { samples: 0 }),
        (0x160..=0x163, _) => (codec::CODEC_ID_WMA, Packing::Whole { samples: 0 }),
        (0x57 | 0x58 | 0x7361 | 0x7362, _) => (names::AMR, Packing::Whole { samples: 0 }),
        (0x31 | 0x32 | 0x1500, _) => (names::GSM, Packing::Whole { samples: 0 }),
        _ => (CODEC_ID_NULL_AUDIO, Packing::Whole { samples: 0 }),
    }
}

/// Makes the packets of one stream, timed by the samples that went before.
pub(super) struct Packets {
    track: u32,
    packing: Packing,
    splitter: Splitter,
    /// Not yet enough for a packet.
    rest: Vec<u8>,
    samples: u64,
    ended: bool,
}

impl Packets {
    pub(super) fn new(track: u32, packing: Packing) -> Self {
        let coding = if let Packing::Frames(coding) = packing { coding } else { Coding::Unknown };
        Self { track, packing, splitter: Splitter::new(coding), rest: Vec::new(), samples: 0, ended: false }
    }

    /// The next piece of the stream. Take all packets before the next one.
    pub(super) fn push(&mut self, piece: &[u8]) {
        match self.packing {
            Packing::Frames(_) => self.splitter.push(piece, None),
            Packing::Blocks { .. } | Packing::Whole { .. } => self.rest.extend_from_slice(piece),
        }
    }

    /// Part of the stream is missing here.
    pub(super) fn cut(&mut self) {
        self.splitter.cut();
        self.rest.clear();
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
        self.splitter.end();
    }

    pub(super) fn next(&mut self) -> Option<Packet> {
        match self.packing {
            Packing::Frames(_) => {
                let frame = self.splitter.next()?;
                Some(self.packet(frame.data, frame.header.samples))
            }
            Packing::Whole { samples } => {
                let data = std::mem::take(&mut self.rest);
                (!data.is_empty()).then(|| self.packet(data.into(), samples))
            }
            Packing::Blocks { bytes, samples } => {
                let (size, most) = (bytes as usize, blocks_per_packet(samples));
                let whole = u32::try_from(self.rest.len().checked_div(size)?).unwrap_or(most);
                if whole == 0 || (whole < most && !self.ended) {
                    return None;
                }
                let blocks = whole.min(most);
                let data: Box<[u8]> = self.rest.drain(..size * blocks as usize).collect();
                Some(self.packet(data, samples * blocks))
            }
        }
    }

    fn packet(&mut self, data: Box<[u8]>, samples: u32) -> Packet {
        let start = Timestamp::new(i64::try_from(self.samples).unwrap_or(i64::MAX));
        self.samples = self.samples.saturating_add(u64::from(samples));
        Packet::new(self.track, start, Duration::new(u64::from(samples)), data)
    }
}
