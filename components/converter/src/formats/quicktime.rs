//! Sample entries of QuickTime and MP4 files (QuickTime File Format; ISO/IEC 14496-12 and 23003-5) that Symphonia does
//! not understand, or refuses the whole file for: uncompressed sound of more than two channels or of the other byte
//! order, codecs described in QuickTime's own ways or in Microsoft's, several entries for one track.

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

use super::bytes::{array, be16, be32, find, u8_at};
use super::patched::Patch;
use super::waveform::{Waveform, ima_quicktime};
use super::{Description, names, speakers};

/// A kind of sample entry that Symphonia passes over.
const UNKNOWN: [u8; 4] = *b"none";

/// Pictures, whose descriptions Symphonia reads and refuses some of, as if they were its business: those of HEVC by x265
/// are longer than it expects.
const PICTURES: [[u8; 4]; 9] =
    [*b"av01", *b"avc1", *b"dvh1", *b"dvhe", *b"hev1", *b"hvc1", *b"mp4v", *b"vp08", *b"vp09"];

/// Whether a track's description, the body of a box `stsd`, is one that [`patches`] hides because it is of pictures.
pub(super) fn is_pictures(stsd: &[u8]) -> bool {
    array(stsd, 12).is_some_and(|kind| PICTURES.contains(&kind))
}

/// What has to be changed in a file for Symphonia to read it.
pub(super) fn patches(entries: &[Description]) -> Vec<Patch> {
    let mut patches = Vec::new();
    for entry in entries {
        let mut patch = |at: u64, bytes: [u8; 4]| patches.push(Patch { at, bytes });
        // Of several, which are for different pieces of a film, the first counts.
        if be32(&entry.stsd, 4).is_some_and(|count| count > 1) {
            patch(entry.at.saturating_add(4), 1_u32.to_be_bytes());
        }
        if is_pictures(&entry.stsd) {
            patch(entry.at.saturating_add(12), UNKNOWN);
        }
        if let Some(pcm) = Pcm::parse(&entry.stsd) {
            patch(entry.at.saturating_add(12), UNKNOWN);
            // QuickTime says 1 here for whatever has no compression.
            if let Some((at, size)) = entry.size
                && size != pcm.frame_bytes()
            {
                patch(at, pcm.frame_bytes().to_be_bytes());
            }
        }
    }
    patches
}

/// Uncompressed sound.
struct Pcm {
    codec: AudioCodecId,
    bytes: u32,
    channels: u16,
    rate: u32,
}

impl Pcm {
    /// None if it is none, or none that has to be read here.
    fn parse(stsd: &[u8]) -> Option<Self> {
        let kind: [u8; 4] = array(stsd, 12)?;
        let entry = stsd.get(16..)?;
        let (version, channels, bits) = (be16(entry, 8)?, be16(entry, 16)?, be16(entry, 18)?);
        if version > 1 || !(1..=32).contains(&channels) {
            return None;
        }
        let integer = |bits, little| {
            Some(match (bits, little) {
                (8, _) => (codec::CODEC_ID_PCM_S8, 1),
                (16, true) => (codec::CODEC_ID_PCM_S16LE, 2),
                (16, false) => (codec::CODEC_ID_PCM_S16BE, 2),
                (24, true) => (codec::CODEC_ID_PCM_S24LE, 3),
                (24, false) => (codec::CODEC_ID_PCM_S24BE, 3),
                (32, true) => (codec::CODEC_ID_PCM_S32LE, 4),
                (32, false) => (codec::CODEC_ID_PCM_S32BE, 4),
                _ => return None,
            })
        };
        let float = |bits, little| {
            Some(match (bits, little) {
                (32, true) => (codec::CODEC_ID_PCM_F32LE, 4),
                (32, false) => (codec::CODEC_ID_PCM_F32BE, 4),
                (64, true) => (codec::CODEC_ID_PCM_F64LE, 8),
                (64, false) => (codec::CODEC_ID_PCM_F64BE, 8),
                _ => return None,
            })
        };
        let little = || find(entry, b"enda").and_then(|at| be16(entry, at + 4)) == Some(1);
        let (codec, bytes) = match &kind {
            b"raw " => (codec::CODEC_ID_PCM_U8, 1),
            b"NONE" if bits == 8 => (codec::CODEC_ID_PCM_U8, 1),
            b"NONE" | b"twos" => integer(bits, false)?,
            b"sowt" => integer(bits, true)?,
            b"in24" => integer(24, little())?,
            b"in32" => integer(32, little())?,
            b"fl32" => float(32, little())?,
            b"fl64" => float(64, little())?,
            b"ipcm" | b"fpcm" => {
                let at = find(entry, b"pcmC")?;
                let (little, bits) = (u8_at(entry, at + 8)? & 1 == 1, u16::from(u8_at(entry, at + 9)?));
                if &kind == b"ipcm" { integer(bits, little)? } else { float(bits, little)? }
            }
            _ => return None,
        };
        Some(Self { codec, bytes, channels, rate: be32(entry, 24)? >> 16 })
    }

