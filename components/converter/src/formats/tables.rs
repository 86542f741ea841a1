//! The tables of a transport stream (ISO/IEC 13818-1, 2.4.4): which programs there are, and which streams they have.

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as codec;

use super::bytes::{array, be16, u8_at};
use super::frames::Coding;
use super::names;

/// Bytes of a table at most.
const MAX_SECTION: usize = 4096;

/// A table that comes in pieces.
#[derive(Default)]
pub(super) struct Section {
    buffer: Vec<u8>,
}

impl Section {
    /// The table, if this piece completes it and its check sum is right.
    pub(super) fn push(&mut self, payload: &[u8], begins: bool) -> Option<Vec<u8>> {
        if begins {
            self.buffer.clear();
            let skip = 1 + usize::from(u8_at(payload, 0)?);
            self.buffer.extend_from_slice(payload.get(skip..)?);
        } else if self.buffer.is_empty() || self.buffer.len() > MAX_SECTION {
            return None;
        } else {
            self.buffer.extend_from_slice(payload);
        }
        let length = 3 + usize::from(be16(&self.buffer, 1)? & 0xfff);
        if self.buffer.len() < length {
            return None;
        }
        let mut table = std::mem::take(&mut self.buffer);
        table.truncate(length);
        (length >= 12 && crc(&table) == 0).then(|| {
            table.truncate(length - 4);
            table
        })
    }
}

/// CRC-32 of MPEG-2; 0 over a table that ends with its own.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    })
}

/// The programs and the packet identifiers of their tables.
pub(super) fn programs(table: &[u8]) -> impl Iterator<Item = (u16, u16)> + '_ {
    let entries = table.get(8..).filter(|_| table.first() == Some(&0)).unwrap_or_default();
    let pairs = entries.chunks_exact(4).filter_map(|entry| Some((be16(entry, 0)?, be16(entry, 2)? & 0x1fff)));
    // Program 0 is the network's own table.
    pairs.filter(|(program, _)| *program != 0)
}

pub(super) struct Stream {
    pub(super) pid: u16,
    pub(super) video: bool,
    /// How it is coded if it is audio: as frames that can be found, or as something to refuse by name.
    pub(super) audio: Option<std::result::Result<Coding, AudioCodecId>>,
    /// ISO 639-2.
    pub(super) language: Option<String>,
}

/// The streams of a program.
pub(super) fn streams(table: &[u8]) -> Vec<Stream> {
    let mut found = Vec::new();
    let skip = be16(table, 10).map_or(usize::MAX, |length| 12 + usize::from(length & 0xfff));
    let about = descriptors(table.get(12..skip).unwrap_or_default());
    let blu_ray = about.iter().any(|(tag, body)| *tag == 5 && body.starts_with(b"HDMV"));
    let mut rest = table.get(skip..).filter(|_| table.first() == Some(&2)).unwrap_or_default();
    while let (Some(kind), Some(pid), Some(length)) = (u8_at(rest, 0), be16(rest, 1), be16(rest, 3)) {
        let end = 5 + usize::from(length & 0xfff);
        let Some(about) = rest.get(5..end) else { break };
        let about = descriptors(about);
        let language = about.iter().find(|(tag, _)| *tag == 0x0a).and_then(|(_, body)| array::<3>(body, 0));
        found.push(Stream {
            pid: pid & 0x1fff,
            video: matches!(kind, 0x01 | 0x02 | 0x10 | 0x1b | 0x20 | 0x21 | 0x24 | 0x33 | 0x42 | 0xd1 | 0xea)
                || (kind == 0x80 && !blu_ray),
            audio: coding(kind, &about, blu_ray),
            language: language.and_then(|letters| String::from_utf8(letters.to_vec()).ok()),
        });
        rest = rest.get(end..).unwrap_or_default();
    }
    found
}

fn descriptors(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let (Some(tag), Some(length)) = (u8_at(bytes, 0), u8_at(bytes, 1)) {
        let end = 2 + usize::from(length);
        let Some(body) = bytes.get(2..end) else { break };
        found.push((tag, body));
        bytes = bytes.get(end..).unwrap_or_default();
    }
    found
}

