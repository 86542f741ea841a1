//! Files with more around their sound than the converter has memory for: covers, fonts, lists of texts. The sound is
//! converted all the same, within a stated bound; texts and covers that are not too large are carried over.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a failed expectation is a failed test")]

mod counting;

use std::fs;
use std::process::Command;

use converter::decode::Audio;
use converter::source::{Fault, ReadAt, Source};

/// Bytes that a file may need at once; a guest has 64 MiB, with its encoder.
const BOUND: usize = 24 << 20;
const MEGABYTE: u64 = 1 << 20;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

#[derive(Clone)]
enum Piece {
    Bytes(Vec<u8>),
    /// So many letters, which nobody keeps.
    Fill(u64),
}

use Piece::{Bytes, Fill};

impl Piece {
    fn size(&self) -> u64 {
        match self {
            Bytes(bytes) => bytes.len() as u64,
            Fill(size) => *size,
        }
    }
}

/// A file that is made while it is read.
struct Generated(Vec<Piece>);

impl ReadAt for Generated {
    fn size(&self) -> u64 {
        self.0.iter().map(Piece::size).sum()
    }

    fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, Fault> {
        let (mut read, mut start) = (Vec::with_capacity(length as usize), 0);
        for piece in &self.0 {
            let end = start + piece.size();
            let at = offset + read.len() as u64;
            let count = (end.saturating_sub(at) as usize).min(length as usize - read.len());
            match piece {
                Bytes(bytes) if count > 0 => read.extend_from_slice(&bytes[(at - start) as usize..][..count]),
                Fill(_) => read.resize(read.len() + count, b'x'),
                Bytes(_) => {}
            }
            start = end;
        }
        Ok(read)
    }
}

/// A second of sound as ffmpeg writes it.
fn sound(name: &str, options: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(name);
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-f", "lavfi", "-i", "sine=duration=1"])
        .args(options)
        .arg(&path)
        .output()
        .expect("these tests need ffmpeg (apt-get install ffmpeg)");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    fs::read(&path).expect("the file")
}

/// Decodes all of it within the bound; the tag that its MP3 gets.
fn tag(name: &str, pieces: Vec<Piece>) -> Vec<u8> {
    let source = Source::new(Generated(pieces));
    let ((tag, seconds, warning), peak) = counting::peak_of(|| {
        let mut audio = Audio::open(source, name).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        let tag = audio.take_tags().id3v2().expect("a tag");
        let mut samples = 0;
        while let Some(planes) = audio.next_block() {
            samples += planes[0].len();
        }
        (tag, samples as f64 / f64::from(audio.rate()), audio.warning())
    });
    assert_eq!(warning, None, "{name}");
    assert!((0.99..1.1).contains(&seconds), "{name}: {seconds} s");
    assert!(peak < BOUND, "{name} needs {} MiB", peak >> 20);
    tag
}

fn has(tag: &[u8], text: &str) -> bool {
    tag.windows(text.len()).any(|window| window == text.as_bytes())
}

fn boxed(kind: &[u8; 4], pieces: Vec<Piece>) -> Vec<Piece> {
    let size = u32::try_from(8 + pieces.iter().map(Piece::size).sum::<u64>()).expect("a small one");
    [vec![Bytes([&size.to_be_bytes(), &kind[..]].concat())], pieces].concat()
}

/// A picture of so many megabytes in an ID3v2.3 tag, before a text.
fn id3(megabytes: u64) -> Vec<Piece> {
    let picture = [b"\0image/png\0\x03\0", PNG].concat();
    let size = picture.len() as u64 + megabytes * MEGABYTE;
    let head = [b"APIC", &(size as u32).to_be_bytes()[..], &[0, 0], &picture].concat();
    let text = b"TIT2\0\0\0\x06\0\0\0Title".to_vec();
    let whole = head.len() as u64 + megabytes * MEGABYTE + text.len() as u64;
    let sevens = [21, 14, 7, 0].map(|shift| (whole >> shift & 0x7f) as u8);
    vec![Bytes([b"ID3\x03\0\0", &sevens[..], &head].concat()), Fill(megabytes * MEGABYTE), Bytes(text)]
}

#[test]
fn a_large_picture_in_an_id3_tag_is_left_out() {
    let mp3 = sound("a.mp3", &["-c:a", "libmp3lame", "-id3v2_version", "0"]);
    let carried = tag("a.mp3", [id3(3), vec![Bytes(mp3.clone())]].concat());
    assert!(has(&carried, "Title") && carried.len() as u64 > 3 * MEGABYTE);
    let carried = tag("a.mp3", [id3(40), vec![Bytes(mp3)]].concat());
    assert!(has(&carried, "Title") && carried.len() < 1000, "{} bytes", carried.len());
}

