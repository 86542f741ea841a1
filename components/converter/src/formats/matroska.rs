//! The little of Matroska (RFC 8794, RFC 9559) that Symphonia's reader does not say: whether the file is whole, and
//! which codec a track has that it has no decoder for.

use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, CODEC_ID_NULL_AUDIO};

use super::bytes::{be32, le16, u8_at};
use super::names;
use super::waveform::codec_of_tag;

const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u64 = 0x1654_ae6b;
const TRACK: u64 = 0xae;
const NUMBER: u64 = 0xd7;
const TYPE: u64 = 0x83;
const CODEC: u64 = 0x86;
const PRIVATE: u64 = 0x63a2;
const CLUSTER: u64 = 0x1f43_b675;

/// What the start of a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matroska {
    /// Where the file should end, if it says that.
    pub(super) end: Option<u64>,
    /// The audio tracks' numbers and codecs.
    pub(super) audio: Vec<(u32, AudioCodecId)>,
}

/// None if it is not such a file.
pub(super) fn read(head: &[u8]) -> Option<Matroska> {
    if be32(head, 0) != Some(EBML) {
        return None;
    }
    let (size, at) = size(head, 4)?;
    let segment = at.checked_add(usize::try_from(size?).ok()?)?;
    if be32(head, segment) != Some(SEGMENT) {
        return None;
    }
    let (size, at) = self::size(head, segment.checked_add(4)?)?;
    let end = size.map(|size| size.saturating_add(at as u64));
    let mut matroska = Matroska { end, audio: Vec::new() };
    for (id, body) in Elements(head.get(at..)?).take_while(|(id, _)| *id != CLUSTER) {
        if id == TRACKS {
            let tracks = Elements(body).filter(|(id, _)| *id == TRACK);
            matroska.audio.extend(tracks.filter_map(|(_, track)| audio(track)));
        }
    }
    Some(matroska)
}

fn audio(track: &[u8]) -> Option<(u32, AudioCodecId)> {
    let child = |wanted| Elements(track).find(|(id, _)| *id == wanted).map(|(_, body)| body);
    let number = |body: &[u8]| body.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
    if child(TYPE).map(number) != Some(2) {
        return None;
    }
    let name = child(CODEC)?;
    let starts = |with: &[u8]| name.starts_with(with);
    let id = if starts(b"A_MS/ACM") {
        child(PRIVATE).and_then(|private| le16(private, 0)).map_or(CODEC_ID_NULL_AUDIO, codec_of_tag)
    } else if starts(b"A_REAL") {
        codec::CODEC_ID_RA10
    } else if starts(b"A_DTS") {
        codec::CODEC_ID_DCA
    } else if starts(b"A_TRUEHD") || starts(b"A_MLP") {
        codec::CODEC_ID_TRUEHD
    } else if starts(b"A_WAVPACK") {
        codec::CODEC_ID_WAVPACK
    } else if starts(b"A_TTA") {
        codec::CODEC_ID_TTA
    } else if starts(b"A_QUICKTIME/QDM") {
        names::QDESIGN
    } else {
        CODEC_ID_NULL_AUDIO
    };
    Some((number(child(NUMBER)?), id))
}

/// The elements side by side in a body; one of unknown size, or that reaches behind the end, is the last.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = u8_at(self.0, 0)?.leading_zeros() as usize + 1;
        let id = self.0.get(..length).filter(|_| length <= 4)?;
        let id = id.iter().fold(0_u64, |id, byte| id << 8 | u64::from(*byte));
        let (size, at) = size(self.0, length)?;
        let rest = self.0.get(at..)?;
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(rest.len()).min(rest.len());
        let (body, rest) = rest.split_at_checked(size)?;
        self.0 = rest;
        Some((id, body))
    }
}

/// A size, which may be unknown, and what is behind it.
fn size(bytes: &[u8], at: usize) -> Option<(Option<u64>, usize)> {
    let length = u8_at(bytes, at)?.leading_zeros() as usize + 1;
    let end = at.checked_add(length)?;
    let digits = bytes.get(at..end).filter(|_| length <= 8)?;
    let mask = (1 << (7 * length)) - 1;
    let value = digits.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)) & mask;
    Some(((value != mask).then_some(value), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_and_the_tracks_are_found() {
        let live = b"\x1a\x45\xdf\xa3\x82..\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(read(live), Some(Matroska::default()));
        let audio = b"\xae\x8f\xd7\x81\x05\x83\x81\x02\x86\x87A_DTS\0\0";
        let video = b"\xae\x86\xd7\x81\x01\x83\x81\x01";
        let mut file = b"\x1a\x45\xdf\xa3\x82..\x18\x53\x80\x67\x40\xff\x16\x54\xae\x6b".to_vec();
        file.push(0x80 | (audio.len() + video.len()) as u8);
        file.extend_from_slice(video);
        file.extend_from_slice(audio);
        let found = read(&file).expect("the file");
        assert_eq!(found, Matroska { end: Some(13 + 255), audio: vec![(5, codec::CODEC_ID_DCA)] });
        assert_eq!(read(b"RIFF"), None);
    }
}
