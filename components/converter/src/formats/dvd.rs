//! Uncompressed sound of DVDs, whose samples of more than 16 bits lie in groups of four: the upper 16 bits of all, then
//! what is below.

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::formats::Track;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use super::audio_track;
use super::bytes::u8_at;

/// Bytes of a packet in front of the samples.
const HEADER: usize = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Format {
    rate: u32,
    channels: u8,
    bits: u8,
}

impl Format {
    fn parse(payload: &[u8]) -> Option<Self> {
        let format = u8_at(payload, 5)?;
        let bits = 16 + (format >> 6) * 4;
        let rate = [48_000, 96_000, 44_100, 32_000].get(usize::from(format >> 4 & 3)).copied()?;
        (bits <= 24).then_some(Self { rate, channels: (format & 7) + 1, bits })
    }
}

/// One stream of it.
pub(super) struct Stream {
    id: u32,
    format: Format,
    /// Not yet a whole group, or not yet a sample of every channel.
    groups: Vec<u8>,
    samples: Vec<u8>,
    passed: u64,
}

impl Stream {
    /// By the first packet of the private stream.
    pub(super) fn new(id: u32, payload: &[u8]) -> Option<Self> {
        let format = Format::parse(payload)?;
        Some(Self { id, format, groups: Vec::new(), samples: Vec::new(), passed: 0 })
    }

    /// The same stream, as it is before its first packet.
    pub(super) fn renew(&mut self) {
        self.groups.clear();
        self.samples.clear();
        self.passed = 0;
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn track(&self) -> Option<Track> {
        let Format { rate, channels, bits } = self.format;
        let mut params = AudioCodecParameters::new();
        let id = if bits == 16 { codec::CODEC_ID_PCM_S16BE } else { codec::CODEC_ID_PCM_S24BE };
        let positions = Position::from_wave_channel_count(u32::from(channels))?;
        params.for_codec(id).with_sample_rate(rate).with_channels(Channels::Positioned(positions));
        Some(audio_track(self.id, params, TimeBase::try_from_recip(rate)?, None))
    }

    /// The samples of a packet of the private stream. None if there is not a whole one, or if they are of another
    /// format, which is not followed.
    pub(super) fn packet(&mut self, payload: &[u8]) -> Option<Packet> {
        let data = payload.get(HEADER..).filter(|_| Format::parse(payload) == Some(self.format))?;
        let width = match self.format.bits {
            16 => {
                self.samples.extend_from_slice(data);
                2
            }
            bits => {
                self.groups.extend_from_slice(data);
                let size = if bits == 24 { 12 } else { 10 };
                let whole = self.groups.len() / size * size;
                for group in self.groups.drain(..whole).as_slice().chunks_exact(size) {
                    self.samples.extend(in_order(group, bits));
                }
                3
            }
        };
        let frame = width * usize::from(self.format.channels);
        let count = self.samples.len() / frame;
        if count == 0 {
            return None;
        }
        let data: Box<[u8]> = self.samples.drain(..count * frame).collect();
        let start = Timestamp::new(i64::try_from(self.passed).ok()?);
        self.passed = self.passed.saturating_add(count as u64);
        Some(Packet::new(self.id, start, Duration::new(count as u64), data))
    }
}

/// A group's samples of 24 bits, one behind the other.
fn in_order(group: &[u8], bits: u8) -> Vec<u8> {
    let (upper, lower) = group.split_at_checked(8).unwrap_or_default();
    let low = |index: usize| match (bits, index % 2) {
        (24, _) => u8_at(lower, index),
        (_, 0) => u8_at(lower, index / 2).map(|pair| pair & 0xf0),
        _ => u8_at(lower, index / 2).map(|pair| pair << 4),
    };
    let samples = upper.chunks_exact(2).enumerate();
    samples.flat_map(|(index, sample)| sample.iter().copied().chain(low(index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(format: u8, data: &[u8]) -> Vec<u8> {
        [&[0xa0, 1, 0, 4, 0, format, 0x80], data].concat()
    }

    #[test]
    fn groups_of_20_and_24_bits_are_put_in_order_also_across_packets() {
        let expected = [0, 1, 0x90, 2, 3, 0xa0, 4, 5, 0xb0, 6, 7, 0xc0];
        let first = payload(0x41, &[0, 1, 2, 3, 4]);
        let mut stream = Stream::new(1, &first).expect("20 bits");
        assert!(stream.packet(&first).is_none());
        let packet = stream.packet(&payload(0x41, &[5, 6, 7, 0x9a, 0xbc])).expect("two samples of two channels");
        assert_eq!((&*packet.data, packet.dur.get()), (&expected[..], 2));
        let whole = payload(0x81, &[0, 1, 2, 3, 4, 5, 6, 7, 0x90, 0xa0, 0xb0, 0xc0]);
        let mut stream = Stream::new(1, &whole).expect("24 bits");
        assert_eq!(&*stream.packet(&whole).expect("two samples").data, expected);
        assert!(stream.packet(&first).is_none(), "another format");
        assert!(Stream::new(1, &payload(0xc1, &[])).is_none(), "28 bits");
    }
}
