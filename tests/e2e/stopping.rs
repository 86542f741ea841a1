//! The end of a process, and what a service manager is told of its life.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use rustix::process::Signal;

use crate::support::fixtures::{Fixture, manifest};
use crate::support::operator::{component, json};
use crate::support::server::{Launch, Server, binary};
use crate::support::{DEADLINE, eventually};

const CONTENT: &str = r#"
[[trigger.http]]
route = "/probe/..."
component = "probe"
[component.probe]
source = "<probe>"
[component.probe.tool.tessera]
publish = ["work"]
reuse = "never"
limits = { timeout = "1h", cpu_time = "1h" }

[component.worker]
source = "<consumer>"
key_value_stores = ["attempts"]
[component.worker.tool.tessera]
consume = [{ queue = "work", timeout = "1h", max_attempts = 1 }]
"#;

fn start(directory: tempfile::TempDir, arguments: &[&str]) -> Fixture {
    let launch = Launch::manifest(&manifest(directory.path(), CONTENT));
    let launch = arguments.iter().fold(launch, |launch, argument| launch.argument(argument));
    Fixture { server: launch.start(directory.path()), directory }
}

/// Deliveries and requests that never end by themselves: some wait, and one computes.
async fn hang(fixture: &Fixture) -> Vec<tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>> {
    assert_eq!(fixture.probe("probe/publish/work", "sleep").await, "ok");
    eventually("the delivery is in flight", async || (in_flight(fixture) == 1).then_some(())).await;
    let url = |what: &str| format!("{}/probe/{what}/-", fixture.server.url);
    let requests: Vec<_> =
        ["hang", "compute"].map(|what| tokio::spawn(Client::new().get(url(what)).send())).into_iter().collect();
    eventually("the requests are in flight", async || {
        (component(fixture.directory.path(), "probe")["in_flight"] == 2).then_some(())
    })
    .await;
    requests
}

fn in_flight(fixture: &Fixture) -> u64 {
    json(fixture.directory.path(), &["queues"])["groups"][0]["in_flight"].as_u64().expect("a number")
}