#[test]
fn a_large_ape_tag_behind_the_sound_is_left_alone() {
    let mp3 = sound("a.mp3", &["-c:a", "libmp3lame", "-id3v2_version", "0"]);
    let size = 40 * MEGABYTE as u32;
    let item = [&size.to_le_bytes()[..], &2_u32.to_le_bytes(), b"Cover Art (Front)\0"].concat();
    let whole = item.len() as u32 + size + 32;
    let frame = |flags: u32| {
        [b"APETAGEX", &2000_u32.to_le_bytes()[..], &whole.to_le_bytes(), &[1, 0, 0, 0], &flags.to_le_bytes(), &[0; 8]]
            .concat()
    };
    let head = [frame(0xa000_0000), item].concat();
    tag("a.mp3", vec![Bytes(mp3), Bytes(head), Fill(u64::from(size)), Bytes(frame(0x8000_0000))]);
}

#[test]
fn many_pictures_in_flac_are_left_out() {
    let flac = sound("a.flac", &["-metadata", "title=Title"]);
    let picture = |megabytes: u64| {
        let size = megabytes * MEGABYTE;
        let texts = [b"\0\0\0\x03\0\0\0\x09image/png\0\0\0\0", &[0; 16][..]].concat();
        let body = [&texts[..], &(size as u32 + 8).to_be_bytes(), PNG].concat();
        let whole = (body.len() as u64 + size) as u32;
        vec![Bytes([&(6 << 24 | whole).to_be_bytes()[..], &body].concat()), Fill(size)]
    };
    let (start, rest) = (Bytes(flac[..42].to_vec()), Bytes(flac[42..].to_vec()));
    let carried = tag("a.flac", [vec![start.clone()], vec![picture(15); 5].concat(), vec![rest.clone()]].concat());
    assert!(has(&carried, "Title") && carried.len() < 1000, "{} bytes", carried.len());
    let pieces = [vec![start], picture(3), vec![picture(15); 5].concat(), vec![rest]].concat();
    let carried = tag("a.flac", pieces);
    assert!(has(&carried, "Title") && carried.len() as u64 > 3 * MEGABYTE);
}

#[test]
fn a_large_list_in_wave_and_a_large_tag_in_aiff_are_left_out() {
    let wav = sound("a.wav", &["-fflags", "+bitexact"]);
    let size = 50 * MEGABYTE as u32;
    let list = [b"LIST", &(size + 12).to_le_bytes()[..], b"INFOINAM", &size.to_le_bytes()].concat();
    let riff = [b"RIFF", &(wav.len() as u32 + size + 12).to_le_bytes()[..]].concat();
    let (format, rest) = (Bytes(wav[8..36].to_vec()), Bytes(wav[36..].to_vec()));
    tag("a.wav", vec![Bytes(riff), format, Bytes(list), Fill(u64::from(size)), rest]);

    let aiff = sound("a.aiff", &["-write_id3v2", "0"]);
    let size = id3(40).iter().map(Piece::size).sum::<u64>() as u32;
    let tagged = [vec![Bytes([b"ID3 ", &size.to_be_bytes()[..]].concat())], id3(40)].concat();
    let form = (aiff.len() as u64 + tagged.iter().map(Piece::size).sum::<u64>()) as u32 - 8;
    let start = [b"FORM", &form.to_be_bytes()[..], &aiff[8..]].concat();
    tag("a.aiff", [vec![Bytes(start)], tagged].concat());
}

