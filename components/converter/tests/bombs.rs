//! Small files that claim, or turn into, more than anybody wants: hours of sound in a few bytes, billions of samples,
//! any depth of elements. Each comes to an end, in little time and memory, with a reason.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a failed expectation is a failed test")]

mod counting;

use std::process::Command;
use std::time::{Duration, Instant};

use converter::convert::{Conversion, Error};
use converter::encode::Settings;
use converter::reason::Reason;
use converter::source::Source;

/// Bytes that a file may need at once, with its encoder; a guest has 64 MiB.
const MAX_MEMORY: usize = 24 << 20;
/// For one file; generous, since machines are busy.
const MAX_TIME: Duration = Duration::from_secs(30);
/// Seconds of sound that are converted; a bomb has more.
const LONGEST: u32 = 30;

#[derive(Debug, PartialEq)]
enum End {
    /// So many seconds were converted; with a warning.
    Converted(u32, bool),
    Refused(Reason),
}

fn defused(name: &str, file: Vec<u8>) -> End {
    let size = file.len();
    let started = Instant::now();
    let (end, memory) = counting::peak_of(|| {
        let mut settings = Settings::default();
        settings.longest = LONGEST;
        let convert = || -> Result<End, Error> {
            let mut conversion = Conversion::open(Source::new(file), name, settings)?;
            let mut body = Vec::new();
            while conversion.step(&mut body)? {
                body.clear();
            }
            Ok(End::Converted(conversion.seconds() as u32, conversion.warning().is_some()))
        };
        match convert() {
            Ok(end) => end,
            Err(Error::File(reason)) => End::Refused(reason),
            Err(error) => panic!("{name}: {error}"),
        }
    });
    let (memory, time) = (memory.saturating_sub(size), started.elapsed());
    println!("{name}, {size} bytes: {end:?} in {time:?} with {} KiB", memory >> 10);
    assert!(memory < MAX_MEMORY, "{name} needs {} MiB", memory >> 20);
    assert!(time < MAX_TIME, "{name} takes {time:?}");
    end
}

fn too_long() -> End {
    End::Refused(Reason::TooLong(u64::from(LONGEST / 3600)))
}

fn made(name: &str, options: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(name);
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y"])
        .args(options.split_whitespace())
        .args(["-fflags", "+bitexact"])
        .arg(&path)
        .output()
        .expect("these tests need ffmpeg (apt-get install ffmpeg)");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(&path).expect("the file")
}

fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    let size = 1_u64 << 56 | body.len() as u64;
    [id, &size.to_be_bytes(), body].concat()
}

