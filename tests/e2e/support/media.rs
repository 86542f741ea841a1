//! Files to upload, made by ffmpeg when a test first wants them:
//!
//! ```text
//! ffmpeg -f lavfi -i "aevalsrc=<two sweeps and noise>:s=44100:d=6" -f lavfi -i testsrc2=s=160x120:r=25:d=6 <options> clip.mp4
//! ```

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::DEADLINE;

/// A sweep for each ear and noise: a sound that never repeats, so that a shift is seen.
const SOUND: &str = "aevalsrc='0.4*sin(2*PI*(200+90*t)*t)+0.02*(random(0)-0.5)|0.4*sin(2*PI*(900-60*t)*t)':s=44100:d=6";
const PICTURES: &str = "testsrc2=s=160x120:r=25:d=6";

const H264: [&str; 6] = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
const AAC: [&str; 4] = ["-c:a", "aac", "-b:a", "192k"];

/// A video with sound, by its extension: `mp4` and `mov` (H.264 and AAC), `mkv` (H.264 and FLAC),
/// `webm` (VP8 and Vorbis), `wav` (sound alone).
pub(crate) fn clip(extension: &str) -> PathBuf {
    let options: Vec<&str> = match extension {
        "mp4" | "mov" => [&H264[..], &AAC].concat(),
        "mkv" => [&H264[..], &["-c:a", "flac"]].concat(),
        "webm" => vec!["-c:v", "libvpx", "-b:v", "200k", "-c:a", "libvorbis", "-q:a", "6"],
        "wav" => vec!["-vn", "-c:a", "pcm_s16le"],
        other => panic!("no clip is a {other}"),
    };
    made(&format!("clip.{extension}"), |path| {
        encode(&["-f", "lavfi", "-i", SOUND, "-f", "lavfi", "-i", PICTURES], &options, path);
    })
}

/// A second of sound, different in each ear, coded in some way.
pub(crate) fn coded(name: &str, options: &str) -> PathBuf {
    let sound = "aevalsrc='0.4*sin(2*PI*(200+900*t)*t)|0.4*sin(2*PI*(900-600*t)*t)':s=48000:d=1";
    let options: Vec<&str> = options.split_whitespace().collect();
    made(name, |path| encode(&["-f", "lavfi", "-i", sound], &options, path))
}

/// A video without sound.
pub(crate) fn mute() -> PathBuf {
    made("mute.mp4", |path| encode(&["-f", "lavfi", "-i", PICTURES], &H264, path))
}

/// The first part of [`clip`]`("mp4")`, without the table at its end that is needed to play it.
pub(crate) fn truncated() -> PathBuf {
    let whole = clip("mp4");
    made("truncated.mp4", |path| {
        let bytes = fs::read(&whole).expect("the clip");
        fs::write(path, &bytes[..bytes.len() * 6 / 10]).expect("room");
    })
}

/// How many seconds of sound [`long`] has.
pub(crate) const LONG: u32 = 600;

/// Sound that takes seconds to convert.
pub(crate) fn long() -> PathBuf {
    let sound = format!("sine=frequency=440:sample_rate=44100:duration={LONG}");
    made("ten-minutes.wav", |path| encode(&["-f", "lavfi", "-i", &sound], &["-ac", "1", "-c:a", "pcm_s16le"], path))
}

/// Sound that never repeats, long enough to be converted in parts: a sweep for each ear.
pub(crate) fn sweeps() -> PathBuf {
    let sound = "aevalsrc='0.4*sin(2*PI*(200+9*t)*t)|0.4*sin(2*PI*(3000-7*t)*t)':s=44100:d=200";
    made("sweeps.m4a", |path| encode(&["-f", "lavfi", "-i", sound], &["-c:a", "aac", "-b:a", "160k"], path))
}

/// Two hours of sound at a usual rate, which take a minute or more to convert.
pub(crate) fn two_hours() -> PathBuf {
    let part = made("ten-seconds.m4a", |path| {
        let sound = "sine=frequency=440:sample_rate=44100:duration=10";
        encode(&["-f", "lavfi", "-i", sound], &["-ac", "2", "-c:a", "aac", "-b:a", "32k"], path);
    });
    made("two-hours.m4a", |path| {
        let part = part.to_str().expect("UTF-8");
        encode(&["-stream_loop", "719", "-i", part], &["-c", "copy"], path);
    })
}

/// Hours of sound, at a rate that is quick to convert.
pub(crate) fn hours(hours: u32) -> PathBuf {
    let part = made("ten-minutes.m4a", |path| {
        let sound = "sine=frequency=440:sample_rate=8000:duration=614.4";
        encode(&["-f", "lavfi", "-i", sound], &["-ac", "1", "-c:a", "aac", "-b:a", "16k"], path);
    });
    let seconds = (hours * 3600).to_string();
    made(&format!("{hours}-hours.m4a"), |path| {
        let part = part.to_str().expect("UTF-8");
        encode(&["-stream_loop", "-1", "-i", part], &["-t", &seconds, "-c", "copy"], path);
    })
}

/// Sound that is converted at once.
pub(crate) fn short() -> PathBuf {
    let sound = "sine=frequency=440:sample_rate=44100:duration=0.5";
    made("short.wav", |path| encode(&["-f", "lavfi", "-i", sound], &["-ac", "1", "-c:a", "pcm_s16le"], path))
}

