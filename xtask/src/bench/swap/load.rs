//! Clients of the application: short requests, slow uploads whose sound is converted, and messages.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::bench::server::Server;

/// So many clients ask again and again, each so often at most: less than the machine can do, so that what swaps cost
/// is seen and not the clients' own pressure.
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);

/// So many upload at a time, each with a piece after every pause, about two seconds for all, and wait for the
/// conversion before they upload again: some of both is always in flight, and no backlog grows.
const UPLOADS: usize = 3;
const PIECE: usize = 64 << 10;
const UPLOAD_PAUSE: Duration = Duration::from_millis(35);

/// One message after every pause.
const MESSAGE_PAUSE: Duration = Duration::from_millis(50);

/// Whoever makes the load.
pub(super) struct Load<'a> {
    server: &'a Server,
    url: &'a str,
    token: &'a str,
    sound: &'a [u8],
    /// Names messages.
    next: AtomicUsize,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Report {
    /// How long short requests took, in order of length.
    pub(super) times: Vec<Duration>,
    /// Requests of all kinds that were not answered as they should be.
    pub(super) failed: usize,
    /// Ids of the jobs that were accepted.
    pub(super) jobs: Vec<String>,
    /// Messages that were accepted.
    pub(super) messages: BTreeSet<String>,
}

impl Report {
    /// Notes a failure, and says what it was.
    fn failed(&mut self, what: &str, error: &anyhow::Error) {
        eprintln!("{what} failed: {error:#}");
        self.failed += 1;
    }
}

impl<'a> Load<'a> {
    pub(super) fn new(server: &'a Server, token: &'a str, sound: &'a [u8]) -> Self {
        Self { server, url: &server.url, token, sound, next: AtomicUsize::new(0) }
    }

    /// Makes load while `work` runs, and lets what is in flight then come to its end.
    pub(super) fn during(&self, work: impl FnOnce() -> Result<()>) -> Result<Report> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let over = &over;
            let mut clients = Vec::new();
            clients.extend((0..CLIENTS).map(|_| scope.spawn(|| self.ask(over))));
            clients.extend((0..UPLOADS).map(|_| scope.spawn(|| self.upload(over))));
            clients.push(scope.spawn(|| self.publish(over)));
            let result = work();
            over.store(true, Relaxed);
            let mut all = Report::default();
            for client in clients {
                let report = client.join().map_err(|_| anyhow!("a client ended"))?;
                all.times.extend(report.times);
                all.failed += report.failed;
                all.jobs.extend(report.jobs);
                all.messages.extend(report.messages);
            }
            all.times.sort();
            result.map(|()| all)
        })
    }

    /// In turns what the gateway answers by itself, and what it asks auth and the store for.
    fn ask(&self, over: &AtomicBool) -> Report {
        let (agent, mut report) = (ureq::Agent::new_with_defaults(), Report::default());
        let paths = ["/healthz", "/jobs?size=1"];
        for path in paths.iter().cycle() {
            if over.load(Relaxed) {
                break;
            }
            let start = Instant::now();
            let request = agent.get(format!("{}{path}", self.url)).header("authorization", self.bearer());
            let answer = request.call().map_err(anyhow::Error::from);
            match answer.and_then(|mut answer| Ok(answer.body_mut().read_to_vec()?)) {
                Ok(_) => report.times.push(start.elapsed()),
                Err(error) => report.failed(path, &error),
            }
            thread::sleep(PAUSE);
        }
        report
    }

    fn upload(&self, over: &AtomicBool) -> Report {
        let mut report = Report::default();
        while !over.load(Relaxed) {
            let mut body = Slow(self.sound);
            let request = ureq::post(format!("{}/upload?filename=bench.wav", self.url))
                .header("authorization", self.bearer())
                .header("content-type", "audio/wav");
            let answer = request.send(ureq::SendBody::from_reader(&mut body)).map_err(anyhow::Error::from);
            let id = answer.and_then(|mut answer| {
                let answer: Value = answer.body_mut().read_json()?;
                answer.get("id").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| anyhow!("no id: {answer}"))
            });
            match id {
                Ok(id) => {
                    if let Err(error) = self.server.finished(self.token, &id) {
                        report.failed("asking for a job", &error);
                    }
                    report.jobs.push(id);
                }
                Err(error) => report.failed("an upload", &error),
            }
        }
        report
    }

    fn publish(&self, over: &AtomicBool) -> Report {
        let (agent, mut report) = (ureq::Agent::new_with_defaults(), Report::default());
        while !over.load(Relaxed) {
            let message = format!("message {:06}", self.next.fetch_add(1, Relaxed));
            let answer = agent.post(format!("{}/probe/publish/work", self.url)).send(&message);
            match answer.map_err(anyhow::Error::from).and_then(|mut answer| Ok(answer.body_mut().read_to_string()?)) {
                Ok(answer) if answer == "ok" => _ = report.messages.insert(message),
                Ok(answer) => report.failed("publishing", &anyhow!(answer)),
                Err(error) => report.failed("publishing", &error),
            }
            thread::sleep(MESSAGE_PAUSE);
        }
        report
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

/// A body over a slow line.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        thread::sleep(UPLOAD_PAUSE);
        let length = buffer.len().min(PIECE);
        self.0.read(buffer.get_mut(..length).unwrap_or_default())
    }
}

/// How often each message was handled: the consumer notes every attempt under a key `<message>/<attempt>`.
pub(super) fn attempts(url: &str) -> Result<BTreeMap<String, usize>> {
    let mut attempts = BTreeMap::new();
    let mut last = String::new();
    loop {
        let query = last.replace(' ', "%20");
        let mut answer = ureq::post(format!("{url}/probe/kv-list/attempts?{query}")).send_empty()?;
        let page = answer.body_mut().read_to_string()?;
        let Some(end) = page.lines().last() else { return Ok(attempts) };
        last = end.to_owned();
        for key in page.lines() {
            let message = key.rsplit_once('/').map_or(key, |(message, _)| message);
            *attempts.entry(message.to_owned()).or_default() += 1;
        }
    }
}

/// The time that so many of 100 took at most, in milliseconds; `times` are in order.
pub(super) fn percentile(times: &[Duration], percent: usize) -> f64 {
    let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}
