//! Files that no encoder writes but that come nevertheless: joined, with something before or behind, repackaged.

use std::fs;

use converter::reason::Warning;

use crate::hearing::{decode, reference, snr};
use crate::workshop::{RATE, SECONDS, Workshop};

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

/// With a length of the whole that was not brought up to date.
fn unfinished_wav(bytes: &[u8]) -> Vec<u8> {
    [&bytes[..4], &[0x24, 0, 0, 0], &bytes[8..]].concat()
}

/// As recorders leave it that do not know the length.
fn open_caf(bytes: &[u8]) -> Vec<u8> {
    let data = bytes.windows(4).position(|four| four == b"data").expect("the sound");
    [&bytes[..data + 4], &[0xff; 8], &bytes[data + 12..]].concat()
}

/// It is only the length that is compared.
const ANY: f64 = f64::NEG_INFINITY;

const CASES: &[Case] = &[
    Case { file: "tags.mp3", options: &["-vn", "-c:a", "libmp3lame"], change: tagged, decibels: 60.0 },
    Case { file: "text.mp3", options: &["-vn", "-c:a", "libmp3lame"], change: behind_text, decibels: 60.0 },
    Case { file: "text.aac", options: &["-vn", "-c:a", "aac"], change: behind_text, decibels: 60.0 },
    Case { file: "joined.mp3", options: &["-vn", "-c:a", "libmp3lame"], change: twice, decibels: ANY },
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
    Case { file: "unfinished.wav", options: &["-vn"], change: unfinished_wav, decibels: 60.0 },
    Case { file: "open.caf", options: &["-vn", "-c:a", "pcm_s16be"], change: open_caf, decibels: 60.0 },
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

/// ffmpeg writes no such tag, and of what it says takes only the samples in front.
#[test]
fn without_an_edit_list_the_tag_of_itunes_says_what_is_heard() {
    let workshop = Workshop::new();
    let length = (SECONDS * RATE) as usize;
    let path = workshop.make("itunes.m4a", &["-vn", "-c:a", "aac", "-b:a", "192k", "-use_editlist", "0"]);
    let mut bytes = fs::read(&path).expect("the file");
    let whole = decode(bytes.clone(), "itunes.m4a").expect("sound").planes[0].len();
    assert!(whole >= length + 1024, "{whole}");
    let text = format!(" 00000000 00000400 {:08X} {length:016X} 00000000 00000000", whole - length - 1024);
    let data = boxed(b"data", &[b"\0\0\0\x01\0\0\0\0", text.as_bytes()].concat());
    let names = [boxed(b"mean", b"\0\0\0\0com.apple.iTunes"), boxed(b"name", b"\0\0\0\0iTunSMPB"), data].concat();
    let hdlr = boxed(b"hdlr", b"\0\0\0\0\0\0\0\0mdirappl\0\0\0\0\0\0\0\0\0");
    let meta = boxed(b"meta", &[b"\0\0\0\0", &hdlr[..], &boxed(b"ilst", &boxed(b"----", &names))].concat());
    let moov = bytes.windows(4).rposition(|four| four == b"moov").expect("the index") - 4;
    let mut movie = bytes.split_off(moov);
    // What ffmpeg says about itself.
    let old = movie.windows(4).rposition(|four| four == b"udta").expect("its tags");
    movie[old..old + 4].copy_from_slice(b"free");
    movie.extend(boxed(b"udta", &meta));
    let size = u32::try_from(movie.len()).expect("a short one").to_be_bytes();
    movie[..4].copy_from_slice(&size);
    bytes.extend(movie);
    fs::write(&path, &bytes).expect("room");
    let heard = decode(bytes, "itunes.m4a").expect("sound");
    assert_eq!(heard.planes[0].len(), length, "not a sample more or less");
    let wanted = reference(&path, heard.rate, 2);
    let noise = snr(&wanted, &heard.planes);
    assert!(noise > 60.0, "{noise}");
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).expect("a short one");
    [&size.to_be_bytes(), kind.as_slice(), body].concat()
}

/// As QuickTime writes it: 1 for the size of whatever is not compressed; and a second way of coding, for another piece.
#[test]
fn quicktimes_own_ways_of_saying_it_are_understood() {
    let workshop = Workshop::new();
    let plain = fs::read(workshop.make("a.mov", &["-vn", "-c:a", "pcm_s24be"])).expect("the file");
    let mut bytes = plain.clone();
    for (name, place, expected, new) in [(b"stsd", 8, 1_u32, 2_u32), (b"stsz", 8, 6, 1)] {
        let at = bytes.windows(4).position(|four| four == name).expect("the box") + place;
        assert_eq!(bytes[at..at + 4], expected.to_be_bytes());
        bytes[at..at + 4].copy_from_slice(&new.to_be_bytes());
    }
    let (heard, wanted) = (decode(bytes, "a.mov").expect("sound"), decode(plain, "a.mov").expect("sound"));
    assert_eq!(heard.warning, None);
    assert!(heard.planes == wanted.planes);
}

/// A fragment that claims any number of samples without a byte, in 60 bytes, is not gone through; what came before it is
/// heard.
#[test]
fn a_claim_of_empty_samples_soon_ends_the_file() {
    // An hour and a half of nothing, if it were believed.
    const SAMPLES: u32 = 1 << 18;
    let workshop = Workshop::new();
    let options = ["-vn", "-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov+default_base_moof"];
    let mut bytes = fs::read(workshop.make("claims.mp4", &options)).expect("the file");
    let index = bytes.windows(4).rposition(|four| four == b"mfra").expect("the index") - 4;
    bytes.truncate(index);
    let honest = decode(bytes.clone(), "claims.mp4").expect("sound");
    assert_eq!(honest.warning, None);
    // Of samples of 1024 ticks and no byte each.
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let tfhd = boxed(b"tfhd", &words(&[0x02_0018, 1, 1024, 0]));
    let traf = [tfhd, boxed(b"trun", &words(&[0, SAMPLES]))].concat();
    bytes.extend(boxed(b"moof", &[boxed(b"mfhd", &words(&[0, 99])), boxed(b"traf", &traf)].concat()));
    bytes.extend(boxed(b"mdat", b""));
    let heard = decode(bytes, "claims.mp4").expect("sound");
    assert_eq!(heard.warning, Some(Warning::StopsEarly.to_string()));
    let (before, now) = (honest.planes[0].len(), heard.planes[0].len());
    assert!(now >= before && now < before + 5000 * 1024, "{before} samples before, {now} with the claim");
}
