//! How fast the embedded engine is, next to what the disk can do: a loop that appends 100 bytes to a
//! file and calls `fdatasync`. Rates depend on the disk; the multiples of that loop less so.
//!
//! `cargo run --release -p tessera-backends --example queue_bench [-- SECONDS]`, for each line.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tessera_backends::embedded::Engine;
use tessera_capability::kv::{Commit, Key, Operation};
use tessera_capability::queue::{Group, Message, Publication, Subscription};
use tessera_capability::time::SystemClock;
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long each line measures.
#[derive(Clone, Copy)]
struct Measure {
    time: Duration,
    /// Bare `fdatasync` calls per second.
    bare: f64,
}

impl Measure {
    fn print(self, what: &str, callers: u64, count: u64, start: Instant) {
        let rate = count as f64 / start.elapsed().as_secs_f64();
        println!("{what:<20} {callers:>4} callers {rate:>9.0}/s {:>7.2} x bare fdatasync", rate / self.bare);
    }
}

fn bare(file: &mut File, time: Duration) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < time {
        file.write_all(&[7; 100])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let seconds = std::env::args().nth(1).map_or(Ok(3.0), |text| text.parse())?;
    let time = Duration::from_secs_f64(seconds);
    // Not the system's temporary directory, which may be in memory, where fsync costs nothing.
    let dir = tempfile::tempdir_in(".")?;
    let bare = bare(&mut File::create(dir.path().join("bare"))?, time)?;
    println!("bare fdatasync          1 caller  {bare:>9.0}/s");
    let engine = Engine::open(&dir.path().join("engine"), Arc::new(SystemClock))?;
    let measure = Measure { time, bare };
    for callers in [1, 16, 64] {
        commits(&engine, measure, callers).await?;
    }
    reads(&engine, measure, 1).await?;
    for callers in [1, 16, 64] {
        publish_and_consume(&engine, measure, callers).await?;
    }
    engine.close().await;
    Ok(())
}

/// Waits for all callers; answers the sum of what they did.
async fn sum(mut callers: JoinSet<Result<u64, Failure>>) -> Result<u64, Failure> {
    let mut sum = 0;
    while let Some(count) = callers.join_next().await {
        sum += count??;
    }
    Ok(sum)
}

/// Each caller writes 100 bytes at a time, to one of 10,000 keys.
async fn commits(engine: &Engine, measure: Measure, callers: u64) -> Result<(), Failure> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let store = engine.store("bench");
        tasks.spawn(async move {
            let mut count = 0;
            while start.elapsed() < measure.time {
                let key = Key::new(format!("{:05}", (caller * 7919 + count * 31) % 10_000))?;
                let operations = vec![Operation::Set { key, value: vec![7; 100].into(), time_to_live: None }];
                store.commit(Commit { checks: vec![], operations }).await?;
                count += 1;
            }
            Ok(count)
        });
    }
    measure.print("commit", callers, sum(tasks).await?, start);
    Ok(())
}

/// Reads while one caller commits.
async fn reads(engine: &Engine, measure: Measure, callers: u64) -> Result<(), Failure> {
    let start = Instant::now();
    let (store, mut slowest, mut count) = (engine.store("bench"), Duration::ZERO, 0);
    let writer = commits(engine, measure, 1);
    let reader = async {
        while start.elapsed() < measure.time {
            let one = Instant::now();
            store.get(&Key::new(format!("{:05}", count * 31 % 10_000))?).await?;
            slowest = slowest.max(one.elapsed());
            count += 1;
        }
        Ok::<_, Failure>(())
    };
    tokio::try_join!(writer, reader)?;
    measure.print("get, meanwhile", callers, count, start);
    println!("  the slowest took {slowest:?}");
    Ok(())
}

/// As many publishers as consumers; counts the messages that went all the way.
async fn publish_and_consume(engine: &Engine, measure: Measure, callers: u64) -> Result<(), Failure> {
    let group: Group = "bench".parse()?;
    let broker = engine.broker();
    let subscription = Subscription { group: group.clone(), patterns: vec!["bench".parse()?], max_depth: 1_000_000 };
    broker.declare(&[subscription]).await?;
    let start = Instant::now();
    let published = Arc::new(AtomicU64::new(0));
    let mut publishers = JoinSet::new();
    let mut consumers = JoinSet::new();
    for _ in 0..callers {
        let (broker, published) = (engine.broker(), Arc::clone(&published));
        publishers.spawn(async move {
            let mut count = 0;
            while start.elapsed() < measure.time {
                let message = Message { body: vec![7; 100].into(), ..Message::default() };
                broker.publish(Publication { queue: "bench".parse()?, message, id: None }).await?;
                count += 1;
            }
            published.fetch_add(count, Ordering::Relaxed);
            Ok(count)
        });
        let (broker, group) = (engine.broker(), group.clone());
        consumers.spawn(async move {
            let mut count = 0;
            loop {
                let lease = Duration::from_secs(60);
                let deliveries = broker.receive(&group, 1, lease, Duration::from_millis(500)).await?;
                if deliveries.is_empty() {
                    return Ok(count);
                }
                for delivery in deliveries {
                    broker.acknowledge(&group, &delivery.receipt).await?;
                    count += 1;
                }
            }
        });
    }
    sum(publishers).await?;
    let behind = broker.depth(&group).await?;
    let consumed = sum(consumers).await?;
    if consumed != published.load(Ordering::Relaxed) {
        return Err("messages got lost".into());
    }
    // The consumers found nothing more for half a second before they ended.
    let done = start + Duration::from_millis(500);
    measure.print("publish and consume", callers, consumed, done);
    println!("  {} were still held when publishing ended", behind.ready + behind.in_flight);
    Ok(())
}
