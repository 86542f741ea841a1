//! Opus (RFC 6716, RFC 7845), by `rusty-opus`: mono, stereo, and the surround layouts of channel mapping family 1.
//!
//! Pre-skip is for whoever knows the container, which may have cut it off already.

use rusty_opus::repacketizer;
use symphonia::core::audio::{Channels, GenericAudioBufferRef};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;

use super::layouts::LAYOUTS;
use super::output::Output;

/// Opus is decoded at this rate, whatever rate was encoded.
const RATE: u32 = 48_000;
/// Samples in the longest packet, 120 ms.
const MAX_FRAMES: usize = 5760;
const MAX_CHANNELS: usize = LAYOUTS.len();

/// The identification header: `OpusHead` of Ogg and Matroska, or `dOps` of MP4 behind the same magic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Samples at the start that are not meant to be heard.
    pub(super) pre_skip: u16,
    /// Output gain in dB, Q7.8.
    gain: i16,
    streams: usize,
    coupled: usize,
    /// Where each output channel is found in the decoded streams; its length is the number of channels.
    mapping: Vec<u8>,
}

impl Head {
    /// Reads the header; none if it is malformed or of a mapping family without loudspeakers.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let body = bytes.strip_prefix(b"OpusHead")?;
        let [version, channels, skip_0, skip_1, _, _, _, _, gain_0, gain_1, family, table @ ..] = body else {
            return None;
        };
        // MP4's version is 0, and its numbers are big-endian.
        let (pre_skip, gain) = match version {
            0 => (u16::from_be_bytes([*skip_0, *skip_1]), i16::from_be_bytes([*gain_0, *gain_1])),
            _ => (u16::from_le_bytes([*skip_0, *skip_1]), i16::from_le_bytes([*gain_0, *gain_1])),
        };
        let channels = usize::from(*channels);
        let (streams, coupled, mapping) = match (family, table) {
            (0, _) if channels <= 2 => return Self::plain(channels).map(|head| Self { pre_skip, gain, ..head }),
            (1, [streams, coupled, mapping @ ..]) if channels <= MAX_CHANNELS => {
                (usize::from(*streams), usize::from(*coupled), mapping.get(..channels)?.to_vec())
            }
            _ => return None,
        };
        // More streams than channels make no sense here, and each costs memory.
        let sane = (1..=MAX_CHANNELS).contains(&streams) && coupled <= streams && channels > 0;
        sane.then_some(Self { pre_skip, gain, streams, coupled, mapping })
    }

    /// Of a stream without a header.
    fn plain(channels: usize) -> Option<Self> {
        match channels {
            1 => Some(Self { pre_skip: 0, gain: 0, streams: 1, coupled: 0, mapping: vec![0] }),
            2 => Some(Self { pre_skip: 0, gain: 0, streams: 1, coupled: 1, mapping: vec![0, 1] }),
            _ => None,
        }
    }
}

/// One of a packet's streams.
struct Stream {
    decoder: rusty_opus::OpusDecoder,
    /// 1 or 2.
    channels: usize,
    interleaved: Vec<f32>,
}

impl Stream {
    fn new(channels: usize) -> Result<Self> {
        let decoder = rusty_opus::OpusDecoder::new(RATE.cast_signed(), channels)
            .map_err(|_| Error::Unsupported("opus: decoder"))?;
        Ok(Self { decoder, channels, interleaved: vec![0.0; MAX_FRAMES * channels] })
    }

    /// Decodes a packet of this stream alone, and says how many samples of each channel it had.
    fn decode(&mut self, packet: &[u8]) -> Result<usize> {
        let malformed = || Error::DecodeError("opus: malformed packet");
        let frames = samples(packet).ok_or_else(malformed)?;
        self.decoder.decode(packet, frames, &mut self.interleaved).map_err(|_| malformed())
    }
}

/// How many samples of each channel a packet has (RFC 6716, section 3.1); none if it is malformed.
pub(super) fn samples(packet: &[u8]) -> Option<usize> {
    let count = repacketizer::nb_frames(packet).ok()?;
    let samples = repacketizer::samples_per_frame(*packet.first()?, RATE.cast_signed()).saturating_mul(count);
    usize::try_from(samples).ok().filter(|samples| (1..=MAX_FRAMES).contains(samples))
}

