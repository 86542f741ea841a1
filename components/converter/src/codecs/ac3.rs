//! AC-3 and E-AC-3 (ETSI TS 102 366), by `oxideav-ac3`.
//!
//! Of E-AC-3 the independent substream is decoded, which is the whole program in up to 5.1 channels; what dependent
//! substreams and objects add to it is for more loudspeakers than two.

use std::sync::{Mutex, PoisonError};

use oxideav_core::{CodecId, CodecParameters, Decoder, Frame, Packet, TimeBase};
use symphonia::core::audio::{Channels, GenericAudioBufferRef, Position};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AC3, CODEC_ID_EAC3};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;

use super::output::Output;

/// Frames of one packet that are decoded; six of one block each make the usual length.
const MAX_FRAMES: usize = 16;

/// One frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    rate: u32,
    positions: Position,
    /// Bytes.
    length: usize,
    /// Part of the program that is heard.
    heard: bool,
}

impl Header {
    fn parse(frame: &[u8]) -> Option<Self> {
        const RATES: [u32; 3] = [48_000, 44_100, 32_000];
        const KBITS: [usize; 19] =
            [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
        let [0x0b, 0x77, second, third, fourth, fifth, sixth, seventh, ..] = frame else { return None };
        let rate_index = usize::from(fourth >> 6);
        let version = fifth >> 3;
        if version > 10 {
            let length = 2 * (usize::from(second & 7) << 8 | usize::from(*third)) + 2;
            let rate = match RATES.get(rate_index) {
                Some(rate) => *rate,
                None => RATES.get(usize::from(fourth >> 4 & 3))? / 2,
            };
            let (kind, substream) = (second >> 6, second >> 3 & 7);
            let heard = kind != 1 && substream == 0;
            return Some(Self { rate, positions: positions(fourth >> 1 & 7, fourth & 1 == 1), length, heard });
        }
        let rate = *RATES.get(rate_index)?;
        let code = usize::from(fourth & 63);
        let kbits = *KBITS.get(code / 2)?;
        let words = match rate_index {
            0 => kbits * 2,
            1 => kbits * 96_000 / 44_100 + code % 2,
            _ => kbits * 3,
        };
        let mode = sixth >> 5;
        // The bit for the bass channel is behind those for the mix levels that the layout has.
        let levels = match mode {
            2 => 2,
            mode => 2 * (u32::from(mode & 1 == 1 && mode > 1) + u32::from(mode & 4 != 0)),
        };
        let bits = u16::from_be_bytes([*sixth, *seventh]);
        let bass = bits >> (12 - levels) & 1 == 1;
        // Versions 9 and 10 have half and a quarter of the rate.
        let rate = rate >> version.saturating_sub(8);
        Some(Self { rate, positions: positions(mode, bass), length: words * 2, heard: true })
    }
}

/// The loudspeakers of a coding mode (table 4.3).
fn positions(mode: u8, bass: bool) -> Position {
    let stereo = Position::FRONT_LEFT | Position::FRONT_RIGHT;
    let sides = Position::SIDE_LEFT | Position::SIDE_RIGHT;
    let all = match mode {
        1 => Position::FRONT_CENTER,
        3 => stereo | Position::FRONT_CENTER,
        4 => stereo | Position::REAR_CENTER,
        5 => stereo | Position::FRONT_CENTER | Position::REAR_CENTER,
        6 => stereo | sides,
        7 => stereo | Position::FRONT_CENTER | sides,
        _ => stereo,
    };
    if bass { all | Position::LFE1 } else { all }
}

/// Which of a frame's channels, as they are decoded, is each of Symphonia's, which are in the order of WAVE: the bass
/// channel is the last one of those modes that the decoder does not put in that order itself.
fn order(mode: Position) -> Vec<usize> {
    let count = mode.bits().count_ones() as usize;
    let in_order = mode.contains(Position::FRONT_CENTER | Position::SIDE_LEFT);
    let mut order: Vec<usize> = (0..count).collect();
    if mode.contains(Position::LFE1) && !in_order {
        let front = (Position::FRONT_LEFT | Position::FRONT_RIGHT | Position::FRONT_CENTER) & mode;
        order.pop();
        order.insert(front.bits().count_ones() as usize, count - 1);
    }
    order
}

/// AC-3 and E-AC-3 under Symphonia's interface.
pub(super) struct Ac3Decoder {
    params: AudioCodecParameters,
    /// Never locked: it makes of what is only `Send` what is also `Sync`.
    decoder: Mutex<Box<dyn Decoder>>,
    /// The packet's samples, one channel's after the other's.
    planes: Vec<Vec<f32>>,
    output: Output,
}

fn open() -> Result<Mutex<Box<dyn Decoder>>> {
    let params = CodecParameters::audio(CodecId::new("ac3"));
    oxideav_ac3::decoder::make_decoder(&params).map(Mutex::new).map_err(|_| Error::Unsupported("ac3: decoder"))
}

impl Ac3Decoder {
    fn new(params: &AudioCodecParameters) -> Result<Self> {
        Ok(Self { params: params.clone(), decoder: open()?, planes: Vec::new(), output: Output::new() })
    }

