//! Elementary streams of frames that begin with a header of their own: AAC in ADTS and LATM, MPEG audio, AC-3 and
//! E-AC-3, Opus in transport streams.
//!
//! Containers cut such streams where they like, so the frames have to be found again.

use std::collections::VecDeque;

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

use super::bytes::{be16, be24, u8_at};
use super::latm::{self, Config, Mux};

/// Bytes that a header may need.
const HEADER: usize = 8;
/// Places with a time stamp that are waiting for their frame.
const MAX_MARKS: usize = 16;

/// How the frames of a stream begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Adts,
    Mpeg,
    /// And E-AC-3.
    Ac3,
    /// AAC in LATM, framed by LOAS.
    Latm,
    /// With the header that it has in transport streams.
    Opus {
        channels: u8,
    },
    /// ADTS, MPEG audio or AC-3, whichever comes.
    Unknown,
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) codec: AudioCodecId,
    pub(super) rate: u32,
    pub(super) channels: u16,
    /// Per channel.
    pub(super) samples: u32,
    /// Bytes of the whole frame.
    length: usize,
    /// Bytes that the decoder is not to see.
    skip: usize,
    /// What the decoder is to be set up with.
    config: Option<Config>,
    /// Belongs to the frame before, whose decoder does not know it.
    dependent: bool,
}

impl Header {
    pub(super) fn parameters(&self) -> AudioCodecParameters {
        let mut params = AudioCodecParameters::new();
        params.for_codec(self.codec).with_sample_rate(self.rate);
        if let Some(positions) = Position::from_count(u32::from(self.channels)) {
            params.with_channels(Channels::Positioned(positions));
        }
        if let Some(config) = self.config {
            params.with_extra_data(config.bytes().into());
        }
        params
    }

    /// Whether one decoder, set up once, takes both.
    pub(super) fn same_stream(&self, other: &Self) -> bool {
        (self.codec, self.rate, self.config) == (other.codec, other.rate, other.config)
            && (self.channels == other.channels || self.codec != codec::CODEC_ID_MP3)
    }
}

/// A frame for the decoder.
pub(super) struct Frame {
    pub(super) header: Header,
    /// Of the container, if one was given where this frame begins.
    pub(super) time: Option<u64>,
    pub(super) data: Box<[u8]>,
}

/// Finds the frames in a stream that comes in pieces.
pub(super) struct Splitter {
    coding: Coding,
    buffer: Vec<u8>,
    /// Bytes that were in front of `buffer`.
    passed: u64,
    marks: VecDeque<(u64, u64)>,
    last: Option<Header>,
    latm: Option<Mux>,
    ended: bool,
}

impl Splitter {
    pub(super) fn new(coding: Coding) -> Self {
        Self { coding, buffer: Vec::new(), passed: 0, marks: VecDeque::new(), last: None, latm: None, ended: false }
    }

    pub(super) fn renewed(&self) -> Self {
        Self::new(self.coding)
    }

    /// Appends a piece, whose first frame has this time.
    pub(super) fn push(&mut self, piece: &[u8], time: Option<u64>) {
        if let Some(time) = time {
            if self.marks.len() >= MAX_MARKS {
                self.marks.pop_front();
            }
            self.marks.push_back((self.passed.saturating_add(self.buffer.len() as u64), time));
        }
        self.buffer.extend_from_slice(piece);
    }

    /// True if a header begins where the next frame should.
    pub(super) fn starts_with_frame(&self) -> bool {
        self.coding.header(&self.buffer).is_some()
    }

    /// Part of the stream is missing here.
    pub(super) fn cut(&mut self) {
        self.drop_front(self.buffer.len());
        self.marks.clear();
    }

