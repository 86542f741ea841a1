//! Cut and damaged files: what can be decoded is converted, and how much is missing is said.

use std::fs;
use std::path::PathBuf;

use converter::convert::Error;
use converter::reason::{Reason, Warning};

use crate::workshop::{SECONDS, Workshop};

struct Case {
    file: &'static str,
    options: &'static [&'static str],
    /// What the file is then, from its bytes.
    damage: fn(&mut Vec<u8>),
    expected: Warning,
    /// Whether the missing seconds are known.
    known: bool,
}

fn cut(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() * 6 / 10);
}

/// Three holes of a fiftieth of the file.
#[allow(clippy::ptr_arg, reason = "all kinds of damage have one signature")]
fn holes(bytes: &mut Vec<u8>) {
    for at in [3, 5, 7] {
        let (start, length) = (bytes.len() * at / 10, bytes.len() / 50);
        bytes[start..start + length].fill(0xa5);
    }
}

/// The same, but the bytes are gone.
fn splices(bytes: &mut Vec<u8>) {
    for at in [7, 5, 3] {
        let (start, length) = (bytes.len() * at / 10, bytes.len() / 50);
        bytes.drain(start..start + length);
    }
}

const VIDEO: [&str; 2] = ["-c:v", "mpeg4"];
const CASES: &[Case] = &[
    Case { file: "a.wav", options: &["-vn"], damage: cut, expected: Warning::EndsEarly, known: true },
    Case { file: "a.flac", options: &["-vn"], damage: cut, expected: Warning::EndsEarly, known: true },
    Case { file: "a.aiff", options: &["-vn"], damage: cut, expected: Warning::EndsEarly, known: true },
    Case { file: "a.mp3", options: &["-vn"], damage: cut, expected: Warning::EndsEarly, known: true },
    Case {
        file: "a.mp4",
        options: &[VIDEO[0], VIDEO[1], "-c:a", "aac", "-movflags", "+faststart"],
        damage: cut,
        expected: Warning::EndsEarly,
        known: true,
    },
    Case {
        file: "a.m4a",
        options: &["-vn", "-c:a", "alac", "-movflags", "+faststart"],
        damage: cut,
        expected: Warning::EndsEarly,
        known: true,
    },
    Case {
        file: "a.mkv",
        options: &[VIDEO[0], VIDEO[1], "-c:a", "aac"],
        damage: cut,
        expected: Warning::EndsEarly,
        known: true,
    },
    Case {
        file: "a.avi",
        options: &[VIDEO[0], VIDEO[1], "-c:a", "libmp3lame"],
        damage: cut,
        expected: Warning::EndsEarly,
        known: true,
    },
    Case {
        file: "a.flv",
        options: &["-c:v", "flv1", "-c:a", "aac"],
        damage: cut,
        expected: Warning::EndsEarly,
        known: true,
    },
    Case {
        file: "holes.ts",
        options: &["-c:v", "mpeg2video", "-c:a", "mp2"],
        damage: holes,
        expected: Warning::Gaps,
        known: true,
    },
    Case {
        file: "splices.ts",
        options: &["-c:v", "mpeg2video", "-c:a", "aac"],
        damage: splices,
        expected: Warning::Gaps,
        known: true,
    },
    Case {
        file: "holes.mpg",
        options: &["-c:v", "mpeg2video", "-c:a", "mp2", "-f", "vob"],
        damage: holes,
        expected: Warning::Gaps,
        known: true,
    },
    Case {
        file: "holes.mkv",
        options: &[VIDEO[0], VIDEO[1], "-c:a", "aac", "-cluster_time_limit", "200"],
        damage: holes,
        expected: Warning::Gaps,
        known: true,
    },
    Case {
        file: "splices.mkv",
        options: &[VIDEO[0], VIDEO[1], "-c:a", "libmp3lame", "-cluster_time_limit", "200"],
        damage: splices,
        expected: Warning::EndsEarly,
        known: true,
    },
    Case {
        file: "live.webm",
        options: &["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus", "-live", "1"],
        damage: holes,
        expected: Warning::Gaps,
        known: true,
    },
    Case {
        file: "holes.avi",
        options: &[VIDEO[0], VIDEO[1], "-c:a", "libmp3lame"],
        damage: splices,
        expected: Warning::Gaps,
        known: false,
    },
    Case {
        file: "splices.flv",
        options: &["-c:v", "flv1", "-c:a", "libmp3lame"],
        damage: splices,
        expected: Warning::Gaps,
        known: false,
    },
];

fn damaged(workshop: &Workshop, case: &Case) -> PathBuf {
    let path = workshop.make(case.file, case.options);
    let mut bytes = fs::read(&path).expect("the file");
    (case.damage)(&mut bytes);
    fs::write(&path, bytes).expect("room");
    path
}

#[test]
fn what_can_be_decoded_is_converted_and_what_is_missing_is_said() {
    let workshop = Workshop::new();
    let mut failures = Vec::new();
    for case in CASES {
        match workshop.convert(&damaged(&workshop, case)) {
            Ok(mp3) => {
                let missing = mp3.warning.and_then(|notice| notice.missing);
                let warned = mp3.warning.map(|notice| notice.warning) == Some(case.expected);
                let long_enough = mp3.seconds > SECONDS * 0.4 && mp3.seconds < SECONDS + 0.1;
                let adds_up = match (case.expected, missing) {
                    (Warning::Gaps, Some(missing)) => missing > 0.01 && missing < SECONDS / 2.0,
                    (_, Some(missing)) => (missing + mp3.seconds - SECONDS).abs() < 0.15,
                    (_, None) => !case.known,
                };
                if !(warned && long_enough && adds_up) {
                    failures.push(format!("{}: {} s, {:?}", case.file, mp3.seconds, mp3.warning));
                }
            }
            Err(error) => failures.push(format!("{}: {error}", case.file)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn without_its_index_a_film_cannot_be_played() {
    let workshop = Workshop::new();
    let whole = fs::read(workshop.make("whole.mp4", &["-c:v", "mpeg4", "-c:a", "aac"])).expect("the file");
    let moov = whole.windows(4).position(|four| four == b"moov").expect("the index");
    for (name, length) in [("half.mp4", whole.len() / 2), ("index.mp4", moov + 30), ("media.mp4", moov - 4)] {
        let path = workshop.path(name);
        fs::write(&path, &whole[..length]).expect("room");
        match workshop.convert(&path) {
            Err(Error::File(Reason::EndsEarly)) => {}
            Err(error) => panic!("{name}: {error}"),
            Ok(_) => panic!("{name} was converted"),
        }
    }
}

#[test]
fn codecs_without_a_decoder_are_refused_by_name_in_mp4_too() {
    let workshop = Workshop::new();
    let whole = fs::read(workshop.make("a.3gp", &["-c:v", "mpeg4", "-c:a", "aac"])).expect("the file");
    for (letters, name) in [(b"samr", "AMR"), (b"dtsc", "DTS"), (b"mlpa", "Dolby TrueHD"), (b"enca", "encrypted")] {
        let mut bytes = whole.clone();
        let at = bytes.windows(4).position(|four| four == b"mp4a").expect("the sample entry");
        bytes[at..at + 4].copy_from_slice(letters);
        let path = workshop.path("b.3gp");
        fs::write(&path, bytes).expect("room");
        match workshop.convert(&path) {
            Err(Error::File(reason)) => assert_eq!(reason, Reason::Unsupported(Some(name))),
            Err(error) => panic!("{name}: {error}"),
            Ok(_) => panic!("{name} was converted"),
        }
    }
}
