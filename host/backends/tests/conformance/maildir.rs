//! The outbox: the suite, and what is on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tessera_backends::maildir::Outbox;
use tessera_capability::Error;
use tessera_capability::conformance::mail::{Delivered, Refuses, Service};
use tessera_capability::mail::{self, IDEMPOTENCY_WINDOW, Message, Outbox as _, Sender};
use tessera_capability::time::{Clock, SystemClock, Timestamp};
use tokio::sync::RwLock;

const FROM: &str = "Application <app@example.org>";

struct Maildir {
    dir: PathBuf,
    outbox: std::sync::Mutex<Option<Arc<Outbox>>>,
    /// Keeps the outbox open while it is used.
    restart: RwLock<()>,
}

fn open(dir: &Path) -> Arc<Outbox> {
    Arc::new(Outbox::open(dir, FROM, Arc::new(SystemClock)).unwrap())
}

#[async_trait]
impl Service for Maildir {
    fn sender(&self) -> Arc<dyn Sender> {
        self.outbox.lock().unwrap().clone().unwrap()
    }

    async fn delivered(&self) -> Vec<Delivered> {
        let _open = self.restart.read().await;
        messages(&self.dir).iter().map(|path| delivered(&fs::read(path).unwrap())).collect()
    }

    async fn restarted(&self) -> Arc<dyn Sender> {
        let _closed = self.restart.write().await;
        let mut outbox = self.outbox.lock().unwrap();
        *outbox = None;
        let opened = open(&self.dir);
        *outbox = Some(opened.clone());
        opened
    }

    fn refuses(&self) -> Option<Refuses> {
        None
    }

    fn outbox(&self) -> Option<Arc<dyn mail::Outbox>> {
        Some(self.outbox.lock().unwrap().clone().unwrap())
    }
}

/// Parts a file of the outbox into the envelope and the message.
fn delivered(file: &[u8]) -> Delivered {
    let text = String::from_utf8(file.to_vec()).unwrap();
    assert!(!text.contains('\r'), "lines of a maildir end with a line feed alone");
    let header = text.strip_prefix("X-Envelope-To: ").expect("the envelope");
    let end = header.find("\nMessage-ID").expect("the message");
    let recipients = header[..end].split(",\n ").map(str::to_owned).collect();
    Delivered { recipients, raw: header.as_bytes()[end + 1..].to_vec() }
}

