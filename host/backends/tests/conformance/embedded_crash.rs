//! The embedded engine after `kill -9`: every acknowledged write is there, no half write is, and
//! every delivery that was not acknowledged comes again.
//!
//! The test starts itself as a child process that commits, publishes, receives and settles as fast
//! as it can, and reports every step on its standard output; kills it at a random moment; opens the
//! store and compares. All rounds use one store.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rand::RngExt as _;
use tessera_backends::embedded::Engine;
use tessera_capability::kv::{Commit, Key, Operation, Store};
use tessera_capability::queue::{Broker, Group, Message, Publication, Subscription};
use tessera_capability::time::SystemClock;

/// Set for the child: where the store is.
pub(crate) const DIR: &str = "TESSERA_CRASH_TEST_DIR";
const ROUNDS: u32 = 50;
const WRITERS: u64 = 4;
const CONSUMERS: u64 = 4;
pub(crate) const LEASE: Duration = Duration::from_secs(3600);

pub(crate) fn open(dir: &Path) -> Engine {
    Engine::open(dir, Arc::new(SystemClock)).unwrap()
}

pub(crate) fn group(name: &str) -> Group {
    name.parse().unwrap()
}

fn key(name: String) -> Key {
    Key::new(name).unwrap()
}

async fn declare(broker: &dyn Broker) {
    let subscription =
        |name: &str| Subscription { group: group(name), patterns: vec![name.parse().unwrap()], max_depth: 1_000_000 };
    broker.declare(&["work", "poison"].map(subscription)).await.unwrap();
}

pub(crate) fn publication(queue: &str, body: String) -> Publication {
    let message = Message { body: body.into(), ..Message::default() };
    Publication { queue: queue.parse().unwrap(), message, id: None }
}

/// The number stored at a key; 0 if there is none.
async fn number(store: &dyn Store, name: String) -> u64 {
    let entry = store.get(&key(name)).await.unwrap();
    entry.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap())
}

/// One line to the parent, whole: the pipe takes it at once.
pub(crate) fn report(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The child's side; no test of its own.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let engine = open(Path::new(&dir));
        declare(&*engine.broker()).await;
        report("# ready");
        for writer in 0..WRITERS {
            tokio::spawn(write(engine.clone(), writer));
        }
        for consumer in 0..CONSUMERS {
            tokio::spawn(consume(engine.broker(), consumer));
        }
        tokio::spawn(hold_poison(engine.broker()));
        std::future::pending::<()>().await;
    });
}

/// Writes its two entries alike, counts, and publishes, in one commit each.
async fn write(engine: Engine, writer: u64) {
    let store = engine.store("app");
    let mut last = number(&*store, format!("a/{writer}")).await;
    loop {
        let next = last + 1;
        let set = |name: &str| Operation::Set {
            key: key(format!("{name}/{writer}")),
            value: next.to_string().into(),
            time_to_live: None,
        };
        let operations = vec![
            set("a"),
            Operation::Add { key: key("total".into()), delta: 1 },
            Operation::Publish(publication("work", format!("{writer}:{next}"))),
            set("b"),
        ];
        store.commit(Commit { checks: vec![], operations }).await.unwrap();
        report(&format!("# committed {writer} {next}"));
        last = next;
    }
}

/// Handles what comes; some of it fails, some is never settled.
async fn consume(broker: Arc<dyn Broker>, consumer: u64) {
    let work = group("work");
    for turn in consumer.. {
        let deliveries = broker.receive(&work, 3, LEASE, Duration::from_secs(60)).await.unwrap();
        for delivery in deliveries {
            let body = String::from_utf8(delivery.message.body.to_vec()).unwrap();
            report(&format!("# leased {body} {}", delivery.attempt));
            match turn % 8 {
                0 => {}
                1 => broker.retry(&work, &delivery.receipt, Duration::ZERO, "not yet").await.unwrap(),
                _ => {
                    report(&format!("# acknowledging {body}"));
                    broker.acknowledge(&work, &delivery.receipt).await.unwrap();
                    report(&format!("# acknowledged {body}"));
                }
            }
        }
    }
}

/// Takes the message that no process survives.
async fn hold_poison(broker: Arc<dyn Broker>) {
    let deliveries = broker.receive(&group("poison"), 1, LEASE, Duration::from_secs(60)).await.unwrap();
    report(&format!("# poison {}", deliveries.first().unwrap().attempt));
}

/// What the children reported, all rounds together.
#[derive(Default)]
struct Reported {
    /// The last acknowledged commit of each writer.
    committed: BTreeMap<u64, u64>,
    /// The latest attempt at each message.
    leased: BTreeMap<String, u32>,
    acknowledging: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
    /// Attempts at the poison message, in order.
    poison: Vec<u32>,
}

impl Reported {
    fn add(&mut self, line: &str) {
        // The harness writes to the same stream, perhaps without ending its line.
        let Some((_, report)) = line.split_once("# ") else { return };
        let words: Vec<&str> = report.split(' ').collect();
        match words[..] {
            ["committed", writer, number] => {
                self.committed.insert(writer.parse().unwrap(), number.parse().unwrap());
            }
            ["leased", body, attempt] => {
                self.leased.insert(body.to_owned(), attempt.parse().unwrap());
            }
            ["acknowledging", body] => assert!(self.acknowledging.insert(body.to_owned()), "{body} came back"),
            ["acknowledged", body] => assert!(self.acknowledged.insert(body.to_owned())),
            ["poison", attempt] => self.poison.push(attempt.parse().unwrap()),
            ["ready"] => {}
            _ => panic!("unknown report: {line}"),
        }
    }
}