    /// Decodes one frame and appends its samples to the planes.
    fn decode_frame(&mut self, header: &Header, frame: &[u8]) -> Result<()> {
        let malformed = Error::DecodeError("ac3: malformed frame");
        let packet = Packet::new(0, TimeBase::new(1, i64::from(header.rate)), frame.to_vec());
        let decoder = self.decoder.get_mut().unwrap_or_else(PoisonError::into_inner);
        let decoded = decoder.send_packet(&packet).and_then(|()| decoder.receive_frame());
        let Ok(Frame::Audio(audio)) = decoded else { return Err(malformed) };
        let order = order(header.positions);
        self.planes.resize_with(order.len(), Vec::new);
        let bytes = audio.data.first().map(Vec::as_slice).unwrap_or_default();
        if bytes.len() != audio.samples as usize * order.len() * 2 {
            return Err(malformed);
        }
        for (plane, from) in self.planes.iter_mut().zip(order.iter()) {
            let samples = bytes.as_chunks::<2>().0.iter().skip(*from).step_by(order.len());
            plane.extend(samples.map(|sample| f32::from(i16::from_le_bytes(*sample)) / 32_768.0));
        }
        Ok(())
    }
}

impl AudioDecoder for Ac3Decoder {
    fn reset(&mut self) {
        if let Ok(fresh) = open() {
            self.decoder = fresh;
        }
    }

    fn codec_info(&self) -> &CodecInfo {
        let [ac3, eac3] = &INFO;
        if self.params.codec == eac3.id { &eac3.info } else { &ac3.info }
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.params
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.output.clear();
        self.planes.clear();
        let mut rest = packet.data;
        let mut first = None;
        for _ in 0..MAX_FRAMES {
            let Some(header) = Header::parse(rest) else { break };
            let Some((frame, behind)) = rest.split_at_checked(header.length) else { break };
            rest = behind;
            if header.heard && first.is_none_or(|first: Header| first.positions == header.positions) {
                first = first.or(Some(header));
                if let Err(error) = self.decode_frame(&header, frame) {
                    self.decoder = open()?;
                    return Err(error);
                }
            }
        }
        let Some(header) = first else { return Err(Error::DecodeError("ac3: no frame")) };
        let frames = self.planes.first().map_or(0, Vec::len);
        let planes = &self.planes;
        let write = |index: usize, plane: &mut [f32]| {
            for (out, sample) in plane.iter_mut().zip(planes.get(index).into_iter().flatten()) {
                *out = *sample;
            }
        };
        Ok(self.output.fill(header.rate, &Channels::Positioned(header.positions), frames, packet, write))
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.output.last()
    }
}

static INFO: [SupportedAudioCodec; 2] = [
    SupportedAudioCodec {
        id: CODEC_ID_AC3,
        info: CodecInfo { short_name: "ac3", long_name: "Dolby Digital (AC-3)", profiles: &[] },
    },
    SupportedAudioCodec {
        id: CODEC_ID_EAC3,
        info: CodecInfo { short_name: "eac3", long_name: "Dolby Digital Plus (E-AC-3)", profiles: &[] },
    },
];

impl RegisterableAudioDecoder for Ac3Decoder {
    fn try_registry_new(params: &AudioCodecParameters, _: &AudioDecoderOptions) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Self::new(params)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        &INFO
    }
}
