//! Swaps while requests come without a pause.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{CONTENT, INITIAL};
use crate::support::eventually;
use crate::support::fixtures::Fixture;

/// A request: when it began and ended, and what came of it.
type Seen = (Instant, Instant, Result<String, String>);

async fn ask(client: &reqwest::Client, url: &str) -> Result<String, String> {
    let answer = client.get(url).send().await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
    if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_and_each_gets_the_version_of_its_time() {
    const SWAPS: usize = 12;
    let fixture = Fixture::start(CONTENT);
    let url = format!("{}/probe/version/-", fixture.server.url);
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (client, url) = (reqwest::Client::new(), url.clone());
            let (seen, over) = (Arc::clone(&seen), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Relaxed) {
                    let begin = Instant::now();
                    let answer = ask(&client, &url).await;
                    seen.lock().expect("a lock").push((begin, Instant::now(), answer));
                    // So short that there are always some under way; without it they leave no core to whoever compiles.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    // When each version began to come in, and when it had all new work at the latest.
    let mut times = vec![(INITIAL.to_owned(), Instant::now(), Instant::now())];
    for number in 0..SWAPS {
        let name = format!("version-{number:03}");
        let begin = Instant::now();
        tokio::task::block_in_place(|| fixture.swap_to("probe", "probe", &name, &[]));
        times.push((name, begin, Instant::now()));
    }
    let enough = seen.lock().expect("a lock").len() + 100;
    while seen.lock().expect("a lock").len() < enough {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    over.store(true, Relaxed);
    for client in clients {
        client.await.expect("it ends");
    }

    let seen = std::mem::take(&mut *seen.lock().expect("a lock"));
    let versions = seen.iter().map(|(begin, end, answer)| {
        let version = answer.as_ref().unwrap_or_else(|fault| panic!("a request failed: {fault}"));
        (begin, end, times.iter().position(|(name, ..)| name == version).expect("a version that was swapped in"))
    });
    let mut counts = vec![0; times.len()];
    for (begin, end, version) in versions {
        counts[version] += 1;
        assert!(*end >= times[version].1, "answered by a version that was not there yet");
        if let Some((next, _, there)) = times.get(version + 1) {
            assert!(begin <= there, "{} answered although {next} had all new work", times[version].0);
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "each version answers something: {counts:?}");
    let dropped = async || (fixture.roles("probe") == ["serving"]).then_some(());
    eventually("the old versions are dropped", dropped).await;
}
