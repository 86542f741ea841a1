//! Blobs on plain files: the suite, and what only a local engine can show: what is on disk.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use tempfile::TempDir;
use tessera_backends::files::Engine;
use tessera_capability::Error;
use tessera_capability::blob::{Key, PutOptions, Store};
use tessera_capability::time::SystemClock;

fn open(dir: &Path) -> Engine {
    Engine::open(dir, Arc::new(SystemClock)).unwrap()
}

async fn make() -> Option<(Arc<dyn Store>, TempDir)> {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).store("label");
    Some((store, dir))
}

tessera_capability::blob_suite!(make);

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

async fn put(store: &Arc<dyn Store>, name: &str, content: &'static str) {
    let body = stream::iter([Ok(Bytes::from(content))]).boxed();
    store.put(&key(name), PutOptions::default(), body).await.unwrap();
}

/// How many data files there are.
fn files(dir: &Path) -> usize {
    fs::read_dir(dir.join("data")).unwrap().count()
}

/// Waits until there are so many data files.
async fn until(dir: &Path, count: usize) {
    let start = Instant::now();
    while files(dir) != count {
        assert!(start.elapsed() < Duration::from_secs(30), "{} data files, not {count}", files(dir));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn labels_do_not_see_one_another() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    let (one, two) = (engine.store("a"), engine.store("a/b"));
    put(&one, "b/c", "one").await;
    put(&two, "c", "two").await;
    assert_eq!(one.read_at(&key("b/c"), 0, 10).await.unwrap(), "one");
    assert!(matches!(two.head(&key("b/c")).await, Err(Error::NotFound(_))));
    let listed = one.list("", None, 10).await.unwrap();
    assert_eq!(listed.objects.iter().map(|info| info.key.as_str()).collect::<Vec<_>>(), ["b/c"]);
    one.delete(&key("c")).await.unwrap();
    assert_eq!(two.read_at(&key("c"), 0, 10).await.unwrap(), "two");
}

#[tokio::test]
async fn objects_outlive_the_engine() {
    let dir = TempDir::new().unwrap();
    put(&open(dir.path()).store("label"), "a", "kept").await;
    let store = open(dir.path()).store("label");
    assert_eq!(store.read_at(&key("a"), 0, 10).await.unwrap(), "kept");
}

#[tokio::test]
async fn a_second_engine_is_kept_out() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    let error = Engine::open(dir.path(), Arc::new(SystemClock)).err().unwrap();
    assert!(matches!(error, Error::Unavailable { .. }) && error.to_string().contains("in use"), "{error}");
    drop(engine);
    open(dir.path());
}

#[tokio::test]
async fn leftovers_are_swept_and_other_files_are_not() {
    let dir = TempDir::new().unwrap();
    put(&open(dir.path()).store("label"), "a", "kept").await;
    let data = dir.path().join("data");
    fs::write(data.join("0123456789abcdef0123456789abcdef"), "an upload that was cut off").unwrap();
    fs::write(data.join("README"), "somebody else's").unwrap();
    let store = open(dir.path()).store("label");
    assert_eq!(store.read_at(&key("a"), 0, 10).await.unwrap(), "kept");
    assert_eq!(files(dir.path()), 2);
    assert!(data.join("README").exists());
}

#[tokio::test]
async fn what_is_not_an_object_takes_no_room() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).store("label");
    let chunk = || Ok(Bytes::from_static(&[7; 1 << 20]));

    // Failed.
    let failing = stream::iter([chunk(), chunk(), chunk(), Err(Error::Incomplete("cut off".into()))]);
    store.put(&key("a"), PutOptions::default(), failing.boxed()).await.unwrap_err();
    assert_eq!(files(dir.path()), 0);

    // Dropped.
    let (started, wait) = tokio::sync::oneshot::channel();
    let endless = stream::unfold((0, Some(started)), move |(count, mut started)| async move {
        if count == 5 {
            let _ = started.take().unwrap().send(());
            futures::future::pending::<()>().await;
        }
        Some((chunk(), (count + 1, started)))
    });
    let putting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.put(&key("a"), PutOptions::default(), endless.boxed()).await })
    };
    wait.await.unwrap();
    until(dir.path(), 1).await;
    putting.abort();
    until(dir.path(), 0).await;

    // Refused.
    put(&store, "a", "first").await;
    let body = stream::iter([chunk()]).boxed();
    let options = PutOptions { if_absent: true, ..PutOptions::default() };
    assert!(matches!(store.put(&key("a"), options, body).await, Err(Error::Conflict)));
    until(dir.path(), 1).await;

    // Replaced, copied, deleted.
    put(&store, "a", "second").await;
    assert_eq!(files(dir.path()), 1);
    store.copy(&key("a"), &key("b")).await.unwrap();
    assert_eq!(files(dir.path()), 2);
    store.delete(&key("a")).await.unwrap();
    store.delete(&key("b")).await.unwrap();
    assert_eq!(files(dir.path()), 0);
}

#[tokio::test]
async fn a_missing_data_file_is_an_internal_error() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).store("label");
    put(&store, "a", "content").await;
    for entry in fs::read_dir(dir.path().join("data")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert!(matches!(store.get(&key("a"), None).await.err(), Some(Error::Internal { .. })));
    assert!(matches!(store.read_at(&key("a"), 0, 1).await, Err(Error::Internal { .. })));
}

/// The most memory this process has used until now, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Run it alone: `cargo test --release -p tessera-backends --test conformance -- --ignored
/// --nocapture a_gibibyte`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, to be run alone"]
async fn a_gibibyte_takes_little_memory_at_the_speed_of_the_disk() {
    use std::io::Write;
    const CHUNKS: u64 = 16 << 10;
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).store("label");

    let start = Instant::now();
    let mut file = fs::File::create(dir.path().join("plain")).unwrap();
    for _ in 0..CHUNKS / 16 {
        file.write_all(&[7; 1 << 20]).unwrap();
    }
    file.sync_all().unwrap();
    println!("a plain file, written and synced: {:.2} s", start.elapsed().as_secs_f64());
    fs::remove_file(dir.path().join("plain")).unwrap();

    let before = peak();
    let start = Instant::now();
    let body = stream::iter((0..CHUNKS).map(|_| Ok(Bytes::from(vec![7; 64 << 10])))).boxed();
    let info = store.put(&key("a"), PutOptions::default(), body).await.unwrap();
    println!("put: {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(info.size, 1 << 30);

    let start = Instant::now();
    let (_, mut body) = store.get(&key("a"), None).await.unwrap();
    let mut size = 0;
    while let Some(chunk) = body.next().await {
        size += chunk.unwrap().len();
    }
    println!("get: {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(size, 1 << 30);

    let grown = peak() - before;
    println!("memory: {grown} KiB more at the most");
    assert!(grown < 16 << 10);
}
