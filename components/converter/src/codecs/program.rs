//! The loudspeakers of AAC whose layout has no number: a program config element (ISO/IEC 14496-3, 4.4.1.1), which a
//! decoder wants in its configuration, and streams in ADTS have at the start of their first packet.

use symphonia::core::io::{BitReaderLtr, ReadBitsLtr};

/// Bits of a configuration before its element: object type, rate, layout, and three flags.
const BEFORE: u32 = 5 + 4 + 4 + 3;
/// The element's number among those of a packet.
const ELEMENT: u32 = 5;

/// Whether a configuration says that an element tells the layout, and has none.
pub(super) fn is_missing(config: &[u8]) -> bool {
    matches!(config, [first, second] if first >> 3 < 5 && first & 7 != 7 && second >> 3 & 15 == 0)
}

/// The configuration with the element that the packet begins with; none if it begins with something else.
pub(super) fn completed(config: &[u8], packet: &[u8]) -> Option<Box<[u8]>> {
    let mut from = BitReaderLtr::new(packet);
    (from.read_bits_leq32(3).ok()? == ELEMENT).then_some(())?;
    let mut to = Copy { bytes: config.to_vec(), bits: BEFORE };
    let mut copy = |count| {
        let value = from.read_bits_leq32(count).ok()?;
        to.write(value, count);
        Some(value)
    };
    // Its number, the object type, the rate.
    copy(4 + 2 + 4)?;
    let (front, side, back) = (copy(4)?, copy(4)?, copy(4)?);
    let (bass, data, coupled) = (copy(2)?, copy(3)?, copy(4)?);
    // Whether there are mixes of it, and which.
    for bits in [4, 4, 3] {
        if copy(1)? == 1 {
            copy(bits)?;
        }
    }
    for _ in 0..front + side + back {
        copy(1 + 4)?;
    }
    for _ in 0..bass + data {
        copy(4)?;
    }
    for _ in 0..coupled {
        copy(1 + 4)?;
    }
    // To the next whole byte, which is another one here; and a comment of no length.
    to.bytes.push(0);
    Some(to.bytes.into())
}

struct Copy {
    bytes: Vec<u8>,
    bits: u32,
}

impl Copy {
    fn write(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            let at = (self.bits / 8) as usize;
            if at >= self.bytes.len() {
                self.bytes.push(0);
            }
            if let Some(byte) = self.bytes.get_mut(at) {
                *byte |= u8::try_from(value >> bit & 1).unwrap_or(0) << (7 - self.bits % 8);
            }
            self.bits += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_element_moves_from_the_packet_into_the_configuration() {
        let config = [0x12, 0x00];
        assert!(is_missing(&config));
        assert!(!is_missing(&[0x12, 0x10]) && !is_missing(&[0x12, 0, 0]));
        // Number 0, AAC-LC, 44.1 kHz; a single and a pair in front, a single behind; no mixes.
        let element = [(5, 3), (0, 4), (1, 2), (4, 4), (2, 4), (0, 4), (1, 4), (0, 2), (0, 3), (0, 4), (0, 3)];
        let speakers = [(0, 5), (0x10, 5), (1, 5)];
        let mut packet = Copy { bytes: Vec::new(), bits: 0 };
        element.iter().chain(&speakers).for_each(|(value, bits)| packet.write(*value, *bits));
        packet.bytes.extend([0, 0xab]);
        let completed = completed(&config, &packet.bytes).expect("an element");
        let mut expected = Copy { bytes: config.to_vec(), bits: BEFORE };
        element.iter().chain(&speakers).skip(1).for_each(|(value, bits)| expected.write(*value, *bits));
        expected.bytes.push(0);
        assert_eq!(*completed, *expected.bytes);
        for length in 0..6 {
            assert_eq!(super::completed(&config, &packet.bytes[..length]), None, "{length}");
        }
        assert_eq!(super::completed(&config, &[0x20, 1, 2, 3, 4, 5, 6, 7]), None);
    }
}
