//! The little of Matroska (RFC 8794, RFC 9559) that Symphonia's reader does not say: whether the file is whole, which
//! codec a track has that it does not know, what a track's blocks leave out, and the segment's title.

use std::io::{self, Read, Seek};

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecParameters, CODEC_ID_NULL_AUDIO};

use super::bytes::{array, be32, bytes_at, u8_at};
use super::names;
use super::waveform::{Packing, Waveform};

pub(super) const EBML: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];
pub(super) const SEGMENT: u64 = 0x1853_8067;
pub(super) const TRACKS: u64 = 0x1654_ae6b;
const TRACK: u64 = 0xae;
const NUMBER: u64 = 0xd7;
const TYPE: u64 = 0x83;
const CODEC: u64 = 0x86;
const PRIVATE: u64 = 0x63a2;
const SOUND: u64 = 0xe1;
const RATE: u64 = 0xb5;
const CHANNELS: u64 = 0x9f;
const BITS: u64 = 0x6264;
const DEFAULT: u64 = 0x88;
const DEFAULT_DURATION: u64 = 0x23_e383;
const DELAY: u64 = 0x56aa;
const INFO: u64 = 0x1549_a966;
const TITLE: u64 = 0x7ba9;
const SCALE: u64 = 0x2a_d7b1;
const ENCODINGS: u64 = 0x6d80;
const ENCODING: u64 = 0x6240;
const COMPRESSION: u64 = 0x5034;
const ALGORITHM: u64 = 0x4254;
const SETTINGS: u64 = 0x4255;
pub(super) const CLUSTER: u64 = 0x1f43_b675;

/// Bytes at the file's start in which the title is looked for.
const UP_TO_TITLE: u64 = 256 * 1024;

/// What the start of a file says.
#[derive(Debug)]
pub(super) struct Matroska {
    /// Where the segment's content begins.
    pub(super) start: u64,
    /// Where the file should end, if it says that.
    pub(super) end: Option<u64>,
    /// Nanoseconds per tick.
    pub(super) scale: u64,
    pub(super) audio: Vec<Audio>,
}

/// What is said about an audio track.
#[derive(Debug)]
pub(super) struct Audio {
    pub(super) number: u32,
    /// Of codecs that Symphonia does not know, or those that it knows only by another name.
    pub(super) params: AudioCodecParameters,
    /// Bytes and samples of a block, of codecs whose frames are many such.
    pub(super) block: Option<(u32, u32)>,
    /// Samples per second.
    pub(super) rate: u32,
    /// Nanoseconds of every frame.
    pub(super) duration: Option<u64>,
    /// Nanoseconds at the start that are not meant to be heard.
    pub(super) delay: u64,
    /// It is played unless another track is chosen.
    pub(super) default: bool,
    /// Bytes that all frames begin with and that were left out.
    pub(super) prefix: Vec<u8>,
}

impl Audio {
    /// Nothing but its number is known.
    pub(super) fn new(number: u32) -> Self {
        let params = AudioCodecParameters::new();
        Self { number, params, block: None, rate: 1, duration: None, delay: 0, default: true, prefix: Vec::new() }
    }
}

/// None if it is not such a file.
pub(super) fn read(head: &[u8]) -> Option<Matroska> {
    if !head.starts_with(&EBML) {
        return None;
    }
    let (size, at) = size(head, EBML.len())?;
    let segment = at.checked_add(usize::try_from(size?).ok()?)?;
    let (_, at) = id_at(head, segment).filter(|(id, _)| *id == SEGMENT)?;
    let (size, at) = self::size(head, at)?;
    let end = size.map(|size| size.saturating_add(at as u64));
    let mut matroska = Matroska { start: at as u64, end, scale: 1_000_000, audio: Vec::new() };
    for (id, body) in Elements(head.get(at..)?).take_while(|(id, _)| *id != CLUSTER) {
        if id == TRACKS {
            let tracks = Elements(body).filter(|(id, _)| *id == TRACK);
            matroska.audio.extend(tracks.filter_map(|(_, track)| audio(track)));
        } else if id == INFO {
            let scale = child(body, SCALE).map(number);
            matroska.scale = scale.filter(|scale| *scale > 0).unwrap_or(matroska.scale);
        }
    }
    Some(matroska)
}

