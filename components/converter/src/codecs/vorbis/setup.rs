//! How much the tables of a stream would need: a setup header of a few bytes may name codebooks of millions of entries.

/// Values in all codebooks together; those of libvorbis have less than a tenth.
const MAX_VALUES: u64 = 1 << 20;
/// What a setup header begins with.
const MAGIC: &[u8] = b"\x05vorbis";

/// Whether a setup header's codebooks are of a sensible size (Vorbis I, 3.2.1).
pub(super) fn is_sane(setup: &[u8]) -> bool {
    values(setup).is_some_and(|values| values <= MAX_VALUES)
}

fn values(setup: &[u8]) -> Option<u64> {
    let mut bits = Bits { bytes: setup.strip_prefix(MAGIC)?, at: 0 };
    let mut sum = 0_u64;
    for _ in 0..=bits.take(8)? {
        sum = sum.saturating_add(codebook(&mut bits)?);
    }
    Some(sum)
}

/// Goes over a codebook; says how many values it has.
fn codebook(bits: &mut Bits<'_>) -> Option<u64> {
    if bits.take(24)? != 0x56_4342 {
        return None;
    }
    let (dimensions, entries) = (bits.take(16)?, bits.take(24)?);
    if bits.flag()? {
        // Lengths of codewords that only grow: how many there are of each.
        bits.skip(5)?;
        let mut left = entries;
        while left > 0 {
            left = left.checked_sub(bits.take(bits_for(left))?)?;
        }
    } else if bits.flag()? {
        for _ in 0..entries {
            if bits.flag()? {
                bits.skip(5)?;
            }
        }
    } else {
        bits.skip(5 * u64::from(entries))?;
    }
    let values = match bits.take(4)? {
        0 => return Some(entries.into()),
        1 => u64::from(root(entries, dimensions)?),
        2 => u64::from(entries) * u64::from(dimensions),
        _ => return None,
    };
    bits.skip(64)?;
    let width = u64::from(bits.take(4)? + 1);
    bits.skip(1 + values * width)?;
    Some(u64::from(entries) * u64::from(dimensions.max(1)))
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

/// Numbers of so many bits, the lowest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, width: u32) -> Option<u32> {
        let mut number = 0;
        for bit in 0..width {
            let byte = self.bytes.get(self.at / 8)?;
            number |= u32::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Some(number)
    }

    fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?)?;
        (self.at <= self.bytes.len().checked_mul(8)?).then_some(())
    }
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
        assert_eq!(values(&setup(1000)), Some(1000));
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
