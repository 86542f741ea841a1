//! Files that no encoder writes but that come nevertheless: joined, with something before or behind, repackaged.

use std::fs;

use crate::kinds::{decode, reference, snr};
use crate::workshop::Workshop;

struct Case {
    file: &'static str,
    options: &'static [&'static str],
    /// The file that is made of it.
    change: fn(&[u8]) -> Vec<u8>,
    /// How far the noise has to be below the sound.
    decibels: f64,
}

/// Text, as a server puts before a download that went wrong, and an ID3v2 tag with a picture's worth of zeros.
fn tagged(bytes: &[u8]) -> Vec<u8> {
    let id3 = [b"ID3\x04\0\0\0\0\x3d\x0a".as_slice(), &[0; 0x3d * 128 + 10]].concat();
    let mut ape = b"APETAGEX\xd0\x07\0\0\x2f\0\0\0\x01\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\0".to_vec();
    ape.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0]);
    ape.extend_from_slice(b"Key\0val");
    [&id3, bytes, &ape].concat()
}

fn behind_text(bytes: &[u8]) -> Vec<u8> {
    [&b"HTTP/1.1 200 OK\r\n".repeat(100), bytes].concat()
}

fn twice(bytes: &[u8]) -> Vec<u8> {
    bytes.repeat(2)
}

/// Packets with room for error correction.
fn wide(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(188).flat_map(|packet| [packet, &[0xa5; 16]].concat()).collect()
}

/// From the middle of a packet on, as of a recording under way.
fn from_the_middle(bytes: &[u8]) -> Vec<u8> {
    bytes[bytes.len() / 3..].to_vec()
}

/// Without its index, and with a list size that nobody filled in.
fn unfinished_avi(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.windows(4).rposition(|four| four == b"idx1").expect("an index");
    let mut bytes = bytes[..end].to_vec();
    let movi = bytes.windows(4).position(|four| four == b"movi").expect("the media");
    bytes[movi - 4..movi].fill(0);
    bytes[4..8].fill(0);
    bytes
}

/// As QuickTime was before it had a box for the type.
fn untyped(bytes: &[u8]) -> Vec<u8> {
    assert_eq!(&bytes[4..8], b"ftyp");
    [&bytes[..4], b"skip", &bytes[8..]].concat()
}

/// It is only the length that is compared.
const ANY: f64 = f64::NEG_INFINITY;

const CASES: &[Case] = &[
    Case { file: "tags.mp3", options: &["-vn", "-c:a", "libmp3lame"], change: tagged, decibels: 60.0 },
    Case { file: "text.mp3", options: &["-vn", "-c:a", "libmp3lame"], change: behind_text, decibels: 60.0 },
    Case { file: "text.aac", options: &["-vn", "-c:a", "aac"], change: behind_text, decibels: 60.0 },
    // ffmpeg makes 128 samples more than the two files have, where they are joined.
    Case { file: "chained.ogg", options: &["-vn", "-c:a", "libvorbis"], change: twice, decibels: ANY },
    Case { file: "joined.ts", options: &["-c:v", "mpeg2video", "-c:a", "mp2"], change: twice, decibels: 60.0 },
    Case { file: "wide.ts", options: &["-c:v", "mpeg2video", "-c:a", "mp2"], change: wide, decibels: 60.0 },
    Case {
        file: "middle.ts",
        options: &["-c:v", "mpeg2video", "-c:a", "mp2"],
        change: from_the_middle,
        decibels: 60.0,
    },
    Case {
        file: "camera.mov",
        options: &["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-c:a", "pcm_u8", "-ar", "11025", "-ac", "1"],
        change: untyped,
        decibels: 60.0,
    },
    Case { file: "moov.mov", options: &["-c:v", "mpeg4", "-c:a", "aac"], change: untyped, decibels: 60.0 },
    Case {
        file: "first.mov",
        options: &["-c:v", "mpeg4", "-c:a", "pcm_s16be", "-movflags", "+faststart"],
        change: untyped,
        decibels: 60.0,
    },
    Case {
        file: "noindex.avi",
        options: &["-c:v", "mpeg4", "-c:a", "libmp3lame"],
        change: unfinished_avi,
        decibels: 60.0,
    },
];

#[test]
fn odd_files_are_heard_as_ffmpeg_hears_them() {
    let workshop = Workshop::new();
    let mut failures = Vec::new();
    for case in CASES {
        let path = workshop.make(case.file, case.options);
        let bytes = (case.change)(&fs::read(&path).expect("the file"));
        fs::write(&path, &bytes).expect("room");
        match decode(bytes, case.file) {
            Ok(heard) => {
                let wanted = reference(&path, heard.rate, heard.planes.len());
                let error = (heard.planes[0].len() as f64 - wanted[0].len() as f64) / f64::from(heard.rate);
                let noise = snr(&wanted, &heard.planes);
                if error.abs() > 0.05 || noise < case.decibels || heard.warning.is_some() {
                    failures.push(format!("{}: {error:+.3} s, {noise:.1} dB, {:?}", case.file, heard.warning));
                }
            }
            Err(said) => failures.push(format!("{}: {said}", case.file)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
