//! Vorbis of more than two channels, made ready for Symphonia's decoder.
//!
//! Pairs of channels are decoupled from the last to the first (Vorbis I, 4.3.5). Symphonia goes from the first to the
//! last, which differs where pairs share a channel, as they do in all surround sound of libvorbis. So it is given a
//! setup header that lists the pairs the other way round. When a later Symphonia does it right, the tests of 5.1 fail,
//! and this goes.
//!
//! Residues of the types 0 and 1, which libvorbis uses for 7.1, it decodes wrongly too: partitions of one channel that
//! do not fill a codeword take their classes from the next channel. So does it with two channels that share a residue
//! of type 2 and are not the first. Such streams are refused.

use symphonia::core::codecs::audio::AudioCodecParameters;

/// The identification header's length, and where in it the number of channels is.
const IDENTIFICATION: usize = 30;
const CHANNELS: usize = 11;
/// What a setup header begins with.
const MAGIC: &[u8] = b"\x05vorbis";

/// The parameters with which Symphonia decodes rightly. None if the headers are malformed, or
/// would be decoded wrongly all the same.
pub(super) fn prepared(params: &AudioCodecParameters) -> Option<AudioCodecParameters> {
    let mut params = params.clone();
    let headers = params.extra_data.as_deref_mut()?;
    let (identification, setup) = places(headers)?;
    let channels = u32::from(*headers.get(identification.checked_add(CHANNELS)?)?);
    if channels > 2 {
        reverse_couplings(headers.get_mut(setup..)?, channels)?;
    }
    Some(params)
}

/// Where the identification header and the setup header start: one behind the other, or all three headers behind the
/// lengths of the first two.
fn places(headers: &[u8]) -> Option<(usize, usize)> {
    let [2, lengths @ ..] = headers else { return Some((0, IDENTIFICATION)) };
    let (mut at, mut sum, mut ended) = (1_usize, 0_usize, 0);
    for byte in lengths {
        at += 1;
        sum += usize::from(*byte);
        ended += usize::from(*byte < 255);
        if ended == 2 {
            return Some((at, at + sum));
        }
    }
    None
}

/// Turns the order of the coupled pairs round in every mapping of a setup header (Vorbis I, 4.2.4).
fn reverse_couplings(setup: &mut [u8], channels: u32) -> Option<()> {
    let mut bits = Bits { bytes: setup.strip_prefix(MAGIC)?, at: 0 };
    for _ in 0..=bits.take(8)? {
        skip_codebook(&mut bits)?;
    }
    for _ in 0..=bits.take(6)? {
        // A transform of the time domain, which there is none of.
        bits.skip(16)?;
    }
    for _ in 0..=bits.take(6)? {
        skip_floor(&mut bits)?;
    }
    let interleaved: Vec<bool> = (0..=bits.take(6)?).map(|_| residue(&mut bits)).collect::<Option<_>>()?;
    let width = 2 * bits_for(channels - 1);
    let mut lists = Vec::new();
    for _ in 0..=bits.take(6)? {
        lists.push(mapping(&mut bits, channels, width, &interleaved)?);
    }
    let setup = setup.get_mut(MAGIC.len()..)?;
    for (start, count) in lists {
        let mut pairs = Bits { bytes: setup, at: start };
        let pairs: Vec<u32> = (0..count).map(|_| pairs.take(width)).collect::<Option<_>>()?;
        for (index, pair) in pairs.iter().rev().enumerate() {
            put(setup, start + index * width as usize, *pair, width)?;
        }
    }
    Some(())
}

fn skip_codebook(bits: &mut Bits<'_>) -> Option<()> {
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
        0 => return Some(()),
        1 => u64::from(root(entries, dimensions)?),
        2 => u64::from(entries) * u64::from(dimensions),
        _ => return None,
    };
    bits.skip(64)?;
    let width = u64::from(bits.take(4)? + 1);
    bits.skip(1 + values * width)
}

fn skip_floor(bits: &mut Bits<'_>) -> Option<()> {
    match bits.take(16)? {
        0 => {
            bits.skip(8 + 16 + 16 + 6 + 8)?;
            let books = bits.take(4)? + 1;
            bits.skip(8 * u64::from(books))
        }
        1 => {
            let partitions = bits.take(5)?;
            let classes: Vec<usize> =
                (0..partitions).map(|_| bits.take(4).map(|class| class as usize)).collect::<Option<_>>()?;
            let mut dimensions = Vec::new();
            for _ in 0..classes.iter().max().map_or(0, |last| last + 1) {
                dimensions.push(u64::from(bits.take(3)? + 1));
                let subclasses = bits.take(2)?;
                let master = if subclasses == 0 { 0 } else { 8 };
                bits.skip(master + (8 << subclasses))?;
            }
            bits.skip(2)?;
            let width = u64::from(bits.take(4)?);
            let points: u64 = classes.iter().filter_map(|class| dimensions.get(*class)).sum();
            bits.skip(points * width)
        }
        _ => None,
    }
}

/// Says whether it is of type 2, all channels in one.
fn residue(bits: &mut Bits<'_>) -> Option<bool> {
    let kind = bits.take(16)?;
    bits.skip(24 + 24 + 24)?;
    let classifications = bits.take(6)? + 1;
    bits.skip(8)?;
    let mut books = 0;
    for _ in 0..classifications {
        books += bits.take(3)?.count_ones();
        if bits.flag()? {
            books += bits.take(5)?.count_ones();
        }
    }
    bits.skip(8 * u64::from(books))?;
    Some(kind == 2)
}