/// Splits the first stream's packet off a packet of several streams (RFC 6716, appendix B): its usual form, without
/// the length that delimits it, and the rest. None if it is malformed.
fn split(data: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let length = |at: usize| -> Option<(usize, usize)> {
        match usize::from(*data.get(at)?) {
            short @ 0..252 => Some((short, at + 1)),
            long => Some((long + 4 * usize::from(*data.get(at + 1)?), at + 2)),
        }
    };
    // `at` is where the delimiting length is.
    let (at, body, frames) = match data.first()? & 3 {
        0 => (1, 0, 1),
        1 => (1, 0, 2),
        2 => {
            let (first, at) = length(1)?;
            (at, first, 1)
        }
        _ => {
            let count = *data.get(1)?;
            let (mut at, mut body) = (2, 0);
            if count & 0x40 != 0 {
                loop {
                    let byte = *data.get(at)?;
                    at += 1;
                    body += usize::from(byte.min(254));
                    if byte != 255 {
                        break;
                    }
                }
            }
            let frames = usize::from(count & 0x3f);
            if count & 0x80 == 0 {
                (at, body, frames)
            } else {
                for _ in 1..frames {
                    let (size, next) = length(at)?;
                    (at, body) = (next, body + size);
                }
                (at, body, 1)
            }
        }
    };
    let (size, start) = length(at)?;
    let end = start + body + size * frames;
    let packet = [data.get(..at)?, data.get(start..end)?].concat();
    Some((packet, data.get(end..)?))
}

/// Opus under Symphonia's interface.
pub(super) struct OpusDecoder {
    params: AudioCodecParameters,
    streams: Vec<Stream>,
    /// For each output channel, in Symphonia's order, its stream and its channel there; none: silent.
    sources: Vec<Option<(usize, usize)>>,
    channels: Channels,
    gain: f32,
    output: Output,
}

impl OpusDecoder {
    fn new(params: &AudioCodecParameters) -> Result<Self> {
        let head = match params.extra_data.as_deref() {
            Some(bytes) => Head::parse(bytes),
            None => Head::plain(params.channels.as_ref().map_or(2, Channels::count)),
        };
        let head = head.ok_or(Error::Unsupported("opus: header"))?;
        let layout = head.mapping.len().checked_sub(1).and_then(|at| LAYOUTS.get(at));
        let (positions, order) = layout.ok_or(Error::Unsupported("opus: layout"))?;
        let streams = (0..head.streams).map(|index| Stream::new(if index < head.coupled { 2 } else { 1 }));
        let source = |index: &usize| {
            let slot = usize::from(*head.mapping.get(*index)?);
            let of_pairs = 2 * head.coupled;
            let source = if slot < of_pairs { (slot / 2, slot % 2) } else { (slot - of_pairs + head.coupled, 0) };
            (source.0 < head.streams).then_some(source)
        };
        let channels = Channels::Positioned(*positions);
        Ok(Self {
            params: params.clone(),
            streams: streams.collect::<Result<_>>()?,
            sources: order.iter().map(source).collect(),
            output: Output::new(),
            channels,
            gain: 10_f32.powf(f32::from(head.gain) / (20.0 * 256.0)),
        })
    }

    /// Decodes all streams, and says how many samples of each channel they have.
    fn decode_streams(&mut self, mut data: &[u8]) -> Result<usize> {
        let (mut frames, last) = (None, self.streams.len().saturating_sub(1));
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let decoded = if index == last {
                stream.decode(data)?
            } else {
                let (packet, rest) = split(data).ok_or(Error::DecodeError("opus: malformed streams"))?;
                data = rest;
                stream.decode(&packet)?
            };
            if *frames.get_or_insert(decoded) != decoded {
                return Err(Error::DecodeError("opus: streams of different length"));
            }
        }
        Ok(frames.unwrap_or(0))
    }
}