    /// No more pieces come.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Option<Frame> {
        loop {
            let (mut header, time, mut data) = self.whole()?;
            if self.coding == Coding::Latm {
                let Ok(unit) = latm::unit(&data, &mut self.latm) else { continue };
                data = unit.into();
                if let Some(mux) = self.latm {
                    let Mux { config, rate, channels, samples } = mux;
                    header = Header { config: Some(config), rate, channels, samples, ..header };
                }
            }
            if !header.dependent {
                self.last = Some(header);
                return Some(Frame { header, time, data });
            }
        }
    }

    fn whole(&mut self) -> Option<(Header, Option<u64>, Box<[u8]>)> {
        let mut at = 0;
        let found = loop {
            let rest = self.buffer.get(at..).unwrap_or_default();
            if rest.len() < HEADER {
                break None;
            }
            match self.coding.header(rest) {
                None => at += 1,
                Some(header) if header.length > rest.len() && self.ended => at += 1,
                Some(header) => match self.trusted(&header, rest) {
                    Some(true) if rest.len() >= header.length => break Some(header),
                    Some(false) => at += 1,
                    // More has to come to know.
                    Some(true) | None => break None,
                },
            }
        };
        self.drop_front(at);
        let header = found?;
        let time = self.time();
        let data = self.buffer.get(header.skip..header.length).unwrap_or_default().into();
        self.drop_front(header.length);
        Some((header, time, data))
    }

    /// Whether a header is no accident: it is like the one before, or is followed by one like it.
    fn trusted(&self, header: &Header, rest: &[u8]) -> Option<bool> {
        if header.dependent || self.last.is_some_and(|last| last.same_stream(header)) {
            return Some(true);
        }
        match rest.get(header.length..).filter(|next| next.len() >= HEADER) {
            Some(next) => Some(self.coding.header(next).is_some_and(|next| next.dependent || next.same_stream(header))),
            None if self.ended => Some(true),
            None => None,
        }
    }

    /// The time of the last mark that the next frame begins at or after.
    fn time(&mut self) -> Option<u64> {
        let mut time = None;
        while let Some((place, at)) = self.marks.front().copied()
            && place <= self.passed
        {
            time = Some(at);
            self.marks.pop_front();
        }
        time
    }

    fn drop_front(&mut self, count: usize) {
        self.passed = self.passed.saturating_add(count as u64);
        self.buffer.drain(..count.min(self.buffer.len()));
    }
}

impl Coding {
    fn header(self, bytes: &[u8]) -> Option<Header> {
        match self {
            Self::Adts => adts(bytes),
            Self::Mpeg => mpeg(bytes),
            Self::Ac3 => ac3(bytes),
            Self::Latm => loas(bytes),
            Self::Opus { channels } => opus(bytes, channels),
            Self::Unknown => adts(bytes).or_else(|| mpeg(bytes)).or_else(|| ac3(bytes)),
        }
    }
}

/// ISO/IEC 13818-7, 6.2.
fn adts(bytes: &[u8]) -> Option<Header> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];
    let start = be16(bytes, 0)?;
    if start & 0xfff6 != 0xfff0 {
        return None;
    }
    let [second, third] = [u8_at(bytes, 2)?, u8_at(bytes, 3)?];
    let (profile, rate_index, layout) = (second >> 6, second >> 2 & 15, (second & 1) << 2 | third >> 6);
    let length = (be24(bytes, 3)? >> 5 & 0x1fff) as usize;
    let skip = if start & 1 == 1 { 7 } else { 9 };
    // The object type is one more than the profile.
    let config = u16::from(profile + 1) << 11 | u16::from(rate_index) << 7 | u16::from(layout) << 3;
    let blocks = u32::from(u8_at(bytes, 6)? & 3) + 1;
    (length > skip).then_some(Header {
        codec: codec::CODEC_ID_AAC,
        rate: *RATES.get(usize::from(rate_index))?,
        channels: u16::from(if layout == 7 { 8 } else { layout }),
        samples: 1024 * blocks,
        length,
        skip,
        config: Config::new(&config.to_be_bytes()),
        dependent: false,
    })
}

