//! AIFF-C with QuickTime's ADPCM (IMA 4:1), which Symphonia's reader refuses.

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_ADPCM_IMA_QT;
use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::well_known::FORMAT_ID_AIFF;
use symphonia::core::formats::{FormatInfo, Track};
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use super::bytes::{array, be16, be32, find};
use super::input::Input;
use super::waveform::{Packets, Packing, ima_quicktime};
use super::{Demux, audio_track, end_of_file, info};

/// Chunks before the sound.
const MAX_CHUNKS: usize = 1000;
const PIECE: usize = 64 * 1024;
/// Samples of a channel in a block.
const SAMPLES: u32 = 64;

pub(super) struct Aiff {
    tracks: Vec<Track>,
    packets: Packets,
    seconds: f64,
    /// Bytes of sound to come.
    left: u64,
    ended: bool,
}

/// Whether a file that begins so is for this reader.
pub(super) fn is_ima(head: &[u8]) -> bool {
    let is_aifc = array(head, 0) == Some(*b"FORM") && array(head, 8) == Some(*b"AIFC");
    is_aifc && find(head, b"COMM").is_some_and(|at| array(head, at.saturating_add(26)) == Some(*b"ima4"))
}

impl Demux for Aiff {
    const INFO: FormatInfo = info(FORMAT_ID_AIFF, "aiff", "Audio Interchange File Format");

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn seconds(&self) -> Option<f64> {
        Some(self.seconds).filter(|seconds| *seconds > 0.0)
    }

    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.packets.next() {
                return Ok(Some(packet));
            }
            if self.ended {
                return Ok(None);
            }
            let piece = input.peek(usize::try_from(self.left).unwrap_or(PIECE).min(PIECE))?;
            let count = piece.len();
            self.packets.push(piece);
            input.consume(count);
            self.left = self.left.saturating_sub(count as u64);
            if self.left == 0 {
                self.end();
            } else if count == 0 {
                return Err(end_of_file());
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.packets.end();
    }
}

impl Aiff {
    /// Finds the sound.
    pub(super) fn open(input: &mut Input<'_>) -> Result<Self> {
        let none = || Error::DecodeError("aiff: no sound");
        input.skip(12)?;
        let mut common = None;
        for _ in 0..MAX_CHUNKS {
            let head = input.peek(32)?;
            let (Some(id), Some(size)) = (array(head, 0), be32(head, 4)) else { break };
            match &id {
                b"COMM" => common = be16(head, 8).zip(be32(head, 10)).zip(array(head, 16).and_then(rate)),
                b"SSND" => {
                    let Some(((channels, blocks), rate)) = common else { break };
                    let offset = be32(head, 8).unwrap_or(0);
                    input.skip(16 + u64::from(offset))?;
                    let base = TimeBase::try_from_recip(rate).ok_or_else(none)?;
                    let positions =
                        Position::from_wave_channel_count(channels.into()).filter(|_| channels > 0).ok_or_else(none)?;
                    let packing = Packing::Blocks { bytes: 34 * u32::from(channels), samples: SAMPLES };
                    let mut params = AudioCodecParameters::new();
                    params.for_codec(CODEC_ID_ADPCM_IMA_QT).with_sample_rate(rate);
                    params.with_channels(Channels::Positioned(positions));
                    ima_quicktime(&mut params);
                    return Ok(Self {
                        tracks: vec![audio_track(0, params, base, None)],
                        packets: Packets::new(0, packing),
                        seconds: f64::from(blocks) * f64::from(SAMPLES) / f64::from(rate),
                        left: u64::from(size).saturating_sub(8 + u64::from(offset)),
                        ended: false,
                    });
                }
                _ => {}
            }
            input.skip(8 + u64::from(size) + u64::from(size & 1))?;
        }
        Err(none())
    }
}

/// A whole number from a float of 80 bits.
fn rate(float: [u8; 10]) -> Option<u32> {
    let exponent = be16(&float, 0)?.checked_sub(16_383).filter(|exponent| *exponent < 32)?;
    let fraction = u64::from_be_bytes(array(&float, 2)?);
    u32::try_from(fraction >> (63 - exponent)).ok().filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_floats_of_80_bits() {
        assert_eq!(rate([0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0]), Some(44_100));
        assert_eq!(rate([0x40, 0x0b, 0xfa, 0, 0, 0, 0, 0, 0, 0]), Some(8000));
        assert_eq!(rate([0xff; 10]), None);
        assert_eq!(rate([0; 10]), None);
    }
}
