//! Which loudspeakers the channels of a track are for, where Symphonia does not ask: Apple's layouts in QuickTime and
//! CAF files, and the mask that FLAC files note in a comment (RFC 9639, 8.6.2).

use symphonia::core::audio::{ChannelLabel, Channels, Position};

use super::bytes::{be32, find};
use super::{Description, caf};

/// Channels that are believed.
const MAX_CHANNELS: usize = 32;
/// The comment in FLAC files.
const MASK: &[u8] = b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x";

/// Apple's layouts (Core Audio's `AudioChannelLayoutTag`) by their numbers, of which the number of channels is a part.
const LAYOUTS: [(u32, &str); 36] = [
    (108, "L R Ls Rs"),
    (109, "L R Ls Rs C"),
    (110, "L R Ls Rs C Cs"),
    (111, "L R Ls Rs C Cs Lw Rw"),
    (113, "L R C"),
    (114, "C L R"),
    (115, "L R C Cs"),
    (116, "C L R Cs"),
    (117, "L R C Ls Rs"),
    (118, "L R Ls Rs C"),
    (119, "L C R Ls Rs"),
    (120, "C L R Ls Rs"),
    (121, "L R C Lfe Ls Rs"),
    (122, "L R Ls Rs C Lfe"),
    (123, "L C R Ls Rs Lfe"),
    (124, "C L R Ls Rs Lfe"),
    (125, "L R C Lfe Ls Rs Cs"),
    (126, "L R C Lfe Ls Rs Lc Rc"),
    (127, "C Lc Rc L R Ls Rs Lfe"),
    (128, "L R C Lfe Ls Rs Rls Rrs"),
    (129, "L R Ls Rs C Lfe Lc Rc"),
    (131, "L R Cs"),
    (132, "L R Ls Rs"),
    (133, "L R Lfe"),
    (134, "L R Lfe Cs"),
    (135, "L R Lfe Ls Rs"),
    (136, "L R C Lfe"),
    (137, "L R C Lfe Cs"),
    (138, "L R Ls Rs Lfe"),
    (139, "L R Ls Rs C Cs"),
    (140, "L R Ls Rs C Rls Rrs"),
    (141, "C L R Ls Rs Cs"),
    (142, "C L R Ls Rs Cs Lfe"),
    (143, "C L R Ls Rs Rls Rrs"),
    (144, "C L R Ls Rs Rls Rrs Cs"),
    (148, "L R Ls Rs C Lc Rc"),
];

/// The layout that a file states outside of its streams: of CAF files, or of sound in FLAC.
pub(super) fn stated(head: &[u8], entries: &[Description]) -> Option<Channels> {
    stated_by_caf(head).or_else(|| mask(head)).or_else(|| entries.iter().find_map(|entry| mask(&entry.stsd)))
}

fn mask(bytes: &[u8]) -> Option<Channels> {
    let text = bytes.get(find(bytes, MASK)?.checked_add(MASK.len())?..)?;
    let digits = text.iter().take(8).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let mask = u32::from_str_radix(std::str::from_utf8(text.get(..digits)?).ok()?, 16).ok()?;
    Position::from_wave_channel_mask(mask).map(Channels::Positioned)
}

fn stated_by_caf(head: &[u8]) -> Option<Channels> {
    let (body, _) = caf::chunk(head, b"chan")?;
    layout(head.get(body..)?)
}

/// The layout in a sample entry of QuickTime, for so many channels.
pub(super) fn quicktime(entry: &[u8], channels: u16) -> Option<Channels> {
    // Behind the kind of the box: version and flags.
    let body = find(entry, b"chan")?.checked_add(8)?;
    layout(entry.get(body..)?).filter(|layout| layout.count() == usize::from(channels))
}

