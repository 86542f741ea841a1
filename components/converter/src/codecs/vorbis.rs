//! Vorbis I, by `lewton`, which decodes all that an encoder may write: Symphonia goes over coupled pairs in the wrong
//! order, and takes partitions of one channel for those of the next.

mod setup;

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};
use symphonia::core::audio::{Channels, GenericAudioBufferRef};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_VORBIS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;

use super::layouts::LAYOUTS;
use super::output::Output;

/// The identification header's length.
const IDENTIFICATION: usize = 30;

/// Vorbis under Symphonia's interface.
pub(super) struct VorbisDecoder {
    params: AudioCodecParameters,
    ident: IdentHeader,
    setup: SetupHeader,
    /// What of the packet before reaches into this one.
    window: PreviousWindowRight,
    channels: Channels,
    /// For each of Symphonia's channels, which one it is in Vorbis.
    order: Vec<usize>,
    output: Output,
}

impl VorbisDecoder {
    fn new(params: &AudioCodecParameters) -> Result<Self> {
        let unsupported = Error::Unsupported("vorbis: headers");
        let headers = params.extra_data.as_deref().unwrap_or_default();
        let Some((ident, setup)) = places(headers) else { return Err(unsupported) };
        let (Some(ident), Some(setup)) = (headers.get(ident..), headers.get(setup..)) else { return Err(unsupported) };
        if !setup::is_sane(setup) {
            return Err(unsupported);
        }
        let ident = read_header_ident(ident.get(..IDENTIFICATION).unwrap_or(ident));
        let ident = ident.map_err(|_| Error::Unsupported("vorbis: identification header"))?;
        let blocks = (ident.blocksize_0, ident.blocksize_1);
        let setup = read_header_setup(setup, ident.audio_channels, blocks);
        let setup = setup.map_err(|_| Error::Unsupported("vorbis: setup header"))?;
        let count = usize::from(ident.audio_channels);
        let (channels, order) = match count.checked_sub(1).and_then(|index| LAYOUTS.get(index)) {
            Some((positions, order)) => (Channels::Positioned(*positions), order.to_vec()),
            None => (Channels::Discrete(ident.audio_channels.into()), (0..count).collect()),
        };
        let (window, output) = (PreviousWindowRight::new(), Output::new());
        Ok(Self { params: params.clone(), ident, setup, window, channels, order, output })
    }
}

/// Where the identification header and the setup header start: one behind the other, or all three headers behind the
/// lengths of the first two.
fn places(headers: &[u8]) -> Option<(usize, usize)> {
    let [2, lengths @ ..] = headers else { return Some((0, IDENTIFICATION)) };
    let (mut at, mut sum, mut ended) = (1_usize, 0_usize, 0);
    for byte in lengths {
        at += 1;
        sum += usize::from(*byte);
        ended += usize::from(*byte < 255);
        if ended == 2 {
            return Some((at, at + sum));
        }
    }
    None
}

impl AudioDecoder for VorbisDecoder {
    fn reset(&mut self) {
        self.window = PreviousWindowRight::new();
    }

    fn codec_info(&self) -> &CodecInfo {
        &INFO.info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.params
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.output.clear();
        let decoded: Vec<Vec<f32>> = read_audio_packet_generic(&self.ident, &self.setup, packet.data, &mut self.window)
            .map_err(|_| Error::DecodeError("vorbis: malformed packet"))?;
        let frames = decoded.iter().map(Vec::len).min().unwrap_or(0);
        let order = &self.order;
        let write = |index: usize, plane: &mut [f32]| {
            let source = order.get(index).and_then(|from| decoded.get(*from)).map(Vec::as_slice).unwrap_or_default();
            for (out, sample) in plane.iter_mut().zip(source) {
                *out = *sample;
            }
        };
        Ok(self.output.fill(self.ident.audio_sample_rate, &self.channels, frames, packet, write))
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.output.last()
    }
}

static INFO: SupportedAudioCodec = SupportedAudioCodec {
    id: CODEC_ID_VORBIS,
    info: CodecInfo { short_name: "vorbis", long_name: "Vorbis", profiles: &[] },
};

impl RegisterableAudioDecoder for VorbisDecoder {
    fn try_registry_new(params: &AudioCodecParameters, _: &AudioDecoderOptions) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Self::new(params)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        std::slice::from_ref(&INFO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_behind_their_lengths_are_found() {
        assert_eq!(places(b"\x01vorbis"), Some((0, 30)));
        assert_eq!(places(&[2, 30, 255, 255, 1, 0]), Some((5, 5 + 30 + 511)));
        assert_eq!(places(&[2, 30, 255, 255]), None);
    }
}
