//! Hostile files: every fixture, changed in thousands of ways, is demultiplexed and decoded. Nothing may panic, take
//! long, or need much memory, and nothing may go on for ever.
//!
//! Deterministic: a case is a number, and the same number is the same file (of the same ffmpeg). `MUTATIONS=200000`
//! runs more of them than CI does, `MUTATION=1234` one.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a failed expectation is a failed test")]

mod counting;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use converter::decode::Audio;
use converter::source::Source;

const CASES: u64 = 40_000;
/// Bytes that one file may need at once.
const MAX_MEMORY: usize = 40 << 20;
/// For one file; generous, since machines are busy.
const MAX_TIME: Duration = Duration::from_secs(20);
/// Seconds of sound that a file of half a second may turn into.
const MAX_SECONDS: u64 = 300;

/// What is panicked about in code that is not ours, by the file's name: the job ends as failed then, in plain words.
const KNOWN_PANICS: &[&str] = &[
    // A fragment's table of sizes that is shorter than it says.
    "symphonia-format-isomp4-0.6.1/src/atoms/trun.rs:92",
    // A box that lies half the address space away.
    "symphonia-core-0.6.1/src/io/media_source_stream.rs:536",
];

/// A file's name, and how ffmpeg makes it.
const FIXTURES: &[(&str, &str)] = &[
    ("a.mp4", "-c:v mpeg4 -c:a aac"),
    ("b.mp4", "-c:v mpeg4 -c:a aac -movflags +faststart"),
    ("c.mp4", "-c:v mpeg4 -c:a aac -movflags +frag_keyframe+empty_moov"),
    ("d.mp4", "-c:v mpeg4 -c:a mp2"),
    ("e.mp4", "-vn -c:a libopus"),
    ("alac.m4a", "-vn -c:a alac"),
    ("alac.mov", "-c:v mpeg4 -c:a alac"),
    ("pcm.mov", "-c:v mpeg4 -c:a pcm_s16le"),
    ("a.mkv", "-c:v mpeg4 -c:a aac"),
    ("b.mkv", "-c:v mpeg4 -c:a flac"),
    ("live.mkv", "-c:v mpeg4 -c:a libmp3lame -f matroska -live 1"),
    ("a.webm", "-c:v libvpx -deadline realtime -c:a libvorbis"),
    ("b.webm", "-vn -c:a libopus"),
    ("aac.ts", "-c:v mpeg2video -c:a aac"),
    ("adpcm.mkv", "-vn -c:a adpcm_ms"),
    ("surround.mkv", "-vn -c:a libopus -mapping_family 1 -af pan=5.1|FL=c0|FR=c1|FC=c0|LFE=c1|BL=c0|BR=c1"),
    ("latm.ts", "-vn -c:a aac -mpegts_flags latm"),
    ("mp2.ts", "-c:v mpeg2video -c:a mp2"),
    ("opus.ts", "-vn -c:a libopus"),
    ("ac3.ts", "-vn -c:a ac3"),
    ("aac.m2ts", "-vn -c:a aac -mpegts_m2ts_mode 1"),
    ("mp3.avi", "-c:v mpeg4 -c:a libmp3lame"),
    ("pcm.avi", "-vn -c:a pcm_s16le"),
    ("adpcm.avi", "-vn -c:a adpcm_ms"),
    ("aac.flv", "-c:v flv1 -c:a aac"),
    ("mp3.flv", "-vn -c:a libmp3lame"),
    ("a.mpg", "-c:v mpeg1video -c:a mp2 -f mpeg"),
    ("pcm.vob", "-c:v mpeg2video -c:a pcm_dvd -ar 48000 -sample_fmt s16"),
    ("pcm24.vob", "-vn -c:a pcm_dvd -ar 48000 -sample_fmt s32"),
    ("adpcm.flv", "-vn -c:a adpcm_swf"),
    ("ima.mov", "-vn -c:a adpcm_ima_qt"),
    ("ima.aiff", "-vn -c:a adpcm_ima_qt"),
    ("a.w64", "-vn"),
    ("a.loas", "-vn -c:a aac -f latm"),
    ("a.ac3", "-vn -c:a ac3"),
    ("a.eac3", "-vn -c:a eac3"),
    ("51.ogg", "-vn -c:a libvorbis -af pan=5.1|FL=c0|FR=c1|FC=c0|LFE=c1|BL=c0|BR=c1"),
    ("71.ogg", "-vn -c:a libvorbis -af pan=7.1|FL=c0|FR=c1|FC=c0|LFE=c1|BL=c0|BR=c1|SL=c0|SR=c1"),
    ("a.wav", "-vn"),
    ("ima.wav", "-vn -c:a adpcm_ima_wav"),
    ("rf64.wav", "-vn -rf64 always"),
    ("a.aiff", "-vn"),
    ("alac.caf", "-vn -c:a alac"),
    ("a.flac", "-vn"),
    ("a.ogg", "-vn -c:a libvorbis"),
    ("a.opus", "-vn -c:a libopus"),
    ("a.aac", "-vn -c:a aac"),
    ("a.mp3", "-vn -c:a libmp3lame"),
    ("a.mp2", "-vn -c:a mp2"),
];

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A place in a file; headers, which are at its ends, more often than the rest.
    fn place(&mut self, length: usize) -> usize {
        match self.below(4) {
            0 => self.below(length.min(256)),
            1 => self.below(length.min(4096)),
            2 => length - 1 - self.below(length.min(4096)),
            _ => self.below(length),
        }
    }
}