/// The title of a file, which Symphonia leaves alone; none if it is not such a file, or has none.
///
/// # Errors
/// The source failed.
pub fn title(source: &mut (impl Read + Seek)) -> io::Result<Option<String>> {
    if bytes_at(source, 0, EBML.len() as u64)? != EBML {
        return Ok(None);
    }
    let head = bytes_at(source, 0, UP_TO_TITLE)?;
    let title = child(&head, SEGMENT).and_then(|segment| child(child(segment, INFO)?, TITLE));
    Ok(title.and_then(|title| std::str::from_utf8(title).ok()).map(str::to_owned))
}

fn audio(track: &[u8]) -> Option<Audio> {
    let child = |wanted| child(track, wanted);
    if child(TYPE).map(number) != Some(2) {
        return None;
    }
    let name = child(CODEC)?;
    // Microsoft's description says it all.
    let described = child(PRIVATE).filter(|_| name.starts_with(b"A_MS/ACM")).and_then(Waveform::parse);
    let block = match described.as_ref().map(|described| described.packing) {
        Some(Packing::Blocks { bytes, samples }) => Some((bytes, samples)),
        _ => None,
    };
    let params = described.map(|described| described.params);
    let params = params.or_else(|| pcm_of_8_bits(name, child(SOUND)?)).unwrap_or_else(|| named(name));
    Some(Audio {
        params,
        block,
        duration: child(DEFAULT_DURATION).map(number).filter(|duration| *duration > 0),
        delay: child(DELAY).map_or(0, number),
        default: child(DEFAULT).is_none_or(|body| number(body) == 1),
        prefix: child(ENCODINGS).and_then(prefix).unwrap_or_default().to_vec(),
        ..Audio::new(u32::try_from(number(child(NUMBER)?)).ok()?)
    })
}

/// What was left out of all frames; none if they are as they were, or compressed in another way.
fn prefix(encodings: &[u8]) -> Option<&[u8]> {
    let compression = child(child(encodings, ENCODING)?, COMPRESSION)?;
    child(compression, ALGORITHM).filter(|algorithm| number(algorithm) == 3)?;
    child(compression, SETTINGS)
}

/// The one kind of uncompressed sound that Symphonia does not know.
fn pcm_of_8_bits(name: &[u8], sound: &[u8]) -> Option<AudioCodecParameters> {
    let child = |wanted| child(sound, wanted);
    if !name.starts_with(b"A_PCM/INT/") || child(BITS).map(number) != Some(8) {
        return None;
    }
    let rate = match child(RATE)? {
        float if float.len() == 4 => f64::from(f32::from_bits(be32(float, 0)?)),
        float => f64::from_bits(u64::from_be_bytes(array(float, 0)?)),
    };
    let channels = u16::try_from(child(CHANNELS).map_or(1, number)).ok().filter(|count| *count > 0)?;
    let mut params = AudioCodecParameters::new();
    params.for_codec(codec::CODEC_ID_PCM_U8).with_sample_rate(rate as u32);
    params.with_channels(Channels::Discrete(channels));
    Some(params)
}

/// The codec of a track that Symphonia does not know.
fn named(name: &[u8]) -> AudioCodecParameters {
    let starts = |with: &[u8]| name.starts_with(with);
    let id = if starts(b"A_REAL") {
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
    let mut params = AudioCodecParameters::new();
    params.for_codec(id);
    params
}

/// An unsigned number; of a signed one, negative numbers are the greatest.
pub(super) fn number(body: &[u8]) -> u64 {
    body.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// An element's number, and what is behind it.
pub(super) fn id_at(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let length = u8_at(bytes, at)?.leading_zeros() as usize + 1;
    let end = at.checked_add(length)?;
    let id = bytes.get(at..end).filter(|_| length <= 4)?;
    Some((number(id), end))
}

/// The elements side by side in a body; one of unknown size, or that reaches behind the end, is the last.
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (id, at) = id_at(self.0, 0)?;
        let (size, at) = size(self.0, at)?;
        let rest = self.0.get(at..)?;
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(rest.len()).min(rest.len());
        let (body, rest) = rest.split_at_checked(size)?;
        self.0 = rest;
        Some((id, body))
    }
}