/// Runs the test `child` of a module as a process with this store, kills it at most so many
/// milliseconds after it has opened the store, and answers what it wrote.
pub(crate) fn run_and_kill(module: &str, dir: &Path, longest: u64) -> Vec<String> {
    // The harness names tests without their crate.
    let (_, module) = module.split_once("::").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&format!("{module}::child"), "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in output.split(b'\n') {
            sender.send(String::from_utf8(line.unwrap()).unwrap()).unwrap();
        }
    });
    let mut seen = Vec::new();
    // Now and then it is killed while it opens the store.
    if rand::random_range(0..6) > 0 {
        loop {
            let line = lines.recv_timeout(Duration::from_secs(30)).expect("the child opens the store");
            let ready = line.ends_with("# ready");
            seen.push(line);
            if ready {
                break;
            }
        }
    }
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..longest)));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "the child ended by itself: {status}");
    reader.join().unwrap();
    seen.extend(lines.try_iter());
    seen
}

/// True if it had opened the store.
fn was_ready(seen: &[String]) -> bool {
    seen.iter().any(|line| line.ends_with("# ready"))
}

/// Compares the store with what was reported.
async fn verify(engine: &Engine, reported: &mut Reported) {
    let (store, broker) = (engine.store("app"), engine.broker());
    let mut published = BTreeSet::new();
    let mut total = 0;
    for writer in 0..WRITERS {
        let (a, b) = (number(&*store, format!("a/{writer}")).await, number(&*store, format!("b/{writer}")).await);
        assert_eq!(a, b, "half a commit of writer {writer}");
        let acknowledged = reported.committed.get(&writer).copied().unwrap_or_default();
        assert!(a >= acknowledged, "writer {writer}: commit {acknowledged} was acknowledged, {a} is there");
        reported.committed.insert(writer, a);
        published.extend((1..=a).map(|number| format!("{writer}:{number}")));
        total += a;
    }
    assert_eq!(number(&*store, "total".into()).await, total, "the counter and the entries disagree");

    let work = group("work");
    let depth = broker.depth(&work).await.unwrap();
    assert_eq!((depth.in_flight, depth.delayed, depth.dead), (0, 0, 0), "leases end with their process");
    let mut held = BTreeSet::new();
    loop {
        let deliveries = broker.receive(&work, 1000, LEASE, Duration::ZERO).await.unwrap();
        if deliveries.is_empty() {
            break;
        }
        for delivery in deliveries {
            let body = String::from_utf8(delivery.message.body.to_vec()).unwrap();
            let reported = reported.leased.get(&body).copied().unwrap_or_default();
            assert!(delivery.attempt > reported, "attempt {reported} at {body} does not count");
            assert!(held.insert(body), "a message is held twice");
        }
    }
    assert_eq!(depth.ready, held.len() as u64);
    assert!(held.is_subset(&published), "a message without its commit");
    assert!(held.is_disjoint(&reported.acknowledged), "an acknowledged message came back");
    for body in published.difference(&held) {
        assert!(reported.acknowledging.contains(body), "{body} was never acknowledged and is gone");
    }
    // An acknowledgement without an answer happened or not; from here on it is known which.
    reported.acknowledged = published.difference(&held).cloned().collect();
    reported.acknowledging.clone_from(&reported.acknowledged);
    // These leases are this process's, which ends them by closing the engine: attempts at most rise.
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_unacknowledged_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut reported = Reported::default();
    {
        let engine = open(dir.path());
        declare(&*engine.broker()).await;
        engine.broker().publish(publication("poison", "boom".into())).await.unwrap();
    }
    let mut opened = 0;
    for _ in 0..ROUNDS {
        let seen = run_and_kill(module_path!(), dir.path(), 60);
        seen.iter().for_each(|line| reported.add(line));
        opened += u32::from(was_ready(&seen));
        let engine = open(dir.path());
        verify(&engine, &mut reported).await;
    }
    assert!(opened >= ROUNDS / 2, "most children got to work: {opened}");
    let acknowledged = reported.acknowledged.len();
    assert!(acknowledged > 100, "the children did something: {acknowledged} messages");

    // The poison message's attempts were counted though no process lived to tell.
    assert!(reported.poison.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", reported.poison);
    let engine = open(dir.path());
    let (broker, poison) = (engine.broker(), group("poison"));
    let delivery = broker.receive(&poison, 1, LEASE, Duration::ZERO).await.unwrap().remove(0);
    assert!(delivery.attempt > *reported.poison.last().unwrap());
    broker.bury(&poison, &delivery.receipt, "too often").await.unwrap();
    let letter = broker.dead_letters(&poison, None, 1).await.unwrap().letters.remove(0);
    assert_eq!(letter.attempts, delivery.attempt);
    assert_eq!(letter.history[0].reason, "the process ended before the delivery was settled");
}
