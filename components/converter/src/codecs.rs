//! Which decoder reads which codec: Symphonia's own where they are right, others under the same interface where it
//! has none.

mod aac;
mod ac3;
mod flash;
mod layouts;
mod opus;
mod output;
mod vorbis;

use std::sync::OnceLock;

use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
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
