//! AAC in LATM, framed by LOAS (ISO/IEC 14496-3, 1.7), as European television has it: one program, one layer, and
//! the kind of AAC that has no more settings than rate and channels.

use super::bytes::u8_at;

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
pub(super) fn unit(element: &[u8], mux: &mut Option<Mux>) -> Option<Vec<u8>> {
    let mut bits = Bits { bytes: element, at: 0 };
    if bits.read(1)? == 0 {
        *mux = Some(stream_mux_config(&mut bits)?);
    }
    (*mux)?;
    let mut length = 0;
    loop {
        let more = bits.read(8)? as usize;
        length += more;
        if more != 255 {
            break;
        }
    }
    (0..length).map(|_| bits.read(8).map(|byte| byte as u8)).collect()
}

fn stream_mux_config(bits: &mut Bits<'_>) -> Option<Mux> {
    let version = bits.read(1)?;
    if version == 1 && bits.read(1)? == 1 {
        return None;
    }
    if version == 1 {
        value(bits)?;
    }
    let (_same_timing, sub_frames, programs, layers) = (bits.read(1)?, bits.read(6)?, bits.read(4)?, bits.read(3)?);
    if (sub_frames, programs, layers) != (0, 0, 0) {
        return None;
    }
    let end = if version == 1 { Some(value(bits)? as usize + bits.at) } else { None };
    let start = bits.at;
    let (rate, channels, samples) = audio_specific_config(bits)?;
    let end = end.unwrap_or(bits.at).max(bits.at);
    let mut config = Vec::new();
    let mut copy = Bits { bytes: bits.bytes, at: start };
    while copy.at < end {
        let count = (end - copy.at).min(8);
        config.push((copy.read(count)? << (8 - count)) as u8);
        if config.len() > MAX_CONFIG {
            return None;
        }
    }
    bits.at = end;
    if bits.read(3)? != 0 {
        return None;
    }
    bits.read(8)?;
    if bits.read(1)? == 1 {
        if version == 1 {
            value(bits)?;
        } else {
            while bits.read(9)? >> 8 == 1 {}
        }
    }
    if bits.read(1)? == 1 {
        bits.read(8)?;
    }
    Some(Mux { config: Config::new(&config)?, rate, channels, samples })
}

/// Goes over the AudioSpecificConfig.
fn audio_specific_config(bits: &mut Bits<'_>) -> Option<(u32, u16, u32)> {
    let mut object = object_type(bits)?;
    let rate = rate(bits)?;
    let channels = bits.read(4)? as u16;
    if object == 5 || object == 29 {
        self::rate(bits)?;
        object = object_type(bits)?;
    }
    if !matches!(object, 1..=4 | 17 | 23) || channels == 0 {
        return None;
    }
    let short = bits.read(1)? == 1;
    if bits.read(1)? == 1 {
        bits.read(14)?;
    }
    bits.read(1)?;
    let channels = if channels == 7 { 8 } else { channels };
    Some((rate, channels, if short { 960 } else { 1024 }))
}

fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.read(5)? {
        31 => Some(32 + bits.read(6)?),
        object => Some(object),
    }
}

fn rate(bits: &mut Bits<'_>) -> Option<u32> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];
    match bits.read(4)? {
        15 => bits.read(24).filter(|rate| *rate > 0),
        index => RATES.get(index as usize).copied(),
    }
}

fn value(bits: &mut Bits<'_>) -> Option<u32> {
    let bytes = bits.read(2)? as usize + 1;
    bits.read(bytes * 8)
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// Up to 32 bits.
    fn read(&mut self, count: usize) -> Option<u32> {
        let mut value = 0_u64;
        let mut left = count;
        while left > 0 {
            let byte = u64::from(u8_at(self.bytes, self.at / 8)?);
            let (within, available) = (self.at % 8, 8 - self.at % 8);
            let taken = left.min(available);
            value = value << taken | (byte << within & 0xff) >> (8 - taken);
            self.at += taken;
            left -= taken;
        }
        u32::try_from(value).ok()
    }
}