/// The body of the first element with this number.
pub(super) fn child(elements: &[u8], wanted: u64) -> Option<&[u8]> {
    Elements(elements).find(|(id, _)| *id == wanted).map(|(_, body)| body)
}

/// A size, which may be unknown, and what is behind it.
pub(super) fn size(bytes: &[u8], at: usize) -> Option<(Option<u64>, usize)> {
    let length = u8_at(bytes, at)?.leading_zeros() as usize + 1;
    let end = at.checked_add(length)?;
    let digits = bytes.get(at..end).filter(|_| length <= 8)?;
    let mask = (1 << (7 * length)) - 1;
    let value = number(digits) & mask;
    Some(((value != mask).then_some(value), end))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
        let size = 0x10_0000_0000_0000_u64 << 4 | content.len() as u64;
        [id, &size.to_be_bytes(), content].concat()
    }

    #[test]
    fn the_title_is_found_behind_other_elements() -> io::Result<()> {
        let info = [element(&[0x2A, 0xD7, 0xB1], &[1, 2, 3]), element(&[0x7B, 0xA9], "Über".as_bytes())].concat();
        let segment = [element(&[0xEC], &[0; 100]), element(&[0x15, 0x49, 0xA9, 0x66], &info)].concat();
        let file =
            [element(&[0x1A, 0x45, 0xDF, 0xA3], &[0; 30]), element(&[0x18, 0x53, 0x80, 0x67], &segment)].concat();
        assert_eq!(title(&mut Cursor::new(&file))?.as_deref(), Some("Über"));
        for end in 0..file.len() - 2 {
            let cut = title(&mut Cursor::new(&file[..end]))?;
            assert!(cut.is_none_or(|cut| "Über".starts_with(&cut)), "cut at {end}");
        }
        Ok(())
    }

    #[test]
    fn other_files_have_no_title() -> io::Result<()> {
        for bytes in [&b""[..], b"RIFF....", &[0x1A, 0x45, 0xDF, 0xA3], &[0x1A, 0x45, 0xDF, 0xA3, 0, 0, 0]] {
            assert_eq!(title(&mut Cursor::new(bytes))?, None);
        }
        Ok(())
    }

    #[test]
    fn the_end_and_the_tracks_are_found() {
        let live = b"\x1a\x45\xdf\xa3\x82..\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff";
        let found = read(live).expect("the file");
        assert_eq!((found.start, found.end, found.scale, found.audio.len()), (19, None, 1_000_000, 0));
        let audio = b"\xae\xa4\xd7\x81\x05\x83\x81\x02\x86\x87A_DTS\0\0\x56\xaa\x81\x09\
                      \x6d\x80\x8e\x62\x40\x8b\x50\x34\x88\x42\x54\x81\x03\x42\x55\x81\x7f";
        let video = b"\xae\x86\xd7\x81\x01\x83\x81\x01";
        let mut file = b"\x1a\x45\xdf\xa3\x82..\x18\x53\x80\x67\x40\xff\x16\x54\xae\x6b".to_vec();
        file.push(0x80 | (audio.len() + video.len()) as u8);
        file.extend_from_slice(video);
        file.extend_from_slice(audio);
        let found = read(&file).expect("the file");
        assert_eq!((found.start, found.end, found.audio.len()), (13, Some(13 + 255), 1));
        let track = &found.audio[0];
        assert_eq!((track.number, track.params.codec, track.delay), (5, codec::CODEC_ID_DCA, 9));
        assert_eq!(track.prefix, [0x7f]);
        assert!(read(b"RIFF").is_none());
    }
}