/// Apple's `AudioChannelLayout`: a number, a mask, and descriptions, of which the number says what counts.
fn layout(body: &[u8]) -> Option<Channels> {
    let labels: Vec<ChannelLabel> = match be32(body, 0)? {
        0 => {
            let count = usize::try_from(be32(body, 8)?).ok().filter(|count| (1..=MAX_CHANNELS).contains(count))?;
            (0..count).map(|index| described(be32(body, 12 + index * 20)?)).collect::<Option<_>>()?
        }
        0x1_0000 => {
            let positions = Position::from_wave_channel_mask(be32(body, 4)?)?;
            return Some(Channels::Positioned(positions));
        }
        tag => {
            let (_, names) = LAYOUTS.iter().find(|(number, _)| *number == tag >> 16)?;
            names.split(' ').map(|name| named(name).map(ChannelLabel::Positioned)).collect::<Option<_>>()?
        }
    };
    Some(Channels::Custom(labels.into()))
}

/// A channel's label in a description. Up to 18 they are in the order of WAVE's mask.
fn described(label: u32) -> Option<ChannelLabel> {
    let position = match label {
        1..=18 => Position::from_wave_channel_mask(1 << (label - 1))?,
        33 => Position::REAR_LEFT,
        34 => Position::REAR_RIGHT,
        35 => Position::FRONT_LEFT_WIDE,
        36 => Position::FRONT_RIGHT_WIDE,
        37 => Position::LFE2,
        // Left and right of stereo, as a matrix or headphones have it; and mono.
        38 | 301 => Position::FRONT_LEFT,
        39 | 302 => Position::FRONT_RIGHT,
        42 => Position::FRONT_CENTER,
        // None that anybody should hear.
        _ => return Some(ChannelLabel::Discrete(0)),
    };
    Some(ChannelLabel::Positioned(position))
}

fn named(name: &str) -> Option<Position> {
    Some(match name {
        "L" => Position::FRONT_LEFT,
        "R" => Position::FRONT_RIGHT,
        "C" => Position::FRONT_CENTER,
        "Lfe" => Position::LFE1,
        "Ls" => Position::SIDE_LEFT,
        "Rs" => Position::SIDE_RIGHT,
        "Rls" => Position::REAR_LEFT,
        "Rrs" => Position::REAR_RIGHT,
        "Cs" => Position::REAR_CENTER,
        "Lc" => Position::FRONT_LEFT_CENTER,
        "Rc" => Position::FRONT_RIGHT_CENTER,
        "Lw" => Position::FRONT_LEFT_WIDE,
        "Rw" => Position::FRONT_RIGHT_WIDE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn positions(channels: Option<Channels>) -> Vec<Position> {
        match channels {
            Some(Channels::Custom(labels)) => labels
                .iter()
                .map(|label| match label {
                    ChannelLabel::Positioned(position) => *position,
                    _ => Position::empty(),
                })
                .collect(),
            Some(Channels::Positioned(all)) => all.iter().collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn every_layout_has_its_channels_and_their_order() {
        for (number, names) in LAYOUTS {
            let count = names.split(' ').count();
            let found = positions(layout(&words(&[number << 16 | count as u32, 0, 0])));
            assert_eq!(found.len(), count, "{number}");
        }
        let found = positions(layout(&words(&[114 << 16 | 3, 0, 0])));
        assert_eq!(found, [Position::FRONT_CENTER, Position::FRONT_LEFT, Position::FRONT_RIGHT]);
        let found = positions(layout(&words(&[0x1_0000, 0x104, 0])));
        assert_eq!(found, [Position::FRONT_CENTER, Position::REAR_CENTER]);
        let described = [0, 0, 2, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(positions(layout(&words(&described))), [Position::REAR_CENTER, Position::FRONT_LEFT]);
    }

    #[test]
    fn nonsense_has_no_layout() {
        for body in [&[][..], &[0, 0, u32::MAX], &[0, 0, 3, 1], &[99 << 16 | 4, 0, 0], &[u32::MAX; 3]] {
            assert_eq!(layout(&words(body)), None, "{body:?}");
        }
        assert_eq!(mask(b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x"), None);
        assert_eq!(mask(b"..WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0xb\0").map(|channels| channels.count()), Some(3));
        let endless = [&b"caff\0\x01\0\0desc"[..], &[0xff; 8], &[0; 32]].concat();
        assert_eq!(stated_by_caf(&endless), None);
    }
}
