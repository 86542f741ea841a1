//! The converter, from upload to done, against ffmpeg and moviepy on the same files at the same bit rate.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use super::server::Server;
use crate::command::run;
use crate::setup;
use crate::workspace::Workspace;

const ROUNDS: usize = 3;
/// Short files, and how many.
const SHORT: u32 = 5;
const MANY: usize = 20;

/// What the reference systems do: <https://zulko.github.io/moviepy/>.
const MOVIEPY: &str = "import sys; from moviepy import VideoFileClip
with VideoFileClip(sys.argv[1]) as clip: clip.audio.write_audiofile(sys.argv[2], bitrate='128k', logger=None)";

pub(super) fn bench(workspace: &Workspace) -> Result<()> {
    let long = film(workspace, 600)?;
    let short = film(workspace, SHORT)?;
    setup::moviepy(workspace)?;
    let mp3 = tempfile::Builder::new().suffix(".mp3").tempfile_in(workspace.path("target"))?;
    let python = setup::test_python(workspace);
    let moviepy = |film: &Path| run(Command::new(&python).args(["-c", MOVIEPY]).arg(film).arg(mp3.path()));

    println!("ten minutes of sound, one core");
    {
        let server = Server::tessera_on_one_core(workspace)?;
        let token = server.user()?;
        let [tessera, peer] = best(
            || convert(&server, &token, &long, 1),
            || {
                let whole = encoding(&long, mp3.path());
                let mut pinned = Command::new("taskset");
                run(pinned.args(["--cpu-list", "0"]).arg(whole.get_program()).args(whole.get_args()))
            },
        )?;
        told("ffmpeg", tessera, peer);
    }
    let server = Server::tessera(workspace)?;
    let token = server.user()?;
    println!("ten minutes of sound, all cores");
    let [tessera, peer] = best(|| convert(&server, &token, &long, 1), || run(&mut encoding(&long, mp3.path())))?;
    told("ffmpeg", tessera, peer);
    let [tessera, peer] = best(|| convert(&server, &token, &long, 1), || moviepy(&long))?;
    told("moviepy", tessera, peer);
    println!("{MANY} films of {SHORT} s");
    let [tessera, peer] =
        best(|| convert(&server, &token, &short, MANY), || (0..MANY).try_for_each(|_| moviepy(&short)))?;
    told("moviepy", tessera, peer);
    Ok(())
}

/// The best time of each, taken in turns, in seconds.
fn best(mut tessera: impl FnMut() -> Result<()>, mut peer: impl FnMut() -> Result<()>) -> Result<[f64; 2]> {
    let mut best = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        let [one, other] = &mut best;
        let start = Instant::now();
        tessera()?;
        *one = one.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        peer()?;
        *other = other.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn told(name: &str, tessera: f64, peer: f64) {
    println!("  tessera, upload to done   {tessera:>6.1} s");
    println!("  {name:<24}  {peer:>6.1} s");
    println!("  speed against {name:<10}  {:>6.2}", peer / tessera);
}

/// Uploads a film `count` times, and waits until all are converted.
fn convert(server: &Server, token: &str, film: &Path, count: usize) -> Result<()> {
    let ids: Vec<String> = (0..count).map(|_| server.upload(token, File::open(film)?)).collect::<Result<_>>()?;
    for id in ids {
        let status = server.finished(token, &id)?;
        if status != "done" {
            bail!("the job {id} ended as {status}");
        }
    }
    Ok(())
}

/// A film of so many seconds: few pictures, and stereo that is neither silence nor a pure tone, but noise under a chord
/// that moves.
fn film(workspace: &Workspace, seconds: u32) -> Result<PathBuf> {
    let film = workspace.path(format!("target/bench-{seconds}.mp4"));
    if !film.exists() {
        let inputs = [
            format!("anoisesrc=duration={seconds}:color=pink:amplitude=0.2:seed=1"),
            format!("sine=frequency=330:beep_factor=4:duration={seconds}"),
            format!("testsrc2=size=160x120:rate=5:duration={seconds}"),
        ];
        let mut ffmpeg = ffmpeg();
        for input in &inputs {
            ffmpeg.args(["-f", "lavfi", "-i", input]);
        }
        ffmpeg.args(["-filter_complex", "[0][1]amerge=inputs=2[sound]", "-map", "2:v", "-map", "[sound]"]);
        ffmpeg.args(["-c:v", "libx264", "-preset", "ultrafast", "-ar", "44100", "-c:a", "aac", "-b:a", "160k"]);
        run(ffmpeg.arg(&film))?;
    }
    Ok(film)
}

fn encoding(film: &Path, mp3: &Path) -> Command {
    let mut command = ffmpeg();
    command.arg("-i").arg(film).args(["-vn", "-c:a", "libmp3lame", "-b:a", "128k"]).arg(mp3);
    command
}

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-loglevel", "error", "-nostdin", "-y"]);
    command
}
