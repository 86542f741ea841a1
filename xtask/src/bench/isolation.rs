//! Noisy neighbours: what a well-behaved component's clients notice of others that spin, allocate,
//! trap, flood the log and hoard streams, and how much memory the host needs meanwhile.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::server::Server;
use crate::command::output;
use crate::workspace::Workspace;

/// Rounds alone and with neighbours, in turns; the best of each counts, because others use the machine too.
const ROUNDS: usize = 5;

/// The neighbours: a component's name, and what it is asked for again and again.
const NEIGHBOURS: &[(&str, &str)] = &[
    ("spinner", "compute/-"),
    ("allocator", "allocate/-"),
    ("trapper", "trap/-"),
    ("flooder", "flood/-?100000"),
    ("hoarder", "streams/-?100000"),
];

/// As many requests at a time for each neighbour.
const NOISE: &str = "-c4";

/// The memory that each instance may have, in MiB, and how many may work at the same time.
const MEMORY: usize = 64;
const CONCURRENCY: usize = 16;

/// What an instance may make the host hold besides, in MiB, as docs/limits.md says.
const BESIDES: usize = 25;

pub(super) fn bench(workspace: &Workspace) -> Result<()> {
    let directory = TempDir::new_in(workspace.path("target"))?;
    let path = directory.path().join("spin.toml");
    fs::write(&path, manifest(workspace)?)?;
    let server = Server::of(workspace, &path, directory)?;
    let good = format!("{}/good/environment/-", server.url);
    let (mut alone, mut together) = (f64::MAX, f64::MAX);
    let (idle, mut peak) = (server.memory()?, 0.0_f64);
    for _ in 0..ROUNDS {
        alone = alone.min(p99(&good)?);
        let mut neighbours = Neighbours::default();
        for (name, path) in NEIGHBOURS {
            neighbours.0.push(noise(&format!("{}/{name}/{path}", server.url))?);
        }
        // All of them have begun by then, and the first have met their limits.
        thread::sleep(Duration::from_secs(2));
        together = together.min(p99(&good)?);
        peak = peak.max(server.memory()?);
        drop(neighbours);
        // What they left behind ends within its own limits.
        thread::sleep(Duration::from_secs(3));
    }
    println!("p99 alone             {alone:>8.2} ms");
    println!("p99 with neighbours   {together:>8.2} ms");
    println!("ratio                 {:>8.2}", together / alone);
    println!("memory before         {idle:>8.1} MiB");
    println!("memory at most        {peak:>8.1} MiB");
    let bound = idle + (NEIGHBOURS.len() * CONCURRENCY * (MEMORY + BESIDES)) as f64;
    println!("bound by the limits   {bound:>8.1} MiB");
    if peak > bound {
        bail!("the host needed more memory than the limits of its components allow");
    }
    Ok(())
}

fn manifest(workspace: &Workspace) -> Result<String> {
    let probe = workspace.path("target/wasm32-wasip2/release/fixture_probe.wasm");
    let probe = probe.to_str().context("a path in UTF-8")?;
    let mut text = "spin_manifest_version = 2\n[application]\nname = \"neighbours\"\n".to_owned();
    for (name, _) in NEIGHBOURS.iter().chain(&[("good", "")]) {
        text.push_str(&format!(
            "[[trigger.http]]\nroute = \"/{name}/...\"\ncomponent = \"{name}\"\n[component.{name}]\nsource = \"{probe}\"\n\
             [component.{name}.tool.tessera]\nlimits = {{ memory = \"{MEMORY}MiB\", cpu_time = \"1s\", concurrency = {CONCURRENCY} }}\n"
        ));
    }
    Ok(text)
}

/// Processes that end with the round.
#[derive(Default)]
struct Neighbours(Vec<Child>);

impl Drop for Neighbours {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself.
            _ = child.kill();
            _ = child.wait();
        }
    }
}

/// Asks for `url` without end.
fn noise(url: &str) -> Result<Child> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", NOISE, "-d60s", url]).stdout(Stdio::null()).stderr(Stdio::null());
    wrk.spawn().context("cannot start wrk")
}

/// The time within which 99 of 100 answers come, in milliseconds, for few clients at a time.
fn p99(url: &str) -> Result<f64> {
    let text = output(Command::new("wrk").args(["-t1", "-c2", "-d5s", "--latency", url]))?;
    let value = text.lines().find_map(|line| line.trim().strip_prefix("99%")).context("wrk printed no latency")?;
    milliseconds(value.trim()).with_context(|| format!("`{value}` is no time"))
}

/// A time as wrk prints it: `831.00us`, `1.25ms`, `2.10s`.
fn milliseconds(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let number: f64 = number.parse().ok()?;
    Some(match unit {
        "us" => number / 1000.0,
        "ms" => number,
        "s" => number * 1000.0,
        _ => return None,
    })
}