    fn frame_bytes(&self) -> u32 {
        self.bytes.saturating_mul(u32::from(self.channels))
    }
}

/// What a sample entry, in the body of a box `stsd`, says that Symphonia does not understand; none if that is nothing.
pub(super) fn parameters(stsd: &[u8]) -> Option<AudioCodecParameters> {
    let kind: [u8; 4] = array(stsd, 12)?;
    let entry = stsd.get(16..)?;
    let version = be16(entry, 8)?;
    let (channels, rate) = match version {
        2 => (u16::try_from(be32(entry, 40)?).ok()?, f64::from_be_bytes(array(entry, 32)?) as u32),
        _ => (be16(entry, 16)?, be32(entry, 24)? >> 16),
    };
    if let ([b'm', b's', ..], Some(params)) = (kind, microsoft(kind, entry)) {
        return Some(params);
    }
    if channels == 0 {
        return None;
    }
    let mut params = AudioCodecParameters::new();
    params.with_sample_rate(rate);
    let positions = Position::from_wave_channel_count(u32::from(channels));
    params.with_channels(positions.map_or(Channels::Discrete(channels), Channels::Positioned));
    if let Some(pcm) = Pcm::parse(stsd) {
        if let Some(layout) = speakers::quicktime(entry, channels) {
            params.with_channels(layout);
        }
        params.for_codec(pcm.codec).with_sample_rate(pcm.rate).with_max_frames_per_packet(1);
        return Some(params);
    }
    match &kind {
        // The settings, behind version and flags, are in a box `wave`, in the description's own first version.
        b"alac" if version > 0 => {
            let at = find(entry, b"\0\0\0\x24alac\0\0\0\0")?;
            params.for_codec(codec::CODEC_ID_ALAC).with_extra_data(entry.get(at + 12..at + 36)?.into());
        }
        b"ac-3" | b"sac3" if version > 0 => _ = params.for_codec(codec::CODEC_ID_AC3),
        b"ec-3" if version > 0 => _ = params.for_codec(codec::CODEC_ID_EAC3),
        b".mp1" => _ = params.for_codec(codec::CODEC_ID_MP1),
        b".mp2" => _ = params.for_codec(codec::CODEC_ID_MP2),
        b"alaw" => _ = params.for_codec(codec::CODEC_ID_PCM_ALAW),
        b"ulaw" => _ = params.for_codec(codec::CODEC_ID_PCM_MULAW),
        b"samr" | b"sawb" | b"sawp" => _ = params.for_codec(names::AMR),
        b"dtsc" | b"dtse" | b"dtsh" | b"dtsl" | b"dtsx" => _ = params.for_codec(codec::CODEC_ID_DCA),
        b"mlpa" => _ = params.for_codec(codec::CODEC_ID_TRUEHD),
        b"ac-4" => _ = params.for_codec(codec::CODEC_ID_AC4),
        b"mha1" | b"mhm1" => _ = params.for_codec(names::MPEG_H),
        b"enca" => _ = params.for_codec(names::ENCRYPTED),
        b"ima4" => ima_quicktime(params.for_codec(codec::CODEC_ID_ADPCM_IMA_QT)),
        b"QDM2" | b"QDMC" | b"Qclp" => _ = params.for_codec(names::QDESIGN),
        b"MAC3" | b"MAC6" => _ = params.for_codec(names::MACE),
        b"agsm" => _ = params.for_codec(names::GSM),
        b"spex" => _ = params.for_codec(codec::CODEC_ID_SPEEX),
        _ => return None,
    }
    Some(params)
}

/// A codec of Microsoft's, by its number, or by all of its description if that is there.
fn microsoft(kind: [u8; 4], entry: &[u8]) -> Option<AudioCodecParameters> {
    let [b'm', b's', 0, tag] = kind else { return None };
    // The kind stands there twice: in the box `frma`, and before the description.
    let described = entry.windows(4).enumerate().filter(|(_, four)| *four == kind);
    let waveform = described.filter_map(|(at, _)| Waveform::parse(entry.get(at + 4..)?)).next();
    if let Some(waveform) = waveform {
        return Some(waveform.params);
    }
    let mut params = AudioCodecParameters::new();
    params.for_codec(match tag {
        0x11 => codec::CODEC_ID_ADPCM_IMA_WAV,
        0x31 => names::GSM,
        0x50 => codec::CODEC_ID_MP2,
        0x55 => codec::CODEC_ID_MP3,
        2 => codec::CODEC_ID_ADPCM_MS,
        _ => return None,
    });
    Some(params)
}