#[tokio::test]
async fn what_hangs_is_cut_off_at_the_deadline_and_given_back() {
    let fixture = start(tempfile::tempdir().expect("a directory"), &["--shutdown-timeout", "1s"]);
    let requests = hang(&fixture).await;
    let begin = Instant::now();
    let Fixture { server, directory } = fixture;
    server.terminate();
    server.log.line_with(&["given back to the queue", "attempt=1"]);
    server.log.line_with(&["requests were still running after 1s"]);
    assert!(server.ended().success());
    assert!((Duration::from_secs(1)..Duration::from_secs(30)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    for request in requests {
        assert!(!request.await.expect("it runs").is_ok_and(|answer| answer.status().is_success()));
    }
    // The attempt does not count: it is the only one that there may be.
    let fixture = start(directory, &[]);
    eventually("it is delivered again at once", async || (in_flight(&fixture) == 1).then_some(())).await;
    let page = json(fixture.directory.path(), &["queues", "peek", "worker", "--part", "in-flight"]);
    assert_eq!(page["messages"][0]["attempts"], 1, "{page}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for second in [Signal::INT, Signal::TERM] {
        let fixture = start(tempfile::tempdir().expect("a directory"), &["--shutdown-timeout", "1h"]);
        let _requests = hang(&fixture).await;
        let Fixture { server, directory } = fixture;
        server.signal(Signal::INT);
        server.log.line_with(&["Shutting down", "again"]);
        server.signal(second);
        // Long before the hour is over.
        assert_eq!(server.ended().code(), Some(130));
        drop(directory);
    }
}

#[tokio::test]
async fn without_a_reader_of_its_output_it_serves_and_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut server = Command::new(binary())
        .args(["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--from"])
        .arg(manifest(directory.path(), CONTENT))
        .arg("--state-dir")
        .arg(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tessera starts");
    drop(server.stderr.take());
    let mut line = String::new();
    let output = server.stdout.take().expect("stdout is piped");
    BufReader::new(output).read_line(&mut line).expect("a line");
    let url = line.trim().strip_prefix("Serving ").expect("the URL");
    for _ in 0..2 {
        // The log says why.
        let answer = reqwest::get(format!("{url}/probe/trap/-")).await.expect("an answer");
        assert_eq!(answer.status(), 500);
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&server), Signal::TERM).expect("it runs");
    let status = eventually("it ends", async || server.try_wait().expect("it can be waited for")).await;
    assert!(status.success(), "{status}");
}

/// The next message to the service manager.
fn told(socket: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let length = socket.recv(&mut message).expect("a message in time");
    String::from_utf8(message[..length].to_vec()).expect("text")
}

/// The next one that is no sign of life.
fn told_besides_watchdog(socket: &UnixDatagram) -> String {
    std::iter::repeat_with(|| told(socket)).find(|message| message.trim() != "WATCHDOG=1").expect("a message")
}

fn managed(directory: &tempfile::TempDir, environment: &[(&str, &str)]) -> (Server, UnixDatagram) {
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let launch = Launch::manifest(&manifest(directory.path(), CONTENT));
    let launch = launch.environment("NOTIFY_SOCKET", path.to_str().expect("UTF-8"));
    let launch = environment.iter().fold(launch, |launch, (name, value)| launch.environment(name, value));
    (launch.start(directory.path()), socket)
}

#[tokio::test]
async fn a_service_manager_hears_of_readiness_reloads_and_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let (server, socket) = managed(&directory, &[]);
    let ready = told(&socket);
    assert!(ready.lines().any(|line| line == "READY=1"), "{ready}");
    assert!(ready.lines().any(|line| line == format!("STATUS=Serving {}", server.url)), "{ready}");
    assert_eq!(
        reqwest::get(format!("{}/probe/environment/-", server.url)).await.expect("an answer").status(),
        200,
        "ready means ready"
    );
    server.signal(Signal::HUP);
    let reloading = told(&socket);
    assert!(reloading.lines().any(|line| line == "RELOADING=1"), "{reloading}");
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("since when");
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now =
        u64::try_from(now.tv_sec).expect("a time") * 1_000_000 + u64::try_from(now.tv_nsec).expect("a time") / 1000;
    let since: u64 = since.parse().expect("a number");
    assert!(since <= now && now - since < 600_000_000, "{since} {now}");
    let ready = told(&socket);
    assert!(ready.lines().any(|line| line == "READY=1"), "{ready}");
    server.terminate();
    let stopping = told(&socket);
    assert!(stopping.lines().any(|line| line == "STOPPING=1"), "{stopping}");
    assert!(server.ended().success());
    // Without WATCHDOG_USEC there were no signs of life, and after the end nothing comes.
    socket.set_nonblocking(true).expect("a socket");
    assert!(socket.recv(&mut [0; 64]).is_err());
}

#[tokio::test]
async fn a_watchdog_hears_signs_of_life_in_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let (server, socket) = managed(&directory, &[("WATCHDOG_USEC", "600000")]);
    assert!(told_besides_watchdog(&socket).contains("READY=1"));
    // Those that came while this test had to wait for its turn say nothing about when they came.
    socket.set_nonblocking(true).expect("a socket");
    while socket.recv(&mut [0; 64]).is_ok() {}
    socket.set_nonblocking(false).expect("a socket");
    let begin = Instant::now();
    let mut watched = 0;
    while watched < 6 {
        watched += usize::from(told(&socket).trim() == "WATCHDOG=1");
    }
    // One may come at once, each other in half of the interval; busy machines are late.
    assert!(begin.elapsed() >= Duration::from_millis(1200), "{:?}", begin.elapsed());
    // A process that is stopped gives none.
    server.signal(Signal::STOP);
    socket.set_read_timeout(Some(Duration::from_millis(900))).expect("a socket");
    while socket.recv(&mut [0; 64]).is_ok() {}
    server.signal(Signal::CONT);
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
    assert_eq!(told(&socket).trim(), "WATCHDOG=1");
    // Nor does one that the signs are not meant for.
    let other = tempfile::tempdir().expect("a directory");
    let (_server, socket) = managed(&other, &[("WATCHDOG_USEC", "100000"), ("WATCHDOG_PID", "1")]);
    assert!(told(&socket).contains("READY=1"));
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket");
    assert!(socket.recv(&mut [0; 64]).is_err());
}
