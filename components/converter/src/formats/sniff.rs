//! What a file is, by its first bytes.

use super::bytes::be32;
use super::matroska::{self, Matroska};
use super::{aiff, caf, elementary, transport, wave};
use crate::edits;

#[derive(Debug)]
pub(super) enum Kind {
    /// AIFF-C that Symphonia does not read.
    Aiff,
    Au,
    Avi,
    /// CAF that Symphonia does not read.
    Caf,
    Flv,
    /// Frames without a container.
    Elementary,
    /// MPEG program stream.
    Program,
    /// MPEG transport stream.
    Transport,
    /// WAVE that Symphonia does not read.
    Wave,
    Matroska(Matroska),
    /// QuickTime without a type, as cameras wrote it for long.
    Untyped,
    /// Pictures alone: a photo, or a film's pictures without a container.
    Mute,
    /// Known and not read.
    Refused(&'static str),
    /// For Symphonia to judge.
    Other,
}

pub(super) fn kind(head: &[u8]) -> Kind {
    const REFUSED: [(&[u8], &str); 18] = [
        (&[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11], "Windows Media (ASF, WMA, WMV)"),
        (b"#!AMR", "AMR"),
        (b".RMF", "RealMedia"),
        (b".ra\xfd", "RealAudio"),
        (b"wvpk", "WavPack"),
        (b"MAC ", "Monkey's Audio"),
        (b"TTA1", "True Audio"),
        (b"MPCK", "Musepack"),
        (b"MP+", "Musepack"),
        (b"DSD ", "DSD"),
        (b"#!SILK", "SILK"),
        (&[0x7f, 0xfe, 0x80, 0x01], "DTS"),
        (&[0x06, 0x0e, 0x2b, 0x34, 0x02, 0x05, 0x01, 0x01], "MXF"),
        (&[0x1f, 0x07, 0x00], "DV"),
        (&[0, 0, 0, 0, 1, 0xbc], "GXF"),
        (b"nut/multimedia", "NUT"),
        (b"Creative Voice File", "Creative Voice File"),
        (b"MThd", "MIDI (notes without sound)"),
    ];
    const PICTURES: [&[u8]; 7] = [
        b"GIF8",
        b"\x89PNG",
        &[0xff, 0xd8, 0xff],
        // MPEG-1 and -2, H.264, H.265.
        &[0, 0, 1, 0xb3],
        &[0, 0, 0, 1, 0x67],
        &[0, 0, 0, 1, 0x09],
        &[0, 0, 0, 1, 0x40],
    ];
    if PICTURES.iter().any(|magic| head.starts_with(magic)) {
        return Kind::Mute;
    }
    if let Some((_, name)) = REFUSED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Kind::Refused(name);
    }
    let at = |place: usize, magic: &[u8]| head.get(place..).is_some_and(|rest| rest.starts_with(magic));
    let is_flash =
        at(1, b"WS") && matches!(head, [b'F' | b'C' | b'Z', ..]) && head.get(3).is_some_and(|version| *version < 64);
    if is_flash {
        Kind::Refused("Flash animation (SWF)")
    } else if at(0, b"RIFF") && (at(8, b"AVI ") || at(8, b"AVIX")) {
        Kind::Avi
    } else if at(0, b"OggS") && at(28, b"Speex   ") {
        Kind::Refused("Speex")
    } else if at(0, b".snd") {
        Kind::Au
    } else if caf::is_unusual(head) {
        Kind::Caf
    } else if aiff::is_ima(head) {
        Kind::Aiff
    } else if wave::is_unusual(head) || wave::is_wave64(head) {
        Kind::Wave
    } else if let Some(matroska) = matroska::read(head) {
        Kind::Matroska(matroska)
    } else if at(0, b"FLV\x01") {
        Kind::Flv
    } else if at(0, &[0, 0, 1, 0xba]) {
        Kind::Program
    } else if !at(0, b"RIFF") && !at(4, b"ftyp") && transport::layout(head).is_some() {
        Kind::Transport
    } else if elementary::coding(head).is_some() {
        Kind::Elementary
    } else if edits::is_untyped(head) {
        Kind::Untyped
    } else {
        Kind::Other
    }
}

/// Where an AIFF file says that it ends.
pub(super) fn stated_end(head: &[u8]) -> Option<u64> {
    be32(head, 4).filter(|_| head.starts_with(b"FORM")).map(|size| u64::from(size) + 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        assert!(matches!(kind(b"RIFF\0\0\0\0AVI LIST"), Kind::Avi));
        assert!(matches!(kind(b"RIFF\0\0\0\0WAVEfmt "), Kind::Other));
        assert!(matches!(kind(b"FLV\x01\x05"), Kind::Flv));
        assert!(matches!(kind(b"\0\0\x01\xba\x44"), Kind::Program));
        assert!(matches!(kind(b".snd\0\0\0\x1c"), Kind::Au));
        assert!(matches!(kind(b"\x89PNG\r\n"), Kind::Mute));
        assert!(matches!(kind(b"#!AMR\n"), Kind::Refused("AMR")));
        assert!(matches!(kind(b"\0\0\0\x08wide\0\0\0\x08mdat"), Kind::Untyped));
        assert!(matches!(kind(b"CWS\x09\0\0\0\0"), Kind::Refused("Flash animation (SWF)")));
        assert!(matches!(kind(b"Dear skipper,"), Kind::Other));
        assert!(matches!(kind(b""), Kind::Other));
        for (stride, lead) in [(188, 0), (192, 4), (204, 0), (188, 77)] {
            let mut head = vec![0; lead];
            for _ in 0..20 {
                head.push(0x47);
                head.extend(std::iter::repeat_n(1, stride - 1));
            }
            assert!(matches!(kind(&head), Kind::Transport), "{stride}");
        }
    }
}
