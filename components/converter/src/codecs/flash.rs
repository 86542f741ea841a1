//! Flash's ADPCM (SWF file format specification 19, "ADPCM sound data"), of FLV files.

use symphonia::core::audio::{Channels, GenericAudioBufferRef, Position};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Error, Result};
use symphonia::core::io::{BitReaderLtr, ReadBitsLtr};
use symphonia::core::packet::PacketRef;

use super::output::Output;
use crate::formats::ADPCM_FLASH;

/// Samples of each channel in a block, behind the one in its header.
const BLOCK: usize = 4095;
/// Of one packet.
const MAX_SAMPLES: usize = 1 << 20;

const STEPS: [i32; 89] = [
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97, 107,
    118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796, 876, 963,
    1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894,
    6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794,
    32767,
];

/// How the step's index changes after a difference, for two to five bits of it.
const CHANGES: [&[i32]; 4] = [
    &[-1, 2],
    &[-1, -1, 2, 4],
    &[-1, -1, -1, -1, 2, 4, 6, 8],
    &[-1, -1, -1, -1, -1, -1, -1, -1, 1, 2, 4, 6, 8, 10, 13, 16],
];

/// Flash's ADPCM under Symphonia's interface.
pub(super) struct FlashDecoder {
    params: AudioCodecParameters,
    rate: u32,
    channels: usize,
    output: Output,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    sample: i32,
    index: i32,
}

impl State {
    fn read(bits: &mut BitReaderLtr<'_>) -> Option<Self> {
        let sample = bits.read_bits_leq32_signed(16).ok()?;
        Some(Self { sample, index: bits.read_bits_leq32(6).ok()?.cast_signed() })
    }

    /// The next sample, by a difference of so many bits.
    fn next(&mut self, difference: u32, width: u32) -> Option<i32> {
        let step = *STEPS.get(usize::try_from(self.index).ok()?)?;
        let (sign, size) = (difference >> (width - 1), difference & ((1 << (width - 1)) - 1));
        // As the players: the step's half, quarter and so on, each rounded.
        let mut change = step >> (width - 1);
        for bit in 0..width - 1 {
            if size >> bit & 1 == 1 {
                change += step >> (width - 2 - bit);
            }
        }
        self.sample = (self.sample + if sign == 1 { -change } else { change }).clamp(-32_768, 32_767);
        let changes = CHANGES.get(usize::try_from(width).ok()?.checked_sub(2)?)?;
        self.index = (self.index + changes.get(usize::try_from(size).ok()?)?).clamp(0, 88);
        Some(self.sample)
    }
}

/// The samples of each channel; what a packet ends with may be less than a sample.
fn decode(packet: &[u8], channels: usize) -> Option<Vec<Vec<i32>>> {
    let mut bits = BitReaderLtr::new(packet);
    let width = bits.read_bits_leq32(2).ok()? + 2;
    let mut planes = vec![Vec::new(); channels];
    while let Some(mut states) = (0..channels).map(|_| State::read(&mut bits)).collect::<Option<Vec<_>>>() {
        for (plane, state) in planes.iter_mut().zip(&states) {
            plane.push(state.sample);
        }
        for _ in 0..BLOCK {
            let differences: std::io::Result<Vec<u32>> = (0..channels).map(|_| bits.read_bits_leq32(width)).collect();
            let Ok(differences) = differences else { return Some(planes) };
            for ((plane, state), difference) in planes.iter_mut().zip(&mut states).zip(differences) {
                plane.push(state.next(difference, width)?);
            }
        }
        if planes.first().is_some_and(|plane| plane.len() > MAX_SAMPLES) {
            return None;
        }
    }
    Some(planes)
}

impl AudioDecoder for FlashDecoder {
    fn reset(&mut self) {}

    fn codec_info(&self) -> &CodecInfo {
        &INFO.info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.params
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.output.clear();
        let planes = decode(packet.data, self.channels).ok_or(Error::DecodeError("adpcm_swf: malformed packet"))?;
        let frames = planes.first().map_or(0, Vec::len);
        let front =
            if self.channels == 2 { Position::FRONT_LEFT | Position::FRONT_RIGHT } else { Position::FRONT_LEFT };
        let write = |index: usize, plane: &mut [f32]| {
            let source = planes.get(index).map(Vec::as_slice).unwrap_or_default();
            for (out, sample) in plane.iter_mut().zip(source) {
                *out = *sample as f32 / 32_768.0;
            }
        };
        Ok(self.output.fill(self.rate, &Channels::Positioned(front), frames, packet, write))
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.output.last()
    }
}

static INFO: SupportedAudioCodec = SupportedAudioCodec {
    id: ADPCM_FLASH,
    info: CodecInfo { short_name: "adpcm_swf", long_name: "Flash ADPCM", profiles: &[] },
};

impl RegisterableAudioDecoder for FlashDecoder {
    fn try_registry_new(params: &AudioCodecParameters, _: &AudioDecoderOptions) -> Result<Box<dyn AudioDecoder>> {
        let rate = params.sample_rate.ok_or(Error::Unsupported("adpcm_swf: no rate"))?;
        let channels = params.channels.as_ref().map_or(1, Channels::count).clamp(1, 2);
        Ok(Box::new(Self { params: params.clone(), rate, channels, output: Output::new() }))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        std::slice::from_ref(&INFO)
    }
}
