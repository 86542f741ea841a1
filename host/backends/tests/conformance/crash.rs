//! `kill -9` at random moments: what blobs and the outbox look like afterwards.
//!
//! The child is this test binary again, running one of the ignored tests below. It writes what it
//! begins and what was acknowledged to a log, which outlives it: a killed process loses nothing
//! that it has written to a file.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, thread};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tessera_backends::files::Engine;
use tessera_backends::maildir::Outbox;
use tessera_capability::blob::{Key, PutOptions, Store};
use tessera_capability::mail::{Message, Outbox as _, Sender};
use tessera_capability::time::SystemClock;
use tessera_capability::{Error, Result};

const KILLS: usize = 50;
const DIRECTORY: &str = "TESSERA_TEST_CRASH_DIRECTORY";
const ROUND: &str = "TESSERA_TEST_CRASH_ROUND";

/// The log of a round.
struct Log(Mutex<File>);

impl Log {
    fn path(dir: &Path) -> PathBuf {
        dir.join("log")
    }

    fn create(dir: &Path) -> Self {
        Self(Mutex::new(OpenOptions::new().append(true).create(true).open(Self::path(dir)).unwrap()))
    }

    /// One `write` to the file, so a line is there whole or not.
    fn line(&self, line: &str) {
        self.0.lock().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn take(dir: &Path) -> Vec<String> {
        let text = fs::read_to_string(Self::path(dir)).unwrap();
        fs::remove_file(Self::path(dir)).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// Runs the child until a random moment after its first acknowledgement, kills it, and answers
/// its log.
fn kill(child: &str, dir: &Path, round: usize) -> Vec<String> {
    let log = Log::create(dir);
    let mut process = Command::new(env::current_exe().unwrap())
        .args([&format!("crash::{child}"), "--exact", "--ignored", "--test-threads=1"])
        .env(DIRECTORY, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(log);
    let start = Instant::now();
    while !fs::read_to_string(Log::path(dir)).unwrap().contains("done ") {
        assert!(process.try_wait().unwrap().is_none(), "the child of round {round} has ended by itself");
        assert!(start.elapsed() < Duration::from_secs(60), "the child of round {round} does nothing");
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_micros(rand::random_range(0..60_000)));
    assert!(process.try_wait().unwrap().is_none(), "the child of round {round} has ended by itself");
    process.kill().unwrap();
    process.wait().unwrap();
    Log::take(dir)
}

/// Where the child works; `None` if this is no child.
fn child() -> Option<(PathBuf, usize)> {
    let dir = env::var_os(DIRECTORY)?;
    Some((PathBuf::from(dir), env::var(ROUND).unwrap().parse().unwrap()))
}

/// The content of a version: its length and bytes follow from its number.
fn content(version: u64) -> Vec<u8> {
    let length = [0, 10, 5_000, 1_100_000, 3_000_000][version as usize % 5];
    version.to_be_bytes().repeat(length / 8 + 1)[..length].to_vec()
}

async fn put(store: &Arc<dyn Store>, key: &Key, version: u64) -> Result<()> {
    let chunks: Vec<_> = content(version).chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let metadata = vec![("version".to_owned(), version.to_string())];
    let options = PutOptions { metadata, ..PutOptions::default() };
    store.put(key, options, stream::iter(chunks).boxed()).await.map(drop)
}

/// Replaces and deletes objects until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of `killed_blobs`"]
async fn child_blobs() {
    let Some((dir, round)) = child() else { return };
    let log = Arc::new(Log::create(&dir));
    let store = Engine::open(&dir.join("blobs"), Arc::new(SystemClock)).unwrap().store("label");
    let writers = (0..4_u64).map(|writer| {
        let (log, store) = (Arc::clone(&log), Arc::clone(&store));
        tokio::spawn(async move {
            for step in 0_u64.. {
                let name = format!("{writer}/{}", step % 3);
                let key = Key::new(name.as_str()).unwrap();
                let version = (round as u64 * 1_000_000 + step) * 4 + writer;
                if step % 7 == 6 {
                    log.line(&format!("begin {name} -"));
                    store.delete(&key).await.unwrap();
                    log.line(&format!("done {name} -"));
                } else {
                    log.line(&format!("begin {name} {version}"));
                    put(&store, &key, version).await.unwrap();
                    log.line(&format!("done {name} {version}"));
                }
            }
        })
    });
    futures::future::join_all(writers).await;
}

/// The version of an object, which must be whole: content, size, hash and metadata agree.
async fn version(store: &Arc<dyn Store>, key: &Key) -> Option<u64> {
    let (info, body) = match store.get(key, None).await {
        Ok(found) => found,
        Err(Error::NotFound(_)) => return None,
        Err(error) => panic!("{key:?}: {error}"),
    };
    let chunks: Vec<_> = body.map(|chunk| chunk.unwrap()).collect().await;
    let found = chunks.concat();
    assert_eq!(info.sha256.unwrap(), hex::encode(Sha256::digest(&found)), "{key:?}");
    let version = info.metadata[0].1.parse().unwrap();
    assert!(found == content(version), "{key:?}: not the content of its version");
    Some(version)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_blobs() {
    let dir = TempDir::new().unwrap();
    let mut known: HashMap<String, Option<u64>> = HashMap::new();
    let mut unacknowledged = 0;
    for round in 0..KILLS {
        let mut begun: HashMap<String, Option<u64>> = HashMap::new();
        for line in kill("child_blobs", dir.path(), round) {
            let words: Vec<&str> = line.split(' ').collect();
            let (name, version) = (words[1].to_owned(), words[2].parse().ok());
            if words[0] == "begin" {
                begun.insert(name, version);
            } else {
                begun.remove(&name);
                known.insert(name, version);
            }
        }
        unacknowledged += begun.len();

        let store = Engine::open(&dir.path().join("blobs"), Arc::new(SystemClock)).unwrap().store("label");
        let mut present = 0;
        let names: Vec<String> =
            known.keys().chain(begun.keys()).cloned().collect::<std::collections::HashSet<_>>().into_iter().collect();
        for name in names {
            let found = version(&store, &Key::new(name.as_str()).unwrap()).await;
            let acknowledged = known.get(&name).copied().flatten();
            assert!(
                found == acknowledged || begun.get(&name) == Some(&found),
                "round {round}, {name}: found {found:?}, acknowledged {acknowledged:?}, begun {:?}",
                begun.get(&name)
            );
            present += usize::from(found.is_some());
            known.insert(name, found);
        }
        assert_eq!(store.list("", None, 1000).await.unwrap().objects.len(), present, "objects that nobody put");
        let files = fs::read_dir(dir.path().join("blobs/data")).unwrap().count();
        assert_eq!(files, present, "round {round}: leftovers");
    }
    assert!(unacknowledged > 0, "no kill has hit a write");
}

fn message(key: &str) -> Message {
    Message {
        to: vec!["user@example.net".into()],
        subject: key.to_owned(),
        text: Some("Hello.".into()),
        idempotency_key: Some(key.to_owned()),
        ..Message::default()
    }
}

fn outbox(dir: &Path) -> Outbox {
    Outbox::open(&dir.join("mail"), "app@example.org", Arc::new(SystemClock)).unwrap()
}

/// Sends messages until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of `killed_mail`"]
async fn child_mail() {
    let Some((dir, round)) = child() else { return };
    let log = Log::create(&dir);
    let outbox = outbox(&dir);
    for step in 0_u64.. {
        let key = format!("{round}-{step}");
        log.line(&format!("begin {key}"));
        assert!(outbox.send("component", message(&key)).await.unwrap().sent);
        log.line(&format!("done {key}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_mail() {
    let dir = TempDir::new().unwrap();
    let mut messages = 0;
    for round in 0..KILLS {
        let log = kill("child_mail", dir.path(), round);
        let outbox = outbox(dir.path());
        assert_eq!(fs::read_dir(dir.path().join("mail/tmp")).unwrap().count(), 0, "round {round}: leftovers");
        let done = |key: &str| log.iter().any(|line| line.strip_prefix("done ") == Some(key));
        for key in log.iter().filter_map(|line| line.strip_prefix("begin ")) {
            // As a caller does after a crash. What was acknowledged is not sent again.
            let receipt = outbox.send("component", message(key)).await.unwrap();
            assert!(!(receipt.sent && done(key)), "round {round}: {key} was sent twice");
            messages += 1;
        }
        let new = fs::read_dir(dir.path().join("mail/new")).unwrap().count();
        assert_eq!(new, messages, "round {round}: one message for each key");
        let (mut listed, mut cursor) = (HashSet::new(), None);
        loop {
            let page = outbox.list(cursor.as_deref(), 100).await.unwrap();
            listed.extend(page.messages.into_iter().map(|summary| summary.id));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed.len(), messages, "round {round}: the listing has them all");
    }
    for entry in fs::read_dir(dir.path().join("mail/new")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.starts_with("X-Envelope-To: user@example.net\n") && text.ends_with("Hello.\n"), "cut off: {text}");
    }
}
