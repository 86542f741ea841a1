//! Which decoder reads which codec: Symphonia's own where they are right, others under the same interface where it
//! has none.

mod aac;
mod ac3;
mod flash;
mod layouts;
mod opus;
mod output;
mod program;
mod vorbis;

use std::sync::OnceLock;

use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;

use crate::formats;
use crate::reason::Reason;

/// A decoder for a track, at its first packet.
///
/// # Errors
/// [`Reason::Unsupported`], with the codec's name if it is known.
pub(crate) fn decoder(params: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>, Reason> {
    let refused = || Reason::Unsupported(formats::codec_name(params.codec));
    registry().make_audio_decoder(params, &AudioDecoderOptions::default()).map_err(|_| refused())
}

/// Samples at a track's start that its codec says are not meant to be heard, whatever the container says.
pub(crate) fn priming(params: &AudioCodecParameters) -> Option<u32> {
    let head = params.extra_data.as_deref().filter(|_| params.codec == codec::CODEC_ID_OPUS)?;
    opus::Head::parse(head).map(|head| u32::from(head.pre_skip))
}

/// How many samples of each channel a packet of Opus has; none if it is malformed.
pub(crate) fn opus_samples(packet: &[u8]) -> Option<u64> {
    opus::samples(packet).map(|samples| samples as u64)
}

/// Whether a decoder hands out channels as the file has them, and knows nothing of their places.
pub(crate) fn in_order_of_the_file(id: AudioCodecId) -> bool {
    const PLAIN: [AudioCodecId; 18] = [
        codec::CODEC_ID_FLAC,
        codec::CODEC_ID_PCM_ALAW,
        codec::CODEC_ID_PCM_F32BE,
        codec::CODEC_ID_PCM_F32LE,
        codec::CODEC_ID_PCM_F64BE,
        codec::CODEC_ID_PCM_F64LE,
        codec::CODEC_ID_PCM_MULAW,
        codec::CODEC_ID_PCM_S16BE,
        codec::CODEC_ID_PCM_S16LE,
        codec::CODEC_ID_PCM_S24BE,
        codec::CODEC_ID_PCM_S24LE,
        codec::CODEC_ID_PCM_S32BE,
        codec::CODEC_ID_PCM_S32LE,
        codec::CODEC_ID_PCM_S8,
        codec::CODEC_ID_PCM_U8,
        codec::CODEC_ID_ADPCM_IMA_QT,
        codec::CODEC_ID_ADPCM_IMA_WAV,
        codec::CODEC_ID_ADPCM_MS,
    ];
    PLAIN.contains(&id)
}

fn registry() -> &'static CodecRegistry {
    static REGISTRY: OnceLock<CodecRegistry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = CodecRegistry::new();
        symphonia::default::register_enabled_codecs(&mut registry);
        // Symphonia's own AAC decoder leaves out SBR, PS, and more than two channels.
        registry.register_audio_decoder::<aac::AacDecoder>();
        registry.register_audio_decoder::<ac3::Ac3Decoder>();
        registry.register_audio_decoder::<flash::FlashDecoder>();
        registry.register_audio_decoder::<opus::OpusDecoder>();
        registry.register_audio_decoder::<vorbis::VorbisDecoder>();
        registry
    })
}