fn coding(kind: u8, about: &[(u8, &[u8])], blu_ray: bool) -> Option<std::result::Result<Coding, AudioCodecId>> {
    let has = |tag| about.iter().any(|(known, _)| *known == tag);
    let registered = |name: &[u8]| about.iter().any(|(tag, body)| *tag == 5 && body.starts_with(name));
    Some(match kind {
        0x03 | 0x04 => Ok(Coding::Mpeg),
        0x0f => Ok(Coding::Adts),
        0x11 => Ok(Coding::Latm),
        0x80 if blu_ray => Err(names::BLURAY_PCM),
        0x81 | 0x84 | 0x87 | 0xa1 => Ok(Coding::Ac3),
        0x82 | 0x85 | 0x86 | 0x8a | 0xa2 => Err(codec::CODEC_ID_DCA),
        0x83 => Err(codec::CODEC_ID_TRUEHD),
        0x06 if has(0x6a) || has(0x7a) || registered(b"AC-3") || registered(b"EAC3") => Ok(Coding::Ac3),
        0x06 if has(0x7b) || registered(b"DTS") => Err(codec::CODEC_ID_DCA),
        0x06 if has(0x7c) => Ok(Coding::Latm),
        0x06 if registered(b"Opus") => Ok(Coding::Opus { channels: opus_channels(about) }),
        0x06 if registered(b"BSSD") => Err(names::SMPTE_302M),
        // Teletext and subtitles say so; what says nothing may be anything.
        0x06 if !has(0x46) && !has(0x56) && !has(0x59) && !registered(b"") => Ok(Coding::Unknown),
        _ => return None,
    })
}

/// Of the extension descriptor that ETSI TS 101 154 does not have but everybody writes.
fn opus_channels(about: &[(u8, &[u8])]) -> u8 {
    let found = about.iter().find(|(tag, body)| *tag == 0x7f && u8_at(body, 0) == Some(0x80));
    found.and_then(|(_, body)| u8_at(body, 1)).filter(|code| (1..=8).contains(code)).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_crc(mut table: Vec<u8>) -> Vec<u8> {
        table.extend_from_slice(&crc(&table).to_be_bytes());
        table
    }

    #[test]
    fn a_table_in_pieces_is_whole_when_its_sum_is_right() {
        let table = with_crc(vec![0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xe1, 0]);
        let mut section = Section::default();
        assert_eq!(section.push(&[&[0], &table[..7]].concat(), true), None);
        let whole = section.push(&table[7..], false).expect("the table");
        assert_eq!(programs(&whole).collect::<Vec<_>>(), [(1, 0x100)]);
        let mut broken = [&[0], &table[..]].concat();
        broken[9] ^= 1;
        assert_eq!(section.push(&broken, true), None);
    }

    #[test]
    fn streams_are_known_by_type_and_descriptors() {
        let mut table = vec![2, 0xb0, 0, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0];
        table.extend_from_slice(&[0x1b, 0xe1, 0, 0xf0, 0]);
        table.extend_from_slice(&[0x0f, 0xe1, 1, 0xf0, 6, 0x0a, 4, b'd', b'e', b'u', 0]);
        table.extend_from_slice(&[0x06, 0xe1, 2, 0xf0, 3, 0x6a, 1, 0]);
        table.extend_from_slice(&[0x06, 0xe1, 3, 0xf0, 6, 0x05, 4, b'D', b'T', b'S', b'2']);
        let found = streams(&table);
        let audio: Vec<_> = found.iter().map(|stream| stream.audio).collect();
        assert_eq!(audio, [None, Some(Ok(Coding::Adts)), Some(Ok(Coding::Ac3)), Some(Err(codec::CODEC_ID_DCA))]);
        assert!(found[0].video);
        assert_eq!((found[1].pid, found[1].language.as_deref()), (0x101, Some("deu")));
    }
}
