//! The converter, from message to blob, against ffmpeg on the same file with the same bit rate.

use std::fs::File;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use super::server::Server;
use crate::command::run;
use crate::workspace::Workspace;

const ROUNDS: usize = 3;

/// Ten minutes of stereo that is neither silence nor a pure tone: noise under a chord that moves.
const SOURCE: &[&str] = &[
    "-f",
    "lavfi",
    "-i",
    "anoisesrc=duration=600:color=pink:amplitude=0.2:seed=1",
    "-f",
    "lavfi",
    "-i",
    "sine=frequency=330:beep_factor=4:duration=600",
    "-filter_complex",
    "[0][1]amerge=inputs=2",
    "-ar",
    "44100",
    "-c:a",
    "aac",
    "-b:a",
    "160k",
];

pub(super) fn bench(workspace: &Workspace) -> Result<()> {
    let source = workspace.path("target/bench.m4a");
    if !source.exists() {
        run(ffmpeg().args(SOURCE).arg(&source))?;
    }
    let server = Server::tessera(workspace)?;
    let token = server.user()?;
    let mp3 = tempfile::Builder::new().suffix(".mp3").tempfile_in(workspace.path("target"))?;
    let mut best = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let id = server.upload(&token, File::open(&source)?)?;
        let status = server.finished(&token, &id)?;
        if status != "done" {
            bail!("the job ended as {status}");
        }
        let [tessera, peer] = &mut best;
        *tessera = tessera.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        run(ffmpeg().arg("-i").arg(&source).args(["-vn", "-c:a", "libmp3lame", "-b:a", "128k"]).arg(mp3.path()))?;
        *peer = peer.min(start.elapsed().as_secs_f64());
    }
    let [tessera, ffmpeg] = best;
    println!("tessera, upload to done   {tessera:>6.1} s");
    println!("ffmpeg                    {ffmpeg:>6.1} s");
    println!("speed against ffmpeg      {:>6.2}", ffmpeg / tessera);
    Ok(())
}

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-loglevel", "error", "-nostdin", "-y"]);
    command
}
