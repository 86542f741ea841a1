//! Hot swap under load: what clients and jobs notice of many swaps in a row. The load comes from this process; the
//! server is another.

mod load;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use self::load::{Load, Report};
use super::server::Server;
use crate::command::run;
use crate::workspace::Workspace;

/// Who is swapped, in turns: the application, and two that pass messages.
const SWAPPED: &[&str] = &["gateway", "probe", "converter", "auth", "worker", "notifier", "reporter"];

/// The load without swaps is measured for this long.
const QUIET: Duration = Duration::from_secs(15);

/// Twenty seconds of sound in 3.4 MiB: large enough to be in flight while much is swapped.
const SOUND: &[&str] = &["-f", "lavfi", "-i", "anoisesrc=duration=20:color=pink:seed=1", "-ac", "2", "-ar", "44100"];

/// What is added to the application.
const MESSAGES: &str = r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"

[component.probe]
source = "target/wasm32-wasip2/release/fixture_probe.wasm"
key_value_stores = ["attempts"]
[component.probe.tool.tessera]
publish = ["work"]

[component.worker]
source = "target/wasm32-wasip2/release/fixture_consumer.wasm"
key_value_stores = ["attempts"]
[component.worker.tool.tessera]
consume = [{ queue = "work", concurrency = 4, timeout = "30s", max_attempts = 5 }]
"#;

pub(super) fn bench(workspace: &Workspace, swaps: usize) -> Result<()> {
    let sound = workspace.path("target/bench-swap.wav");
    if !sound.exists() {
        run(Command::new("ffmpeg").args(["-loglevel", "error", "-nostdin", "-y"]).args(SOUND).arg(&sound))?;
    }
    let sound = fs::read(sound)?;
    let directory = TempDir::new_in(workspace.path("target"))?;
    let manifest = manifest(workspace, &directory)?;
    let server = Server::of(workspace, &manifest, directory)?;
    let token = server.user()?;
    let load = Load::new(&server, &token, &sound);

    let quiet = load.during(|| {
        thread::sleep(QUIET);
        Ok(())
    })?;
    let mut times = Vec::new();
    let swapped = load.during(|| {
        for number in 0..swaps {
            let component = SWAPPED.iter().cycle().nth(number).context("a component")?;
            times.push(swap(workspace, &server, component, number)?);
        }
        // What was begun before the last swap ends after it.
        thread::sleep(Duration::from_secs(2));
        Ok(())
    })?;
    let (lost, doubled) = settled(&server, &token, &[&quiet, &swapped])?;
    print(swaps, &mut times, &quiet, &swapped, lost, doubled)
}

/// The application with what passes messages, its files named from anywhere.
fn manifest(workspace: &Workspace, directory: &TempDir) -> Result<PathBuf> {
    let text = fs::read_to_string(workspace.path("spin.toml"))? + MESSAGES;
    let target = workspace.path("target");
    let text = text.replace("\"target/", &format!("\"{}/", target.to_str().context("a path in UTF-8")?));
    let path = directory.path().join("spin.toml");
    fs::write(&path, text)?;
    Ok(path)
}

/// Puts a version in place that was never there before; answers how long that took.
fn swap(workspace: &Workspace, server: &Server, component: &str, number: usize) -> Result<Duration> {
    let release = workspace.path("target/wasm32-wasip2/release");
    let own = release.join(format!("{component}.wasm"));
    let fixture = if component == "worker" { "consumer" } else { component };
    let file = if own.exists() { own } else { release.join(format!("fixture_{fixture}.wasm")) };
    let mut bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    bytes.extend(section(number));
    let (url, token) = server.administration()?;
    let start = Instant::now();
    let answer = ureq::post(format!("{url}/v1/components/{component}/versions?by=bench"))
        .config()
        .http_status_as_error(false)
        .build()
        .header("authorization", format!("Bearer {token}"))
        .send(&bytes)?;
    let elapsed = start.elapsed();
    if !answer.status().is_success() {
        bail!("swap {number} of `{component}` was refused: {}", answer.into_body().read_to_string()?);
    }
    Ok(elapsed)
}

/// A custom section that makes a file another version.
fn section(number: usize) -> Vec<u8> {
    let content = format!("{number:08}");
    let mut section = vec![0, 13, 4];
    section.extend(b"swap");
    section.extend(content.bytes());
    section
}

/// Waits until all that was accepted is done; answers how many jobs and messages were not, and how many were handled
/// more than once.
fn settled(server: &Server, token: &str, reports: &[&Report]) -> Result<(usize, usize)> {
    let (mut lost, mut doubled) = (0, 0);
    for id in reports.iter().flat_map(|report| &report.jobs) {
        if server.finished(token, id)? != "done" {
            eprintln!("the job {id} failed");
            lost += 1;
        }
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let messages: Vec<_> = reports.iter().flat_map(|report| &report.messages).collect();
    loop {
        let attempts = load::attempts(&server.url)?;
        let missing = messages.iter().filter(|message| !attempts.contains_key(**message)).count();
        if missing == 0 || Instant::now() > deadline {
            lost += missing;
            doubled += attempts.values().filter(|attempts| **attempts > 1).count();
            return Ok((lost, doubled));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn print(
    swaps: usize,
    times: &mut [Duration],
    quiet: &Report,
    swapped: &Report,
    lost: usize,
    doubled: usize,
) -> Result<()> {
    times.sort();
    let failed = quiet.failed + swapped.failed;
    println!("swaps                         {swaps:>8}");
    println!("short requests                {:>8}", quiet.times.len() + swapped.times.len());
    println!("uploads and conversions       {:>8}", quiet.jobs.len() + swapped.jobs.len());
    println!("messages                      {:>8}", quiet.messages.len() + swapped.messages.len());
    println!("failed requests               {failed:>8}");
    println!("lost jobs and messages        {lost:>8}");
    println!("doubled messages              {doubled:>8}");
    println!("swap p50                      {:>8.1} ms", load::percentile(times, 50));
    println!("swap p99                      {:>8.1} ms", load::percentile(times, 99));
    let (alone, during) = (load::percentile(&quiet.times, 99), load::percentile(&swapped.times, 99));
    println!("request p50 without swaps     {:>8.2} ms", load::percentile(&quiet.times, 50));
    println!("request p50 with swaps        {:>8.2} ms", load::percentile(&swapped.times, 50));
    println!("request p99 without swaps     {alone:>8.2} ms");
    println!("request p99 with swaps        {during:>8.2} ms");
    println!("ratio                         {:>8.2}", during / alone);
    if failed + lost + doubled > 0 {
        bail!("swaps are to cost no request and no job");
    }
    Ok(())
}