#[test]
fn a_large_cover_in_mp4_is_left_out() {
    let m4a = sound("a.m4a", &["-c:a", "aac"]);
    let index = m4a.windows(4).rposition(|four| four == b"moov").expect("the index") - 4;
    let mut movie = m4a[index + 8..].to_vec();
    // What ffmpeg says about itself.
    let old = movie.windows(4).rposition(|four| four == b"udta").expect("its tags");
    movie[old..old + 4].copy_from_slice(b"free");
    for (megabytes, left) in [(3, true), (60, false)] {
        let picture = vec![Bytes([b"\0\0\0\x0e\0\0\0\0", PNG].concat()), Fill(megabytes * MEGABYTE)];
        let title = boxed(b"\xa9nam", boxed(b"data", vec![Bytes(b"\0\0\0\x01\0\0\0\0Title".to_vec())]));
        let tags = boxed(b"ilst", [boxed(b"covr", boxed(b"data", picture)), title].concat());
        let kind = boxed(b"hdlr", vec![Bytes(b"\0\0\0\0\0\0\0\0mdirappl\0\0\0\0\0\0\0\0\0".to_vec())]);
        let tags = boxed(b"udta", boxed(b"meta", [vec![Bytes(vec![0; 4])], kind, tags].concat()));
        let movie = boxed(b"moov", [vec![Bytes(movie.clone())], tags].concat());
        let carried = tag("a.m4a", [vec![Bytes(m4a[..index].to_vec())], movie].concat());
        assert!(has(&carried, "Title"), "with {megabytes} MB");
        assert_eq!(carried.len() as u64 > MEGABYTE, left, "with {megabytes} MB: {} bytes", carried.len());
    }
}

fn element(id: &[u8], pieces: Vec<Piece>) -> Vec<Piece> {
    let size = 1 << 56 | pieces.iter().map(Piece::size).sum::<u64>();
    [vec![Bytes([id, &size.to_be_bytes()].concat())], pieces].concat()
}

fn plain(id: &[u8], body: &[u8]) -> Vec<Piece> {
    element(id, vec![Bytes(body.to_vec())])
}

fn attached(name: &str, kind: &str, start: &[u8], megabytes: u64) -> Vec<Piece> {
    let data = element(b"\x46\x5c", vec![Bytes(start.to_vec()), Fill(megabytes * MEGABYTE)]);
    let names = [plain(b"\x46\x6e", name.as_bytes()), plain(b"\x46\x60", kind.as_bytes())].concat();
    element(b"\x61\xa7", [names, plain(b"\x46\xae", &[megabytes as u8]), data].concat())
}

/// Films with subtitles have fonts of any size.
#[test]
fn fonts_in_matroska_are_left_out_before_and_behind_the_sound() {
    let sizes = [plain(b"\xb5", &48000_f64.to_be_bytes()), plain(b"\x9f", &[1]), plain(b"\x62\x64", &[16])].concat();
    let names = [plain(b"\xd7", &[1]), plain(b"\x73\xc5", &[1]), plain(b"\x83", &[2])].concat();
    let track = [names, plain(b"\x86", b"A_PCM/INT/LIT"), element(b"\xe1", sizes)].concat();
    let tracks = element(b"\x16\x54\xae\x6b", element(b"\xae", track));
    let writers = [plain(b"\x4d\x80", b"test"), plain(b"\x57\x41", b"test")].concat();
    let info = element(b"\x15\x49\xa9\x66", writers);
    let blocks = (0..10_u16).flat_map(|at| {
        let [high, low] = (at * 100).to_be_bytes();
        plain(b"\xa3", &[&[0x81, high, low, 0x80][..], &[1; 9600]].concat())
    });
    let cluster = element(b"\x1f\x43\xb6\x75", [plain(b"\xe7", &[0]), blocks.collect()].concat());
    let fonts = [
        attached("a.ttf", "application/x-truetype-font", b"", 60),
        attached("cover.png", "image/png", PNG, 3),
        attached("b.ttf", "application/x-truetype-font", b"", 5),
        attached("cover.png", "image/png", PNG, 40),
    ];
    let fonts = element(b"\x19\x41\xa4\x69", fonts.concat());
    let size = |pieces: &[Piece]| pieces.iter().map(Piece::size).sum::<u64>();
    let references = |position: u64| {
        let reference = [plain(b"\x53\xab", b"\x19\x41\xa4\x69"), plain(b"\x53\xac", &position.to_be_bytes())];
        element(b"\x11\x4d\x9b\x74", element(b"\x4d\xbb", reference.concat()))
    };
    let behind = size(&references(0)) + size(&info) + size(&tracks) + size(&cluster);
    let before = [&info[..], &tracks, &fonts, &cluster].concat();
    let behind = [&references(behind)[..], &info, &tracks, &cluster, &fonts].concat();
    let head = plain(b"\x1a\x45\xdf\xa3", b"\x42\x82\x88matroska");
    for (name, content) in [("before.mkv", before), ("behind.mkv", behind)] {
        let carried = tag(name, [head.clone(), element(b"\x18\x53\x80\x67", content)].concat());
        assert!((3 * MEGABYTE..4 * MEGABYTE).contains(&(carried.len() as u64)), "{name}: {} bytes", carried.len());
    }
}