impl AudioDecoder for OpusDecoder {
    fn reset(&mut self) {
        for stream in &mut self.streams {
            if let Ok(fresh) = Stream::new(stream.channels) {
                *stream = fresh;
            }
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
        let frames = self.decode_streams(packet.data)?;
        let (streams, sources, gain) = (&self.streams, &self.sources, self.gain);
        let write = |index: usize, plane: &mut [f32]| {
            let Some((stream, channel)) = sources.get(index).copied().flatten() else { return };
            let Some(stream) = streams.get(stream) else { return };
            let samples = stream.interleaved.iter().skip(channel).step_by(stream.channels);
            for (out, sample) in plane.iter_mut().zip(samples) {
                *out = sample * gain;
            }
        };
        Ok(self.output.fill(RATE, &self.channels, frames, packet, write))
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.output.last()
    }
}

static INFO: SupportedAudioCodec =
    SupportedAudioCodec { id: CODEC_ID_OPUS, info: CodecInfo { short_name: "opus", long_name: "Opus", profiles: &[] } };

impl RegisterableAudioDecoder for OpusDecoder {
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
    fn headers_of_both_byte_orders_are_read() {
        let ogg = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\x01\0";
        let head = Head::parse(ogg).expect("a header");
        assert_eq!((head.pre_skip, head.gain, head.mapping), (312, 256, vec![0, 1]));
        let mp4 = b"OpusHead\x00\x01\x01\x38\0\0\xbb\x80\xff\0\0";
        let head = Head::parse(mp4).expect("a header");
        assert_eq!((head.pre_skip, head.gain, head.mapping), (312, -256, vec![0]));
        let surround = b"OpusHead\x01\x06\0\0\0\0\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
        let head = Head::parse(surround).expect("a header");
        assert_eq!((head.streams, head.coupled, head.mapping), (4, 2, vec![0, 4, 1, 2, 3, 5]));
    }

    #[test]
    fn headers_that_make_no_sense_are_refused() {
        for at in 0..19 {
            assert_eq!(Head::parse(&b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\x01\0"[..at]), None);
        }
        let many = [b"OpusHead\x01\x08\0\0\0\0\0\0\0\0\x01\xff\0".as_slice(), &[0; 8]].concat();
        assert_eq!(Head::parse(&many), None);
        assert_eq!(Head::parse(b"OpusHead\x01\x03\0\0\0\0\0\0\0\0\0"), None);
        assert_eq!(Head::parse(b"OpusHead\x01\x04\0\0\0\0\0\0\0\0\x02\x04\0\0\x01\x02\x03"), None);
    }

    #[test]
    fn streams_are_split_at_their_delimiters() {
        let cases: [(&[u8], &[u8]); 6] = [
            (&[0x08, 2, 1, 2], &[0x08, 1, 2]),
            (&[0x09, 1, 1, 2], &[0x09, 1, 2]),
            (&[0x0a, 1, 2, 1, 2, 3], &[0x0a, 1, 1, 2, 3]),
            (&[0x0b, 0x02, 1, 1, 2], &[0x0b, 0x02, 1, 2]),
            (&[0x0b, 0x82, 1, 2, 1, 2, 3], &[0x0b, 0x82, 1, 1, 2, 3]),
            (&[0x0b, 0x41, 2, 1, 7, 0, 0], &[0x0b, 0x41, 2, 7, 0, 0]),
        ];
        for (delimited, plain) in cases {
            let both = [delimited, b"rest"].concat();
            assert_eq!(split(&both), Some((plain.to_vec(), b"rest".as_slice())));
            for end in 0..delimited.len() {
                assert_eq!(split(&delimited[..end]), None);
            }
        }
        let long = [&[0x08, 253, 1], [5; 257].as_slice()].concat();
        assert_eq!(split(&long), Some(([&[0x08], [5; 257].as_slice()].concat(), b"".as_slice())));
    }

    #[test]
    fn layouts_have_as_many_channels_as_their_order() {
        for (index, (positions, order)) in LAYOUTS.iter().enumerate() {
            assert_eq!(positions.bits().count_ones() as usize, index + 1);
            let mut sorted = order.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..=index).collect::<Vec<_>>());
        }
    }
}