/// The file of a case.
fn mutated(case: u64, files: &[(String, Vec<u8>)]) -> (String, Vec<u8>) {
    const EXTREMES: [u32; 12] =
        [0, 1, 2, 7, 8, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff, 0x0100_0000];
    let mut random = Random(case);
    let (name, original) = &files[random.below(files.len())];
    let mut bytes = original.clone();
    for _ in 0..=random.below(4) {
        let at = random.place(bytes.len());
        let length = 1 + random.below(2000);
        let end = (at + length).min(bytes.len());
        match random.below(9) {
            0 => {
                for _ in 0..=random.below(16) {
                    let at = random.place(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
            }
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][random.below(6)],
            2 | 3 => {
                // A length field, as big-endian as little-endian, of two, four or eight bytes.
                let value = EXTREMES[random.below(EXTREMES.len())];
                let mut field = value.to_be_bytes().to_vec();
                match random.below(4) {
                    0 => field.reverse(),
                    1 => field.truncate(2),
                    2 => field.extend_from_within(..),
                    _ => {}
                }
                for (byte, new) in bytes[at..].iter_mut().zip(field) {
                    *byte = new;
                }
            }
            4 => bytes.truncate(at.max(1)),
            5 => drop(bytes.drain(at..end.min(bytes.len().saturating_sub(1)).max(at))),
            6 => {
                let piece = bytes[at..end].to_vec();
                let to = random.place(bytes.len());
                bytes.splice(to..to, piece);
            }
            7 => {
                let (_, other) = &files[random.below(files.len())];
                let from = random.place(other.len());
                let piece = other[from..(from + length).min(other.len())].to_vec();
                bytes.splice(at..end, piece);
            }
            _ => bytes[at..end].fill(random.next() as u8),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    let name = if random.below(8) == 0 { "upload".to_owned() } else { name.clone() };
    (name, bytes)
}

/// What became of a file, or what is wrong.
fn run(name: &str, bytes: Vec<u8>) -> Result<bool, String> {
    // Half of them as if somebody else made the first part.
    let from = if bytes.len().is_multiple_of(2) { 0 } else { 22_000 };
    let mut audio = match Audio::open(Source::new(bytes), name) {
        Ok(audio) => audio,
        Err(_) => return Ok(false),
    };
    let (mut samples, rate) = (audio.skip_before(from), u64::from(audio.rate()));
    while let Some(planes) = audio.next_block() {
        samples += planes.first().map_or(0, Vec::len) as u64;
        if samples > MAX_SECONDS * rate {
            return Err(format!("more than {MAX_SECONDS} s of sound"));
        }
    }
    Ok(true)
}

fn checked(case: u64, files: &[(String, Vec<u8>)]) -> Result<bool, String> {
    let (name, bytes) = mutated(case, files);
    let started = Instant::now();
    let (outcome, memory) = counting::peak_of(|| panic::catch_unwind(AssertUnwindSafe(|| run(&name, bytes))));
    let time = started.elapsed();
    let outcome = outcome.unwrap_or_else(|_| {
        let place = PANIC.take();
        if KNOWN_PANICS.iter().any(|known| place.contains(known)) {
            Ok(false)
        } else {
            Err(format!("panics at {place}"))
        }
    });
    match outcome {
        Ok(_) if memory > MAX_MEMORY => Err(format!("needs {} MiB", memory >> 20)),
        Ok(_) if time > MAX_TIME => Err(format!("takes {time:?}")),
        outcome => outcome,
    }
    .map_err(|wrong| format!("{name}: {wrong}"))
}

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let directory = tempfile::tempdir().expect("a directory");
    let next = AtomicUsize::new(0);
    let files = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers() {
            scope.spawn(|| {
                while let Some((name, options)) = FIXTURES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let path = directory.path().join(name);
                    let sound = "aevalsrc='0.4*sin(2*PI*(200+900*t)*t)|0.4*sin(2*PI*(900-600*t)*t)':s=44100:d=0.5";
                    let output = Command::new("ffmpeg")
                        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", sound])
                        .args(["-f", "lavfi", "-i", "testsrc2=s=32x32:r=25:d=0.5", "-fflags", "+bitexact"])
                        .args(options.split_whitespace())
                        .arg(&path)
                        .output()
                        .expect("these tests need ffmpeg (apt-get install ffmpeg)");
                    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
                    let bytes = fs::read(&path).expect("the fixture");
                    files.lock().expect("the files").push(((*name).to_owned(), bytes));
                }
            });
        }
    });
    let mut files = files.into_inner().expect("the files");
    files.sort();
    files
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().expect("a number"))
}