/// The new messages.
fn messages(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("new")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn make() -> Option<(Arc<dyn Service>, TempDir)> {
    let dir = TempDir::new().unwrap();
    let service = Maildir {
        dir: dir.path().to_owned(),
        outbox: std::sync::Mutex::new(Some(open(dir.path()))),
        restart: RwLock::new(()),
    };
    Some((Arc::new(service), dir))
}

tessera_capability::mail_suite!(make);

/// A small message, with an idempotency key or without.
pub(super) fn message(key: Option<&str>) -> Message {
    Message {
        to: vec!["user@example.net".into()],
        subject: "Subject".into(),
        text: Some("Hello.".into()),
        idempotency_key: key.map(str::to_owned),
        ..Message::default()
    }
}

#[tokio::test]
async fn reading_and_deleting_does_not_forget_a_key() {
    let dir = TempDir::new().unwrap();
    let outbox = open(dir.path());
    for key in ["read", "deleted"] {
        assert!(outbox.send("component", message(Some(key))).await.unwrap().sent);
        let file = messages(dir.path()).pop().unwrap();
        if key == "read" {
            // As a mail program does it.
            let seen = format!("{}:2,S", file.file_name().unwrap().to_str().unwrap());
            fs::rename(&file, dir.path().join("cur").join(seen)).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        assert!(!outbox.send("component", message(Some(key))).await.unwrap().sent);
    }
    assert!(messages(dir.path()).is_empty());
}

#[tokio::test]
async fn a_message_cut_off_before_its_key_is_removed_and_after_it_is_delivered() {
    let dir = TempDir::new().unwrap();
    let outbox = open(dir.path());
    let receipt = outbox.send("component", message(Some("key"))).await.unwrap();
    drop(outbox);
    let new = messages(dir.path()).pop().unwrap();
    let name = new.file_name().unwrap().to_owned();
    // Back to where a crash behind the commit point leaves it, and another one before it.
    fs::rename(&new, dir.path().join("tmp").join(&name)).unwrap();
    fs::write(dir.path().join("tmp/0123456789abcdef0123456789abcdef"), "half a mess").unwrap();
    fs::write(dir.path().join("tmp/other"), "another program's").unwrap();

    let outbox = open(dir.path());
    assert_eq!(messages(dir.path()), [new]);
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 1);
    let again = outbox.send("component", message(Some("key"))).await.unwrap();
    assert_eq!((again.sent, again.message_id), (false, receipt.message_id));
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let dir = TempDir::new().unwrap();
    let outbox = open(dir.path());
    let error = Outbox::open(dir.path(), FROM, Arc::new(SystemClock)).err().unwrap();
    assert!(matches!(error, Error::Unavailable { .. }) && error.to_string().contains("in use"), "{error}");
    drop(outbox);
    open(dir.path());
}

#[test]
fn the_sender_must_be_an_address() {
    let dir = TempDir::new().unwrap();
    let error = Outbox::open(dir.path(), "nobody", Arc::new(SystemClock)).err().unwrap();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    Outbox::open(dir.path(), "Tessera <tessera@localhost>", Arc::new(SystemClock)).unwrap();
}

#[tokio::test]
async fn what_another_program_moved_or_put_there_is_listed_too() {
    let dir = TempDir::new().unwrap();
    let outbox = open(dir.path());
    outbox.send("component", message(None)).await.unwrap();
    let file = messages(dir.path()).pop().unwrap();
    let id = file.file_name().unwrap().to_str().unwrap().to_owned();
    fs::rename(&file, dir.path().join("cur").join(format!("{id}:2,S"))).unwrap();
    fs::write(dir.path().join("cur/1.M2.host:2,"), "To: a@example.net\nSubject: =?utf-8?q?=C3=A9?=\n\nHello.\n")
        .unwrap();
    fs::write(dir.path().join("cur/odd name"), "").unwrap();
    fs::create_dir(dir.path().join("cur/directory")).unwrap();
    fs::write(dir.path().join("new/garbage"), [0xFF; 100]).unwrap();
    let all = outbox.list(None, 10).await.unwrap();
    assert_eq!(all.cursor, None);
    let mut ids: Vec<_> = all.messages.iter().map(|summary| summary.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(
        ids,
        ["1.M2.host", &id, "garbage"]
            .iter()
            .copied()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    let foreign = all.messages.iter().find(|summary| summary.id == "1.M2.host").unwrap();
    assert_eq!((foreign.subject.as_str(), foreign.to.as_slice()), ("é", &["a@example.net".to_owned()][..]));
    assert!(outbox.read(&id).await.unwrap().ends_with(b"Hello.\r\n"));
    for bad in ["../.lock", "directory", "odd name", "0123456789abcdef0123456789abcdef:2,S", ""] {
        assert!(outbox.read(bad).await.is_err(), "{bad}");
    }
}

/// A clock that stands until it is set.
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn keys_are_remembered_for_the_window_and_not_for_ever() {
    let dir = TempDir::new().unwrap();
    let start = SystemClock.now();
    let clock = Arc::new(Hand(AtomicU64::new(start.0)));
    let outbox = Outbox::open(dir.path(), FROM, clock.clone()).unwrap();
    assert!(outbox.send("component", message(Some("key"))).await.unwrap().sent);
    clock.0.store(start.saturating_add(IDEMPOTENCY_WINDOW).0, Ordering::Relaxed);
    assert!(!outbox.send("component", message(Some("key"))).await.unwrap().sent);
    let later = start.saturating_add(IDEMPOTENCY_WINDOW + Duration::from_secs(3 * 24 * 3600));
    clock.0.store(later.0, Ordering::Relaxed);
    outbox.send("component", message(None)).await.unwrap();
    assert_eq!(fs::read_dir(dir.path().join("sent")).unwrap().count(), 0);
}
