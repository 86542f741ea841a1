//! CAF files (Apple's Core Audio Format), where Symphonia's reader does not see to them: sound without a stated length,
//! G.711, uncompressed sound of 8 bits, and AC-3.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::errors::{Error, Result};

use super::bytes::{HEAD, array, be32, bytes_at};
use super::frames::Coding;
use super::input::Input;
use super::patched::Patch;
use super::wave::Wave;
use super::waveform::{Packing, Waveform};

const MAGIC: &[u8] = b"caff";
/// Kind and size.
const HEADER: usize = 12;

/// Where the body of a chunk begins, and its size; none if the sound comes before it, or no such file does.
pub(super) fn chunk(head: &[u8], wanted: &[u8; 4]) -> Option<(usize, i64)> {
    let mut at = 8;
    head.starts_with(MAGIC).then_some(())?;
    loop {
        let kind: [u8; 4] = array(head, at)?;
        let (size, body) = (i64::from_be_bytes(array(head, at.checked_add(4)?)?), at.checked_add(HEADER)?);
        if &kind == wanted {
            return Some((body, size));
        }
        if &kind == b"data" {
            return None;
        }
        at = body.checked_add(usize::try_from(size).ok()?)?;
    }
}

/// The length of the sound, where a recorder left it open: it lasts to the end.
pub(super) fn patches(source: &mut (impl Read + Seek)) -> io::Result<Vec<Patch>> {
    if bytes_at(source, 0, MAGIC.len() as u64)? != MAGIC {
        return Ok(Vec::new());
    }
    let Some((body, -1)) = chunk(&bytes_at(source, 0, HEAD)?, b"data") else { return Ok(Vec::new()) };
    let end = source.seek(SeekFrom::End(0))?;
    let body = body as u64;
    let [high, low] = [end.saturating_sub(body) >> 32, end.saturating_sub(body) & u64::from(u32::MAX)];
    let bytes = |half| u32::try_from(half).unwrap_or(0).to_be_bytes();
    Ok(vec![Patch { at: body - 8, bytes: bytes(high) }, Patch { at: body - 4, bytes: bytes(low) }])
}

/// How the sound is coded, if that is what Symphonia does not read: the codec, and bytes per sample where it has those.
fn coding(head: &[u8]) -> Option<(AudioCodecId, Option<u32>)> {
    let (body, _) = chunk(head, b"desc")?;
    let bits = be32(head, body + 28)?;
    match &array(head, body + 8)? {
        b"alaw" => Some((codec::CODEC_ID_PCM_ALAW, Some(1))),
        b"ulaw" => Some((codec::CODEC_ID_PCM_MULAW, Some(1))),
        b"lpcm" if bits == 8 => Some((codec::CODEC_ID_PCM_S8, Some(1))),
        b"ac-3" => Some((codec::CODEC_ID_AC3, None)),
        b"ec-3" => Some((codec::CODEC_ID_EAC3, None)),
        _ => None,
    }
}

/// Whether a file that begins so is for [`open`].
pub(super) fn is_unusual(head: &[u8]) -> bool {
    coding(head).is_some()
}

/// Finds the track, in the reader of the like in WAVE.
pub(super) fn open(input: &mut Input<'_>) -> Result<Wave> {
    let malformed = || Error::DecodeError("caf: header");
    let head = input.peek(HEAD as usize)?;
    let (codec, bytes) = coding(head).ok_or_else(malformed)?;
    let (about, _) = chunk(head, b"desc").ok_or_else(malformed)?;
    let (sound, size) = chunk(head, b"data").ok_or_else(malformed)?;
    let rate = array(head, about).map_or(0.0, f64::from_be_bytes) as u32;
    let channels = be32(head, about + 24).filter(|channels| (1..=64).contains(channels)).ok_or_else(malformed)?;
    let mut params = AudioCodecParameters::new();
    params.for_codec(codec).with_sample_rate(rate).with_max_frames_per_packet(2048);
    let discrete = Channels::Discrete(u16::try_from(channels).unwrap_or(1));
    params.with_channels(Position::from_wave_channel_count(channels).map_or(discrete, Channels::Positioned));
    let packing = match bytes {
        Some(bytes) => Packing::Blocks { bytes: bytes * channels, samples: 1 },
        None => Packing::Frames(Coding::Ac3),
    };
    // Behind a count of edits.
    input.skip(sound as u64 + 4)?;
    Wave::new(Waveform { params, packing, rate }, u64::try_from(size).ok().map(|size| size.saturating_sub(4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_end_is_that_of_the_file() -> io::Result<()> {
        let sound =
            |size: i64| [&b"caff\0\x01\0\0free\0\0\0\0\0\0\0\x02xxdata"[..], &size.to_be_bytes(), &[7; 50]].concat();
        let found = patches(&mut io::Cursor::new(sound(-1)))?;
        assert_eq!(found, [Patch { at: 26, bytes: [0; 4] }, Patch { at: 30, bytes: [0, 0, 0, 50] }]);
        assert_eq!(patches(&mut io::Cursor::new(sound(50)))?, []);
        assert_eq!(patches(&mut io::Cursor::new(b"caff"))?, []);
        Ok(())
    }
}