/// A film in two languages: a tone of 440 Hz in English, one of 880 Hz in German.
pub(crate) fn two_languages(extension: &str) -> PathBuf {
    let tones = [440, 880].map(|pitch| format!("sine=frequency={pitch}:sample_rate=44100:duration=1"));
    let codec = if extension == "mp4" { "aac" } else { "flac" };
    let options = ["-map", "0", "-map", "1", "-map", "2", "-c:a", codec];
    let languages = ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger"];
    made(&format!("two-languages.{extension}"), |path| {
        let input = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=1", "-f", "lavfi", "-i", &tones[0]];
        let input = [&input[..], &["-f", "lavfi", "-i", &tones[1]]].concat();
        encode(&input, &[&options[..], &languages, &H264].concat(), path);
    })
}

/// A piece of a file's sound, as ffmpeg cuts it out.
pub(crate) fn piece(source: &Path, start: f64, end: f64, into: &Path) {
    let filter = format!("atrim={start}:{end}");
    let before = [OsStr::new("-i"), source.as_os_str()];
    let behind = ["-vn", "-af", &filter].map(OsStr::new);
    ffmpeg(before.into_iter().chain(behind).chain([into.as_os_str()]));
}

/// Sound by one of ffmpeg's expressions, in both channels, 8 seconds long.
pub(crate) fn sound(name: &str, expression: &str) -> PathBuf {
    let source = format!("aevalsrc='{expression}|{expression}':s=44100:d=8");
    made(name, |path| encode(&["-f", "lavfi", "-i", &source], &["-c:a", "pcm_s24le"], path))
}

/// Integrated loudness in LUFS and true peak in dBFS, as ffmpeg measures them.
pub(crate) fn loudness(file: &Path) -> (f64, f64) {
    let before = ["-nostdin", "-hide_banner", "-i"].map(OsStr::new);
    let behind = ["-af", "ebur128=peak=true:framelog=verbose", "-f", "null", "-"].map(OsStr::new);
    let output = Command::new("ffmpeg").args(before).arg(file).args(behind).output().expect("ffmpeg");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let summary = text.rsplit_once("Summary:").unwrap_or_else(|| panic!("{text}")).1;
    let number = |name: &str| {
        let rest = summary.split_once(name).unwrap_or_else(|| panic!("{summary}")).1;
        rest.split_whitespace().next().expect("a number").parse().expect("a number")
    };
    (number("I:"), number("Peak:"))
}

/// In how many parts [`in_parts`] is converted.
pub(crate) const PARTS: usize = 8;
/// Its length in seconds.
pub(crate) const IN_PARTS: f64 = 3600.0;

/// A sound whose MP3 is quickly made in parts, and so large that putting them together takes a moment.
pub(crate) fn in_parts() -> PathBuf {
    hours(1)
}

/// How many blobs are stored or on their way.
pub(crate) fn blobs(state: &Path) -> usize {
    fs::read_dir(state.join("blobs/data")).map_or(0, Iterator::count)
}

/// Waits until a job of [`in_parts`] has all its parts and is being put together: beside its video, those parts, and
/// `others` there is one more blob on its way.
pub(crate) async fn assembly_begins(state: &Path, others: usize) {
    let start = Instant::now();
    let wanted = others + 1 + PARTS + 1;
    while blobs(state) < wanted {
        assert!(start.elapsed() < DEADLINE, "the parts are never put together: {} of {wanted}", blobs(state));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What ffprobe says about a file's format and streams.
pub(crate) fn probe(file: &Path) -> serde_json::Value {
    let options = ["-v", "error", "-show_format", "-show_streams", "-of", "json"].map(OsStr::new);
    let found = run("ffprobe", options.into_iter().chain([file.as_os_str()]));
    serde_json::from_slice(&found).expect("JSON")
}

/// A file of this name, made if it is not there yet.
fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("media");
    let path = directory.join(name);
    if !path.is_file() {
        fs::create_dir_all(&directory).expect("the directory of media");
        // Whoever is interrupted leaves no half a file under the name.
        let unfinished = directory.join(format!("unfinished-{name}"));
        make(&unfinished);
        fs::rename(&unfinished, &path).expect("the file gets its name");
    }
    path
}

fn encode(input: &[&str], options: &[&str], output: &Path) {
    ffmpeg(input.iter().chain(options).map(OsStr::new).chain([output.as_os_str()]));
}

/// The title that players show for a file.
pub(crate) fn title(file: &Path) -> String {
    let options = ["-v", "error", "-show_entries", "format_tags=title", "-of", "csv=p=0"].map(OsStr::new);
    let title = run("ffprobe", options.into_iter().chain([file.as_os_str()]));
    String::from_utf8(title).expect("UTF-8").trim().to_owned()
}

/// Runs ffmpeg, and answers what it writes to stdout.
pub(crate) fn ffmpeg<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Vec<u8> {
    run("ffmpeg", ["-nostdin", "-hide_banner", "-loglevel", "error", "-y"].map(OsStr::new).into_iter().chain(arguments))
}

fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} is missing: run `cargo xtask test` ({error})"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