/// ISO/IEC 11172-3, 2.4.1.3, and 13818-3.
fn mpeg(bytes: &[u8]) -> Option<Header> {
    const LAYER1: [u32; 15] = [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
    const LAYER2: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const LAYER3: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const LOW1: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
    const LOW: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let start = be16(bytes, 0)?;
    if start & 0xffe0 != 0xffe0 {
        return None;
    }
    let (version, layer) = (start >> 3 & 3, start >> 1 & 3);
    let (second, third) = (u8_at(bytes, 2)?, u8_at(bytes, 3)?);
    let divisor = match version {
        3 => 1,
        2 => 2,
        0 => 4,
        _ => return None,
    };
    let rate = [44_100, 48_000, 32_000].get(usize::from(second >> 2 & 3))? / divisor;
    let low = version != 3;
    let (codec, kbits, samples, slot) = match (layer, low) {
        (3, false) => (codec::CODEC_ID_MP1, LAYER1, 384, 4),
        (3, true) => (codec::CODEC_ID_MP1, LOW1, 384, 4),
        (2, false) => (codec::CODEC_ID_MP2, LAYER2, 1152, 1),
        (2, true) => (codec::CODEC_ID_MP2, LOW, 1152, 1),
        (1, false) => (codec::CODEC_ID_MP3, LAYER3, 1152, 1),
        (1, true) => (codec::CODEC_ID_MP3, LOW, 576, 1),
        _ => return None,
    };
    let bits = kbits.get(usize::from(second >> 4)).filter(|kbits| **kbits > 0)? * 1000;
    let length = (samples / 8 / slot * bits / rate + u32::from(second >> 1 & 1)) * slot;
    Some(Header {
        codec,
        rate,
        channels: if third >> 6 == 3 { 1 } else { 2 },
        samples,
        length: length as usize,
        skip: 0,
        config: None,
        dependent: false,
    })
}

/// ETSI TS 102 366, 4.3 and E.1.2.
fn ac3(bytes: &[u8]) -> Option<Header> {
    const KBITS: [u32; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
    const RATES: [u32; 3] = [48_000, 44_100, 32_000];
    const CHANNELS: [u16; 8] = [2, 1, 2, 3, 3, 4, 4, 5];
    if be16(bytes, 0)? != 0x0b77 {
        return None;
    }
    let (fourth, fifth) = (u8_at(bytes, 4)?, u8_at(bytes, 5)?);
    let header = Header {
        codec: codec::CODEC_ID_AC3,
        rate: 0,
        channels: 0,
        samples: 1536,
        length: 0,
        skip: 0,
        config: None,
        dependent: false,
    };
    match fifth >> 3 {
        0..=10 => {
            let rate_index = usize::from(fourth >> 6);
            // Half rates, of the versions 9 and 10.
            let shift = (fifth >> 3).saturating_sub(8);
            let code = usize::from(fourth & 63);
            let kbits = *KBITS.get(code / 2)?;
            let words = match rate_index {
                0 => kbits * 2,
                1 => kbits * 96_000 / 44_100 + u32::from(code % 2 == 1),
                _ => kbits * 3,
            };
            let mode = be16(bytes, 6)?;
            let layout = mode >> 13;
            // The bit for the bass channel is behind those for the mix levels that the layout has.
            let levels = match layout {
                2 => 2,
                layout => 2 * (u16::from(layout & 1 == 1 && layout > 1) + u16::from(layout & 4 != 0)),
            };
            let bass = mode >> (12 - levels) & 1;
            Some(Header {
                rate: RATES.get(rate_index)? >> shift,
                channels: CHANNELS.get(usize::from(layout))? + bass,
                length: words as usize * 2,
                ..header
            })
        }
        11..=16 => {
            let (kind, stream) = (u8_at(bytes, 2)? >> 6, u8_at(bytes, 2)? >> 3 & 7);
            let length = (usize::from(be16(bytes, 2)? & 0x7ff) + 1) * 2;
            let (rate_index, blocks) = (usize::from(fourth >> 6), fourth >> 4 & 3);
            let (rate, blocks) = match RATES.get(rate_index) {
                Some(rate) => (*rate, *[1, 2, 3, 6].get(usize::from(blocks))?),
                None => (RATES.get(usize::from(blocks))? / 2, 6),
            };
            Some(Header {
                codec: codec::CODEC_ID_EAC3,
                rate,
                channels: CHANNELS.get(usize::from(fourth >> 1 & 7))? + u16::from(fourth & 1),
                samples: blocks * 256,
                length,
                dependent: kind == 1 || stream != 0,
                ..header
            })
            .filter(|_| kind < 3 && length > HEADER)
        }
        _ => None,
    }
}

/// ISO/IEC 14496-3, 1.7.2. The rest is for [`latm`].
fn loas(bytes: &[u8]) -> Option<Header> {
    let start = be24(bytes, 0)?;
    (start >> 13 == 0x2b7 && start & 0x1fff > 0).then_some(Header {
        codec: codec::CODEC_ID_AAC,
        rate: 0,
        channels: 0,
        samples: 1024,
        length: 3 + (start & 0x1fff) as usize,
        skip: 3,
        config: None,
        dependent: false,
    })
}

/// The control header of "Opus in MPEG-TS", and the packet's own first byte (RFC 6716, 3.1).
fn opus(bytes: &[u8], channels: u8) -> Option<Header> {
    const SIZES: [u32; 32] = [
        480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 480, 960, 120, 240, 480, 960, 120,
        240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960,
    ];
    let start = be16(bytes, 0)?;
    if start & 0xffe0 != 0x7fe0 {
        return None;
    }
    let (mut at, mut size) = (2, 0);
    loop {
        let more = usize::from(u8_at(bytes, at)?);
        at += 1;
        size += more;
        if more != 255 || size > 64 * 1024 {
            break;
        }
    }
    at += if start & 0x10 != 0 { 2 } else { 0 } + if start & 8 != 0 { 2 } else { 0 };
    if start & 4 != 0 {
        at += 1 + usize::from(u8_at(bytes, at)?);
    }
    let first = u8_at(bytes, at)?;
    let count = match first & 3 {
        0 => 1,
        3 => u32::from(u8_at(bytes, at + 1)? & 63),
        _ => 2,
    };
    Some(Header {
        codec: codec::CODEC_ID_OPUS,
        rate: 48_000,
        channels: u16::from(channels),
        samples: SIZES.get(usize::from(first >> 3))? * count,
        length: at + size,
        skip: at,
        config: opus_head(channels),
        dependent: false,
    })
    .filter(|_| size > 0)
}

/// RFC 7845, 5.1.
fn opus_head(channels: u8) -> Option<Config> {
    // Streams, those of two channels, and which channel is where, in Vorbis' order.
    const LAYOUTS: [(u8, u8, &[u8]); 8] = [
        (1, 0, &[0]),
        (1, 1, &[0, 1]),
        (2, 1, &[0, 2, 1]),
        (2, 2, &[0, 1, 2, 3]),
        (3, 2, &[0, 4, 1, 2, 3]),
        (4, 2, &[0, 4, 1, 2, 3, 5]),
        (4, 3, &[0, 4, 1, 2, 3, 5, 6]),
        (5, 3, &[0, 6, 1, 2, 3, 4, 5, 7]),
    ];
    let (streams, coupled, mapping) = LAYOUTS.get(usize::from(channels.checked_sub(1)?))?;
    let mut head = b"OpusHead\x01".to_vec();
    head.extend_from_slice(&[channels, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, u8::from(channels > 2)]);
    if channels > 2 {
        head.extend_from_slice(&[*streams, *coupled]);
        head.extend_from_slice(mapping);
    }
    Config::new(&head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mp3(rate_bits: u8, fill: u8) -> Vec<u8> {
        let mut frame = vec![0xff, 0xfb, 0x90 | rate_bits << 2, 0];
        let length = mpeg(&frame).expect("a header").length;
        frame.resize(length, fill);
        frame
    }

    #[test]
    fn frames_are_found_whatever_pieces_they_come_in_and_whatever_lies_between() {
        let mut stream = vec![0xff, 0xfb, 0x92, 1, 2];
        for fill in 0..5 {
            stream.extend(mp3(0, fill));
        }
        stream.extend([0xff; 7]);
        for fill in 5..8 {
            stream.extend(mp3(1, fill));
        }
        for size in [1, 3, 100, 10_000] {
            let mut splitter = Splitter::new(Coding::Mpeg);
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                splitter.push(piece, None);
                found.extend(std::iter::from_fn(|| splitter.next()));
            }
            splitter.end();
            found.extend(std::iter::from_fn(|| splitter.next()));
            let fills: Vec<_> = found.iter().map(|frame| frame.data[4]).collect();
            assert_eq!(fills, [0, 1, 2, 3, 4, 5, 6, 7], "{size}");
            assert_eq!((found[0].header.rate, found[7].header.rate), (44_100, 48_000));
        }
    }

    #[test]
    fn a_time_belongs_to_the_first_frame_that_begins_in_its_piece() {
        let frames: Vec<u8> = (0..4).flat_map(|fill| mp3(0, fill)).collect();
        let mut splitter = Splitter::new(Coding::Mpeg);
        splitter.push(&frames[..600], Some(10));
        splitter.push(&frames[600..], Some(20));
        let times: Vec<_> = std::iter::from_fn(|| splitter.next()).map(|frame| frame.time).collect();
        assert_eq!(times, [Some(10), None, Some(20), None]);
    }

    #[test]
    fn headers_say_length_rate_and_channels() {
        let found = ac3(&[0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xe0]).expect("AC-3 2.0 of 192 kbit/s");
        assert_eq!((found.rate, found.channels, found.length, found.samples), (48_000, 2, 768, 1536));
        let found = ac3(&[0x0b, 0x77, 0, 0, 0x1e, 0x40, 0xe1, 0x00]).expect("AC-3 5.1 of 448 kbit/s");
        assert_eq!((found.rate, found.channels, found.length), (48_000, 6, 1792));
        let found = adts(&[0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc, 0]).expect("AAC-LC");
        assert_eq!((found.rate, found.channels, found.length), (44_100, 2, 16));
        assert_eq!(found.config.expect("a config").bytes(), [0x12, 0x10]);
    }
}