/// Says where its list of pairs starts and how many there are. None if Symphonia would decode it wrongly.
fn mapping(bits: &mut Bits<'_>, channels: u32, width: u32, interleaved: &[bool]) -> Option<(usize, u32)> {
    if bits.take(16)? != 0 {
        return None;
    }
    let submaps = if bits.flag()? { bits.take(4)? + 1 } else { 1 };
    let pairs = if bits.flag()? { bits.take(8)? + 1 } else { 0 };
    let start = bits.at;
    bits.skip(u64::from(pairs * width) + 2)?;
    let submap_of: Vec<u32> =
        (0..channels).map(|_| if submaps > 1 { bits.take(4) } else { Some(0) }).collect::<Option<_>>()?;
    for submap in 0..submaps {
        // The first eight bits mean nothing, the next are the floor.
        bits.skip(8 + 8)?;
        let interleaved = *interleaved.get(bits.take(8)? as usize)?;
        let sharing = submap_of.iter().filter(|of| **of == submap).count();
        let is_right = match sharing {
            0 | 1 => true,
            2 => interleaved && submap_of.first() == Some(&submap),
            _ => interleaved,
        };
        if !is_right {
            return None;
        }
    }
    Some((start, pairs))
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

/// Writes a number of so many bits.
fn put(bytes: &mut [u8], at: usize, number: u32, width: u32) -> Option<()> {
    for bit in 0..width {
        let at = at + bit as usize;
        let byte = bytes.get_mut(at / 8)?;
        *byte = *byte & !(1 << (at % 8)) | ((number >> bit & 1) as u8) << (at % 8);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setup header with one of everything, up to its mapping of six channels.
    fn setup(residue: u32, pairs: &[(u32, u32)]) -> Vec<u8> {
        let mut fields = vec![(0, 8)];
        // Codebook: 3 entries of 2 dimensions, lengths 1, 2, 2; one value of four bits, the root of 3.
        fields.extend([(0x56_4342, 24), (2, 16), (3, 24), (0, 1), (0, 1), (0, 5), (1, 5), (1, 5)]);
        fields.extend([(1, 4), (0, 32), (0, 32), (3, 4), (0, 1), (9, 4)]);
        fields.extend([(0, 6), (0, 16)]);
        // Floor: one partition, of the first class, of 3 dimensions and 2 subclasses.
        fields.extend([(0, 6), (1, 16), (1, 5), (0, 4), (2, 3), (1, 2), (0, 8), (1, 8), (1, 8)]);
        fields.extend([(0, 2), (7, 4), (3, 7), (5, 7), (9, 7)]);
        // Residue: one classification, of three books.
        fields.extend([(0, 6), (residue, 16), (0, 24), (512, 24), (15, 24), (0, 6), (0, 8), (5, 3), (1, 1), (1, 5)]);
        fields.extend([(0, 8); 3]);
        fields.extend([(0, 6), (0, 16), (1, 1), (1, 4), (1, 1), (pairs.len() as u32 - 1, 8)]);
        fields.extend(pairs.iter().flat_map(|(magnitude, angle)| [(*magnitude, 3), (*angle, 3)]));
        fields.extend([(0, 2), (0, 4), (0, 4), (0, 4), (0, 4), (0, 4), (1, 4)]);
        fields.extend([(0, 24), (0, 24)]);
        let mut bytes = MAGIC.to_vec();
        let mut at = 8 * bytes.len();
        bytes.resize(200, 0);
        for (number, width) in fields {
            put(&mut bytes, at, number, width).expect("room");
            at += width as usize;
        }
        bytes.truncate(at.div_ceil(8));
        bytes
    }

    #[test]
    fn pairs_are_listed_the_other_way_round_and_nothing_else_changes() {
        let mut header = setup(2, &[(0, 2), (3, 4), (0, 3)]);
        assert_eq!(reverse_couplings(&mut header, 6), Some(()));
        assert_eq!(header, setup(2, &[(0, 3), (3, 4), (0, 2)]));
    }

    #[test]
    fn what_would_be_decoded_wrongly_is_refused() {
        for residue in [0, 1] {
            assert_eq!(reverse_couplings(&mut setup(residue, &[(0, 2)]), 6), None);
        }
    }

    #[test]
    fn headers_that_end_early_are_refused() {
        let whole = setup(2, &[(0, 2), (3, 4), (0, 3)]);
        for end in 0..whole.len() {
            assert_eq!(reverse_couplings(&mut whole[..end].to_vec(), 6), None, "{end}");
        }
    }

    #[test]
    fn damaged_headers_are_refused_or_keep_their_length() {
        let whole = setup(2, &[(0, 2), (3, 4), (0, 3)]);
        let refused = (0..8 * whole.len()).filter(|bit| {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let outcome = reverse_couplings(&mut damaged, 6);
            assert_eq!(damaged.len(), whole.len());
            outcome.is_none()
        });
        assert!(refused.count() > 8 * MAGIC.len());
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

    #[test]
    fn headers_behind_their_lengths_are_found() {
        assert_eq!(places(b"\x01vorbis"), Some((0, 30)));
        assert_eq!(places(&[2, 30, 255, 255, 1, 0]), Some((5, 5 + 30 + 511)));
        assert_eq!(places(&[2, 30, 255, 255]), None);
    }
}
