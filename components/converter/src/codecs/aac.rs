//! AAC (ISO/IEC 14496-3), by `syom`: AAC-LC up to 7.1, HE-AAC with spectral band replication, also where only the
//! stream itself says so, HE-AAC v2 with parametric stereo, and AAC-LD. Layouts without a number are described in the
//! configuration, or in ADTS, whose headers have no room for that, in the first packet.

use symphonia::core::audio::{Channels, GenericAudioBufferRef, Position};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;
use syom::{Channel, DecodeOptions, Decoder, Frame, Layout};

use super::output::Output;
use super::program;

/// The rates that an AudioSpecificConfig names by their index.
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];

/// AAC under Symphonia's interface.
pub(super) struct AacDecoder {
    params: AudioCodecParameters,
    /// None as long as no packet has told the layout.
    decoder: Option<Decoder>,
    config: Box<[u8]>,
    output: Output,
}

impl AacDecoder {
    fn new(params: &AudioCodecParameters) -> Result<Self> {
        let config: Box<[u8]> = match params.extra_data.as_deref() {
            Some(config) if config.len() >= 2 => config.into(),
            _ => plain_config(params).ok_or(Error::Unsupported("aac: neither configuration nor rate"))?.into(),
        };
        let decoder = if program::is_missing(&config) { None } else { Some(open(&config)?) };
        Ok(Self { params: params.clone(), decoder, config, output: Output::new() })
    }
}

/// The configuration of an AAC-LC stream that has none, by its header's rate and channels.
fn plain_config(params: &AudioCodecParameters) -> Option<[u8; 2]> {
    let rate = params.sample_rate?;
    let index = RATES.iter().position(|known| *known == rate)?;
    let layout = match params.channels.as_ref().map_or(2, Channels::count) {
        8 => 7,
        count @ 1..=6 => count,
        _ => return None,
    };
    let bits = 2 << 11 | index << 7 | layout << 3;
    u16::try_from(bits).ok().map(u16::to_be_bytes)
}

fn open(config: &[u8]) -> Result<Decoder> {
    Decoder::from_asc(config, DecodeOptions::unbounded()).map_err(|_| Error::Unsupported("aac: configuration"))
}

/// The position of each plane, if every one has its own.
fn positions(frame: &Frame<'_>) -> Option<Vec<Position>> {
    let known = |channel: Channel| match channel {
        Channel::FrontLeft => Some(Position::FRONT_LEFT),
        Channel::FrontRight => Some(Position::FRONT_RIGHT),
        Channel::FrontCenter => Some(Position::FRONT_CENTER),
        Channel::Lfe => Some(Position::LFE1),
        Channel::BackLeft => Some(Position::REAR_LEFT),
        Channel::BackRight => Some(Position::REAR_RIGHT),
        Channel::BackCenter => Some(Position::REAR_CENTER),
        Channel::SideLeft => Some(Position::SIDE_LEFT),
        Channel::SideRight => Some(Position::SIDE_RIGHT),
        _ => None,
    };
    let positions: Vec<Position> = frame.meta.labels().map(known).collect::<Option<_>>()?;
    let all = positions.iter().fold(Position::empty(), |all, position| all | *position);
    let distinct = all.bits().count_ones() as usize == positions.len();
    (distinct && positions.len() == frame.planar.len()).then_some(positions)
}

/// Copies a frame's planes in Symphonia's order, that of WAVE.
fn fill(output: &mut Output, frame: &Frame<'_>, packet: &PacketRef<'_>) {
    let mut order: Vec<usize> = (0..frame.planar.len()).collect();
    let channels = match positions(frame) {
        _ if frame.planar.len() == 1 => Channels::Positioned(Position::FRONT_LEFT),
        Some(positions) if frame.meta.layout != Layout::Unspecified => {
            order.sort_by_key(|index| positions.get(*index).map(|position| position.bits()));
            Channels::Positioned(positions.iter().fold(Position::empty(), |all, position| all | *position))
        }
        _ => Channels::Discrete(u16::try_from(frame.planar.len()).unwrap_or(u16::MAX)),
    };
    let write = |index: usize, plane: &mut [f32]| {
        let source = order.get(index).and_then(|from| frame.planar.get(*from)).copied().unwrap_or_default();
        for (out, sample) in plane.iter_mut().zip(source) {
            *out = *sample;
        }
    };
    output.fill(frame.sample_rate, &channels, frame.samples, packet, write);
}

impl AudioDecoder for AacDecoder {
    fn reset(&mut self) {
        if let Ok(fresh) = open(&self.config) {
            self.decoder = Some(fresh);
        }
    }

    fn codec_info(&self) -> &CodecInfo {
        &INFO.info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.params
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.output.clear();
        if self.decoder.is_none()
            && let Some(config) = program::completed(&self.config, packet.data)
        {
            self.decoder = Some(open(&config)?);
            self.config = config;
        }
        let Some(decoder) = &mut self.decoder else { return Err(Error::DecodeError("aac: no layout")) };
        let output = &mut self.output;
        let decoded = decoder.decode_au(packet.data, |frame| {
            fill(output, &frame, packet);
            Ok(())
        });
        if decoded.is_err() {
            // It takes nothing more after an error.
            self.reset();
            return Err(Error::DecodeError("aac: malformed packet"));
        }
        Ok(self.output.last())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.output.last()
    }
}

static INFO: SupportedAudioCodec = SupportedAudioCodec {
    id: CODEC_ID_AAC,
    info: CodecInfo { short_name: "aac", long_name: "Advanced Audio Coding", profiles: &[] },
};

impl RegisterableAudioDecoder for AacDecoder {
    fn try_registry_new(params: &AudioCodecParameters, _: &AudioDecoderOptions) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Self::new(params)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        std::slice::from_ref(&INFO)
    }
}
