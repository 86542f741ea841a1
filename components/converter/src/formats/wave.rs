//! WAVE files that Symphonia's reader refuses: above 4 GiB (RF64, BW64, Sony's Wave64), without a length or with one
//! too small for what is in it (written through a pipe, or never finished), or with frames inside (MP3, AC-3, AAC).

use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_FLAC};
use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::well_known::FORMAT_ID_WAVE;
use symphonia::core::formats::{FormatInfo, Track};
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use super::bytes::{array, le16, le32};
use super::input::Input;
use super::waveform::{Packets, Packing, Waveform};
use super::{Demux, audio_track, end_of_file, info, names};

/// Chunks before the sound.
const MAX_CHUNKS: usize = 1000;
const PIECE: usize = 64 * 1024;

pub(super) struct Wave {
    tracks: Vec<Track>,
    packets: Packets,
    /// Bytes of sound to come; none: to the file's end.
    left: Option<u64>,
    seconds: Option<f64>,
    ended: bool,
}

/// Whether a file that begins so is for this reader, as far as is seen of it.
pub(super) fn is_unusual(head: &[u8]) -> bool {
    match array(head, 0) {
        Some(start) if &start == b"RF64" || &start == b"BW64" => return true,
        Some(start) if &start == b"RIFF" && array(head, 8) == Some(*b"WAVE") => {}
        _ => return false,
    }
    let mut at = 12_usize;
    while let (Some(id), Some(size)) = (array(head, at), le32(head, at.saturating_add(4))) {
        match &id {
            b"fmt " if !matches!(le16(head, at + 8), None | Some(1..=3 | 6 | 7 | 0x11 | 0xfffe)) => return true,
            b"data" => {
                let end = (at as u64).saturating_add(u64::from(size));
                return size == 0 || size == u32::MAX || le32(head, 4).is_some_and(|stated| u64::from(stated) < end);
            }
            _ => {}
        }
        at = at.saturating_add(8).saturating_add(size as usize).saturating_add(size as usize & 1);
    }
    false
}

/// What the identifiers of Wave64 end with: that of the file, and those of its chunks.
const FILE: [u8; 12] = [0x2e, 0x91, 0xcf, 0x11, 0xa5, 0xd6, 0x28, 0xdb, 0x04, 0xc1, 0, 0];
const CHUNK: [u8; 12] = [0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0x00, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a];

pub(super) fn is_wave64(head: &[u8]) -> bool {
    array(head, 0) == Some(*b"riff") && array(head, 4) == Some(FILE) && array(head, 24) == Some(*b"wave")
}

impl Demux for Wave {
    const INFO: FormatInfo = info(FORMAT_ID_WAVE, "wave", "Waveform Audio File Format");

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn seconds(&self) -> Option<f64> {
        self.seconds
    }

    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.packets.next() {
                return Ok(Some(packet));
            }
            if self.ended {
                return Ok(None);
            }
            let wanted = self.left.map_or(PIECE, |left| usize::try_from(left).unwrap_or(PIECE).min(PIECE));
            let piece = input.peek(wanted)?;
            let count = piece.len();
            self.packets.push(piece);
            input.consume(count);
            self.left = self.left.map(|left| left.saturating_sub(count as u64));
            if count == 0 {
                if self.left.is_some_and(|left| left > 0) {
                    return Err(end_of_file());
                }
                self.end();
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.packets.end();
    }
}

impl Wave {
    /// Finds the tracks.
    pub(super) fn open(input: &mut Input<'_>) -> Result<Self> {
        if is_wave64(input.peek(40)?) {
            return Self::open_wave64(input);
        }
        input.skip(12)?;
        let mut long = None;
        let mut waveform = None;
        for _ in 0..MAX_CHUNKS {
            let head = input.peek(24)?;
            let (Some(id), Some(size)) = (array(head, 0), le32(head, 4)) else { break };
            match &id {
                b"ds64" => long = array(head, 16).map(u64::from_le_bytes),
                b"fmt " => {
                    waveform = Waveform::parse(input.peek(8 + size.min(4096) as usize)?.get(8..).unwrap_or_default())
                }
                b"data" => {
                    input.consume(8);
                    let Some(waveform) = waveform else { break };
                    let left = match size {
                        u32::MAX => long,
                        0 => None,
                        size => Some(u64::from(size)),
                    };
                    return Self::new(waveform, left);
                }
                _ => {}
            }
            input.skip(8 + u64::from(size) + u64::from(size & 1))?;
        }
        Err(Error::DecodeError("wave: no sound"))
    }

    /// Chunks with identifiers of 16 bytes and sizes of 8, which count themselves in and are filled up to eighths.
    fn open_wave64(input: &mut Input<'_>) -> Result<Self> {
        const HEADER: u64 = 24;
        input.skip(40)?;
        let mut waveform = None;
        for _ in 0..MAX_CHUNKS {
            let head = input.peek(HEADER as usize)?;
            let Some((id, size)) = array(head, 0).zip(array(head, 16).map(u64::from_le_bytes)) else { break };
            let body = size.checked_sub(HEADER);
            if array(head, 4) == Some(CHUNK) && &id == b"fmt " {
                let body = usize::try_from(body.unwrap_or(0)).unwrap_or(0).min(4096);
                waveform =
                    Waveform::parse(input.peek(HEADER as usize + body)?.get(HEADER as usize..).unwrap_or_default());
            } else if array(head, 4) == Some(CHUNK) && &id == b"data" {
                input.skip(HEADER)?;
                let Some(waveform) = waveform else { break };
                return Self::new(waveform, body.filter(|body| *body > 0));
            }
            input.skip(size.max(HEADER).checked_next_multiple_of(8).unwrap_or(u64::MAX))?;
        }
        Err(Error::DecodeError("wave64: no sound"))
    }

    /// So many bytes of sound follow, or all to the file's end.
    pub(super) fn new(mut waveform: Waveform, left: Option<u64>) -> Result<Self> {
        // Here, chunks are not packets.
        if matches!(waveform.packing, Packing::Whole { .. }) {
            match waveform.params.codec {
                CODEC_ID_AAC => _ = waveform.params.for_codec(names::BARE_AAC),
                CODEC_ID_FLAC => _ = waveform.params.for_codec(names::BARE_FLAC),
                _ => {}
            }
        }
        let base = TimeBase::try_from_recip(waveform.rate).ok_or(Error::DecodeError("wave: sample rate"))?;
        let seconds = match waveform.packing {
            Packing::Blocks { bytes, samples } => {
                left.map(|left| left as f64 / f64::from(bytes) * f64::from(samples) / f64::from(waveform.rate))
            }
            _ => None,
        };
        Ok(Self {
            packets: Packets::new(0, waveform.packing),
            tracks: vec![audio_track(0, waveform.params, base, None)],
            left,
            seconds,
            ended: false,
        })
    }
}
