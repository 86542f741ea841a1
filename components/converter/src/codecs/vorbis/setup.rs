//! How much the tables of a stream would need: a setup header of a few bytes may name codebooks of millions of entries.

use symphonia::core::errors::{Error, Result};
use symphonia::core::io::{BitReaderRtl, ReadBitsRtl};

/// Values in all codebooks together; those of libvorbis have less than a tenth.
const MAX_VALUES: u64 = 1 << 20;
/// What a setup header begins with.
const MAGIC: &[u8] = b"\x05vorbis";
const MALFORMED: Error = Error::DecodeError("vorbis: setup header");

/// Whether a setup header's codebooks are of a sensible size (Vorbis I, 3.2.1).
pub(super) fn is_sane(setup: &[u8]) -> bool {
    values(setup).is_ok_and(|values| values <= MAX_VALUES)
}

fn values(setup: &[u8]) -> Result<u64> {
    let mut bits = BitReaderRtl::new(setup.strip_prefix(MAGIC).ok_or(MALFORMED)?);
    let mut sum = 0_u64;
    for _ in 0..=bits.read_bits_leq32(8)? {
        sum = sum.saturating_add(codebook(&mut bits)?);
    }
    Ok(sum)
}

/// Goes over a codebook; says how many values it has.
fn codebook(bits: &mut BitReaderRtl<'_>) -> Result<u64> {
    if bits.read_bits_leq32(24)? != 0x56_4342 {
        return Err(MALFORMED);
    }
    let (dimensions, entries) = (bits.read_bits_leq32(16)?, bits.read_bits_leq32(24)?);
    if bits.read_bool()? {
        // Lengths of codewords that only grow: how many there are of each.
        bits.ignore_bits(5)?;
        let mut left = entries;
        while left > 0 {
            let of_a_length = bits.read_bits_leq32(bits_for(left))?;
            left = left.checked_sub(of_a_length).ok_or(MALFORMED)?;
        }
    } else if bits.read_bool()? {
        for _ in 0..entries {
            if bits.read_bool()? {
                bits.ignore_bits(5)?;
            }
        }
    } else {
        bits.ignore_bits(5 * entries)?;
    }
    let values = match bits.read_bits_leq32(4)? {
        0 => return Ok(entries.into()),
        1 => u64::from(root(entries, dimensions).ok_or(MALFORMED)?),
        2 => u64::from(entries) * u64::from(dimensions),
        _ => return Err(MALFORMED),
    };
    bits.ignore_bits(64)?;
    let width = u64::from(bits.read_bits_leq32(4)? + 1);
    bits.ignore_bits(u32::try_from(1 + values * width).map_err(|_| MALFORMED)?)?;
    Ok(u64::from(entries) * u64::from(dimensions.max(1)))
}

/// Bits that a number takes: `ilog` in the specification.
fn bits_for(number: u32) -> u32 {
    u32::BITS - number.leading_zeros()
}

/// The greatest number whose power is not above `entries`: `lookup1_values` in the specification.
fn root(entries: u32, power: u32) -> Option<u32> {
    let fits = |base: u32| base.checked_pow(power).is_some_and(|product| product <= entries);
    let place = |root: u32, bit: u32| if fits(root | 1 << bit) { root | 1 << bit } else { root };
    (power > 0).then(|| (0..24).rev().fold(0, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setup header with one codebook that has so many entries, all with words of the same length.
    fn setup(entries: u32) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        let mut put = |number: u32, width: u32| bits.extend((0..width).map(|bit| number >> bit & 1 == 1));
        for (number, width) in [(0, 8), (0x56_4342, 24), (2, 16), (entries, 24), (1, 1), (4, 5)] {
            put(number, width);
        }
        put(entries, bits_for(entries));
        put(0, 4);
        let bytes = bits.chunks(8).map(|eight| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
        MAGIC.iter().copied().chain(bytes).collect()
    }

    #[test]
    fn codebooks_of_millions_of_entries_in_a_few_bytes_are_refused() {
        assert_eq!(values(&setup(1000)).ok(), Some(1000));
        assert!(is_sane(&setup(1 << 16)));
        assert!(!is_sane(&setup((1 << 24) - 1)));
        for end in 0..setup(1000).len() {
            assert!(!is_sane(&setup(1000)[..end]), "{end}");
        }
    }

    #[test]
    fn roots_are_whole() {
        let cases = [(1025, 10, 2), (1024, 10, 2), (1023, 10, 1), (3126, 5, 5), (3125, 5, 5), (3124, 5, 4)];
        for (entries, power, expected) in cases {
            assert_eq!(root(entries, power), Some(expected));
        }
        assert_eq!((root(1, 1), root(0, 15), root(1, 0)), (Some(1), Some(0), None));
        assert_eq!(root(0xff_ffff, 1), Some(0xff_ffff));
    }
}
