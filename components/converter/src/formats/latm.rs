//! AAC in LATM, framed by LOAS (ISO/IEC 14496-3, 1.7), as European television has it: one program, one layer, and
//! the kind of AAC that has no more settings than rate and channels.

use symphonia::core::errors::{Result, decode_error};
use symphonia::core::io::{BitReaderLtr, FiniteBitStream, ReadBitsLtr};

/// The longest AudioSpecificConfig taken over, in bytes.
pub(super) const MAX_CONFIG: usize = 32;

/// AAC's AudioSpecificConfig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Config {
    bytes: [u8; MAX_CONFIG],
    length: usize,
}

impl Config {
    pub(super) fn new(config: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_CONFIG];
        bytes.get_mut(..config.len())?.copy_from_slice(config);
        Some(Self { bytes, length: config.len() })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What frames have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mux {
    pub(super) config: Config,
    pub(super) rate: u32,
    pub(super) channels: u16,
    /// Of the access unit.
    pub(super) samples: u32,
}

/// The access unit in an AudioMuxElement, and the settings, which only some elements repeat.
///
/// # Errors
/// It ends too early, has settings that are none of AAC's plain ones, or comes before any settings.
pub(super) fn unit(element: &[u8], mux: &mut Option<Mux>) -> Result<Vec<u8>> {
    let mut bits = BitReaderLtr::new(element);
    if !bits.read_bool()? {
        *mux = Some(stream_mux_config(element, &mut bits)?);
    }
    if mux.is_none() {
        return decode_error("latm: no settings yet");
    }
    let mut length = 0;
    loop {
        let more = bits.read_bits_leq32(8)?;
        length += more;
        if more != 255 {
            break;
        }
    }
    (0..length).map(|_| Ok(bits.read_bits_leq32(8)? as u8)).collect()
}

fn stream_mux_config<'a>(element: &'a [u8], bits: &mut BitReaderLtr<'a>) -> Result<Mux> {
    let version = bits.read_bit()?;
    if version == 1 && bits.read_bool()? {
        return decode_error("latm: version");
    }
    if version == 1 {
        value(bits)?;
    }
    bits.ignore_bit()?;
    let (sub_frames, programs, layers) = (bits.read_bits_leq32(6)?, bits.read_bits_leq32(4)?, bits.read_bits_leq32(3)?);
    if (sub_frames, programs, layers) != (0, 0, 0) {
        return decode_error("latm: several programs or layers");
    }
    let stated = if version == 1 { value(bits)? } else { 0 };
    let before = bits.bits_left();
    let (rate, channels, samples) = audio_specific_config(bits)?;
    let mut left = u64::from(stated).max(before - bits.bits_left());
    // Once more, as it is.
    *bits = BitReaderLtr::new(element);
    bits.ignore_bits((bits.bits_left() - before) as u32)?;
    let mut config = Vec::new();
    while left > 0 && config.len() <= MAX_CONFIG {
        let count = left.min(8) as u32;
        config.push((bits.read_bits_leq32(count)? << (8 - count)) as u8);
        left -= u64::from(count);
    }
    let Some(config) = Config::new(&config) else { return decode_error("latm: a configuration too long") };
    if bits.read_bits_leq32(3)? != 0 {
        return decode_error("latm: frame length type");
    }
    bits.ignore_bits(8)?;
    if bits.read_bool()? {
        if version == 1 {
            value(bits)?;
        } else {
            while bits.read_bits_leq32(9)? >> 8 == 1 {}
        }
    }
    if bits.read_bool()? {
        bits.ignore_bits(8)?;
    }
    Ok(Mux { config, rate, channels, samples })
}

/// Goes over the AudioSpecificConfig.
fn audio_specific_config(bits: &mut BitReaderLtr<'_>) -> Result<(u32, u16, u32)> {
    let mut object = object_type(bits)?;
    let rate = rate(bits)?;
    let channels = bits.read_bits_leq32(4)? as u16;
    if object == 5 || object == 29 {
        self::rate(bits)?;
        object = object_type(bits)?;
    }
    if !matches!(object, 1..=4 | 17 | 23) || channels == 0 {
        return decode_error("latm: kind of AAC");
    }
    let short = bits.read_bool()?;
    if bits.read_bool()? {
        bits.ignore_bits(14)?;
    }
    bits.ignore_bit()?;
    let channels = if channels == 7 { 8 } else { channels };
    Ok((rate, channels, if short { 960 } else { 1024 }))
}

fn object_type(bits: &mut BitReaderLtr<'_>) -> Result<u32> {
    match bits.read_bits_leq32(5)? {
        31 => Ok(32 + bits.read_bits_leq32(6)?),
        object => Ok(object),
    }
}

fn rate(bits: &mut BitReaderLtr<'_>) -> Result<u32> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];
    let rate = match bits.read_bits_leq32(4)? {
        15 => bits.read_bits_leq32(24)?,
        index => RATES.get(index as usize).copied().unwrap_or(0),
    };
    if rate == 0 { decode_error("latm: rate") } else { Ok(rate) }
}

fn value(bits: &mut BitReaderLtr<'_>) -> Result<u32> {
    let bytes = bits.read_bits_leq32(2)? + 1;
    Ok(bits.read_bits_leq32(bytes * 8)?)
}