#[test]
fn hostile_files_neither_break_nor_hold_up_nor_fill_the_converter() {
    let files = fixtures();
    panic::set_hook(Box::new(|panic| {
        PANIC.with(|place| {
            let message = panic.payload_as_str().unwrap_or_default();
            *place.borrow_mut() =
                format!("{}: {message}", panic.location().map(ToString::to_string).unwrap_or_default());
        });
    }));
    let (first, count) = match variable("MUTATION") {
        Some(case) => (case, 1),
        None => (0, variable("MUTATIONS").unwrap_or(CASES)),
    };
    let next = AtomicU64::new(first);
    let running: Vec<AtomicU64> = (0..workers()).map(|_| AtomicU64::new(u64::MAX)).collect();
    let wrong = Mutex::new(BTreeMap::<String, (u64, u64)>::new());
    let decoded = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for current in &running {
            let (next, files, wrong, decoded) = (&next, &files, &wrong, &decoded);
            scope.spawn(move || {
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    if case >= first + count {
                        break;
                    }
                    current.store(case, Ordering::Relaxed);
                    match checked(case, files) {
                        Ok(some) => _ = decoded.fetch_add(u64::from(some), Ordering::Relaxed),
                        Err(what) => wrong.lock().expect("the list").entry(what).or_insert((case, 0)).1 += 1,
                    }
                }
                current.store(u64::MAX, Ordering::Relaxed);
            });
        }
        watch(&running);
    });
    drop(panic::take_hook());
    let wrong = wrong.into_inner().expect("the list");
    let lines: Vec<_> =
        wrong.iter().map(|(what, (case, times))| format!("{what} (MUTATION={case}, {times} times)")).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    // Otherwise the changes would be too coarse to reach the decoders.
    assert!(count == 1 || decoded.into_inner() > count / 3);
}

/// Ends the process if a case never ends.
fn watch(running: &[AtomicU64]) {
    let mut seen = vec![(u64::MAX, Instant::now()); running.len()];
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let mut done = true;
        for (current, (case, since)) in running.iter().zip(&mut seen) {
            let now = current.load(Ordering::Relaxed);
            done &= now == u64::MAX;
            if now != *case {
                (*case, *since) = (now, Instant::now());
            } else if now != u64::MAX && since.elapsed() > MAX_TIME * 2 {
                eprintln!("MUTATION={now} does not end");
                std::process::abort();
            }
        }
        if done {
            return;
        }
    }
}