/// A Matroska file of one track, with these elements behind its description.
fn matroska(codec: &[u8], private: &[u8], rest: &[u8]) -> Vec<u8> {
    let sizes = [element(b"\xb5", &48000_f64.to_be_bytes()), element(b"\x9f", &[2])].concat();
    let names = [element(b"\xd7", &[1]), element(b"\x73\xc5", &[1]), element(b"\x83", &[2])].concat();
    let private = element(b"\x63\xa2", private);
    let track = [names, element(b"\x86", codec), private, element(b"\xe1", &sizes)].concat();
    let tracks = element(b"\x16\x54\xae\x6b", &element(b"\xae", &track));
    let writers = [element(b"\x4d\x80", b"test"), element(b"\x57\x41", b"test")].concat();
    let info = element(b"\x15\x49\xa9\x66", &writers);
    let segment = [b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff", &info[..], &tracks, rest].concat();
    [element(b"\x1a\x45\xdf\xa3", b"\x42\x82\x88matroska"), segment].concat()
}

const OPUS: &[u8] = b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0";

fn cluster(blocks: &[Vec<u8>]) -> Vec<u8> {
    element(b"\x1f\x43\xb6\x75", &[element(b"\xe7", &[0]), blocks.concat()].concat())
}

fn block(lacing: u8, body: &[u8]) -> Vec<u8> {
    element(b"\xa3", &[&[0x81, 0, 0, 0x80 | lacing], body].concat())
}

/// A packet with 48 frames of 2.5 ms and one byte; 256 of them in a block make half a minute.
const CROWDED: [u8; 50] = {
    let mut packet = [0x55; 50];
    packet[0] = 0x83;
    packet[1] = 48;
    packet
};

#[test]
fn blocks_full_of_full_packets_are_converted_up_to_the_limit() {
    let frames = CROWDED.repeat(256);
    let sizes: [(&str, u8, Vec<u8>); 3] = [
        ("xiph.mkv", 2, vec![50; 255]),
        ("fixed.mkv", 4, Vec::new()),
        ("ebml.mkv", 6, {
            // The first size, and differences of 0.
            [&[0x80 | 50][..], &[0xbf; 254]].concat()
        }),
    ];
    for (name, lacing, sizes) in sizes {
        let block = block(lacing, &[&[255], &sizes[..], &frames].concat());
        let file = matroska(b"A_OPUS", OPUS, &cluster(&vec![block; 2]));
        assert_eq!(defused(name, file), too_long());
    }
}

#[test]
fn blocks_whose_sizes_make_no_sense_are_left_out() {
    for (name, lacing, sizes) in [
        ("xiph.mkv", 2, [0xff; 4000].to_vec()),
        ("ebml.mkv", 6, [&[0x01][..], &[0xff; 4000]].concat()),
        ("empty.mkv", 4, Vec::new()),
        ("none.mkv", 2, [0; 255].to_vec()),
    ] {
        let block = block(lacing, &[&[255], &sizes[..]].concat());
        let file = matroska(b"A_OPUS", OPUS, &cluster(&vec![block; 2000]));
        let End::Refused(reason) = defused(name, file) else { panic!("{name} was converted") };
        assert!([Reason::Damaged, Reason::SilentTrack].contains(&reason), "{name}: {reason:?}");
    }
}

#[test]
fn any_amount_of_padding_is_passed_over() {
    // 200 lengths of padding of 254 bytes each, and 20 ms of sound.
    let packet = [&[0xfb, 0x41][..], &[255; 200], &[0, 7], &[0; 254 * 200]].concat();
    let file = matroska(b"A_OPUS", OPUS, &cluster(&vec![block(0, &packet); 100]));
    let end = defused("padded.mkv", file);
    assert!(matches!(end, End::Converted(0..=3, _) | End::Refused(Reason::Damaged)), "{end:?}");
}

/// Clusters, tags, chapters, groups and tracks in one another, with sizes and without.
#[test]
fn elements_in_elements_come_to_an_end() {
    let sound = cluster(&[block(0, &CROWDED), block(0, &CROWDED)]);
    let cases: [(&str, &[u8], &[u8]); 5] = [
        ("clusters.mkv", b"", b"\x1f\x43\xb6\x75"),
        ("tags.mkv", b"\x12\x54\xc3\x67\xff\x73\x73\xff", b"\x67\xc8"),
        ("chapters.mkv", b"\x10\x43\xa7\x70\xff\x45\xb9\xff", b"\xb6"),
        ("groups.mkv", b"\x1f\x43\xb6\x75\xff\xe7\x81\0", b"\xa0"),
        ("tracks.mkv", b"\x16\x54\xae\x6b\xff", b"\xae"),
    ];
    for (name, start, id) in cases {
        let open = [start, &[id, b"\xff"].concat().repeat(100_000)].concat();
        // Each has room for the next.
        let header = id.len() as u64 + 8;
        let sized = (0..20_000).rev().flat_map(|depth| [id, &((1 << 56) | (depth * header)).to_be_bytes()].concat());
        let sized = [start.to_vec(), sized.collect()].concat();
        for nested in [open, sized] {
            for rest in [[&sound[..], &nested].concat(), [&nested[..], &sound].concat()] {
                let end = defused(name, matroska(b"A_OPUS", OPUS, &rest));
                assert!(matches!(end, End::Converted(0, _) | End::Refused(Reason::Damaged)), "{name}: {end:?}");
            }
        }
    }
}

#[test]
fn boxes_in_boxes_come_to_an_end() {
    let file = made("a.m4a", "-f lavfi -i sine=d=1 -c:a aac -movflags +faststart");
    let movie = file.windows(4).position(|four| four == b"moov").expect("the index") - 4;
    for kind in [b"moov", b"trak", b"mdia", b"udta", b"meta", b"ilst", b"moof", b"traf", b"wave", b"stsd"] {
        let nested: Vec<u8> =
            (1..=20_000_u32).rev().flat_map(|left| [(left * 8).to_be_bytes(), *kind].concat()).collect();
        let name = String::from_utf8_lossy(kind).into_owned() + ".m4a";
        let end = defused(&name, [&file[..movie], &nested, &file[movie..]].concat());
        assert!(matches!(end, End::Converted(0..=1, _) | End::Refused(_)), "{name}: {end:?}");
    }
}

/// Hours of silence in kilobytes.
#[test]
fn blocks_of_one_value_are_converted_up_to_the_limit() {
    let silence = "-f lavfi -i anullsrc=r=48000:cl=stereo -t 120 -c:a";
    for (name, options) in [
        ("long.flac", format!("{silence} flac -frame_size 65535")),
        ("long.caf", format!("{silence} alac")),
        ("long.m4a", format!("{silence} alac")),
    ] {
        assert_eq!(defused(name, made(name, &options)), too_long());
    }
    // The same without saying so.
    let mut flac = made("long.flac", &format!("{silence} flac -frame_size 65535"));
    flac[21] &= 0xf0;
    flac[22..26].fill(0);
    assert_eq!(defused("endless.flac", flac), too_long());
}

/// Of a frame's length, from which the decoder takes its memory.
#[test]
fn an_absurd_length_of_frames_is_refused() {
    let file = made("a.m4a", "-f lavfi -i sine=d=1 -c:a alac");
    let entry = file.windows(4).position(|four| four == b"stsd").expect("the description");
    let cookie = entry + file[entry..].windows(4).rposition(|four| four == b"alac").expect("the cookie");
    for length in [u32::MAX, 1 << 31, 1 << 28, 1 << 24] {
        let mut bomb = file.clone();
        bomb[cookie + 8..cookie + 12].copy_from_slice(&length.to_be_bytes());
        let end = defused("cookie.m4a", bomb);
        assert!(matches!(end, End::Refused(Reason::Damaged | Reason::Unsupported(_))), "{length:x}: {end:?}");
    }
}

/// A fragment of as many empty samples as can be said, in 60 bytes, for the sound and for tracks that nobody knows.
#[test]
fn claims_of_empty_samples_come_to_an_end() {
    let options = "-f lavfi -i sine=d=1 -c:a aac -movflags +frag_keyframe+empty_moov+default_base_moof";
    let mut file = made("a.mp4", options);
    let index = file.windows(4).rposition(|four| four == b"mfra").expect("the index") - 4;
    file.truncate(index);
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let boxed = |kind: &[u8; 4], body: &[u8]| [&(body.len() as u32 + 8).to_be_bytes(), &kind[..], body].concat();
    let track = |number: u32| {
        let tfhd = boxed(b"tfhd", &words(&[0x02_0018, number, 1024, 0]));
        boxed(b"traf", &[tfhd, boxed(b"trun", &words(&[0, u32::MAX]))].concat())
    };
    let tracks: Vec<u8> = (1..=100).flat_map(track).collect();
    file.extend(boxed(b"moof", &[boxed(b"mfhd", &words(&[0, 99])), tracks].concat()));
    file.extend(boxed(b"mdat", b""));
    let end = defused("claims.mp4", file);
    assert!(matches!(end, End::Converted(_, true)) || end == too_long(), "{end:?}");
}

/// How many samples, how long, and how many to a chunk: numbers that the file has no room for.
#[test]
fn absurd_counts_in_mp4_come_to_an_end() {
    for options in ["-c:a aac", "-c:a alac", "-c:a pcm_s16le -f mov", "-c:a aac -movflags +faststart"] {
        let file = made("a.m4a", &format!("-f lavfi -i sine=d=1 {options}"));
        for (kind, places) in [
            (b"stsz", &[4, 8][..]),
            (b"stts", &[4, 8, 12]),
            (b"stsc", &[4, 8, 12]),
            (b"stco", &[4, 8]),
            (b"mdhd", &[16]),
        ] {
            let at = file.windows(4).rposition(|four| four == kind).expect("the box") + 4;
            for place in places {
                for value in [u32::MAX, i32::MAX as u32, 1 << 24, 0] {
                    let mut bomb = file.clone();
                    bomb[at + place..at + place + 4].copy_from_slice(&value.to_be_bytes());
                    // As many as one can think of, all of one size.
                    if kind == b"stsz" && *place == 8 {
                        bomb[at + 4..at + 8].copy_from_slice(&(value & 1).to_be_bytes());
                    }
                    let name = format!("{}-{place}-{value:x}.m4a", String::from_utf8_lossy(kind));
                    let end = defused(&name, bomb);
                    assert!(matches!(end, End::Converted(0..LONGEST, _) | End::Refused(_)), "{name}: {end:?}");
                }
            }
        }
    }
}
