//! Sun's and NeXT's audio files (AU, SND): a header of six numbers, and uncompressed sound.

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::errors::{Error, Result};

use super::bytes::be32;
use super::input::Input;
use super::wave::Wave;
use super::waveform::{Packing, Waveform};

/// Finds the track, in the reader of the like in WAVE.
pub(super) fn open(input: &mut Input<'_>) -> Result<Wave> {
    let head = input.peek(24)?;
    let number = |index: usize| be32(head, index * 4).ok_or(Error::DecodeError("au: no header"));
    let (start, size, coding, rate, channels) = (number(1)?, number(2)?, number(3)?, number(4)?, number(5)?);
    let (codec, bytes) = match coding {
        1 => (codec::CODEC_ID_PCM_MULAW, 1),
        2 => (codec::CODEC_ID_PCM_S8, 1),
        3 => (codec::CODEC_ID_PCM_S16BE, 2),
        4 => (codec::CODEC_ID_PCM_S24BE, 3),
        5 => (codec::CODEC_ID_PCM_S32BE, 4),
        6 => (codec::CODEC_ID_PCM_F32BE, 4),
        7 => (codec::CODEC_ID_PCM_F64BE, 8),
        27 => (codec::CODEC_ID_PCM_ALAW, 1),
        _ => return Err(Error::Unsupported("au: coding")),
    };
    if !(24..1 << 20).contains(&start) || !(1..=64).contains(&channels) {
        return Err(Error::DecodeError("au: header"));
    }
    let mut params = AudioCodecParameters::new();
    params.for_codec(codec).with_sample_rate(rate).with_max_frames_per_packet(2048);
    let discrete = Channels::Discrete(u16::try_from(channels).unwrap_or(1));
    params.with_channels(Position::from_wave_channel_count(channels).map_or(discrete, Channels::Positioned));
    input.skip(u64::from(start))?;
    let packing = Packing::Blocks { bytes: bytes * channels, samples: 1 };
    Wave::new(Waveform { params, packing, rate }, Some(u64::from(size)).filter(|_| size != u32::MAX && size > 0))
}
