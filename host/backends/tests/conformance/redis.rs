//! Redis: the key-value and queue suites, publishing through the outbox, and what a restart of the
//! server does. One server for all cases, each with a namespace of its own.

#[path = "redis/server.rs"]
mod server;
#[path = "redis/tls.rs"]
mod tls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tessera_backends::redis::Engine;
use tessera_capability::kv::{self, Commit, Key, Operation};
use tessera_capability::outbox::Outbox;
use tessera_capability::queue::{self, Message, Publication, Subscription};
use tessera_capability::time::SystemClock;
use tessera_capability::{Error, Result};

use server::{Server, available};

/// A connection to the shared server, in a namespace of its own.
async fn engine() -> Option<Engine> {
    let url = server::shared()?;
    let namespace = format!("test-{:016x}", rand::random::<u64>());
    Some(Engine::connect(&url.into(), &namespace).await.unwrap())
}

mod kv_suite {
    async fn make() -> Option<(std::sync::Arc<dyn super::kv::Store>, ())> {
        Some((super::engine().await?.store("jobs"), ()))
    }

    tessera_capability::kv_suite!(make);
}

mod queue_suite {
    async fn make() -> Option<(std::sync::Arc<dyn super::queue::Broker>, ())> {
        Some((super::engine().await?.broker(), ()))
    }

    tessera_capability::queue_suite!(make);
}

/// Two processes on one server share the work; here two engines do.
mod two_connections {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_publisher_wakes_the_receivers_of_another_connection() {
        let Some(url) = server::shared() else { return };
        let namespace = format!("test-{:016x}", rand::random::<u64>());
        let here = Engine::connect(&url.into(), &namespace).await.unwrap().broker();
        let there = Engine::connect(&url.into(), &namespace).await.unwrap().broker();
        here.declare(&[subscription("workers", "video")]).await.unwrap();
        let day = Duration::from_secs(86_400);
        let mut waits = Vec::new();
        for _ in 0..10 {
            let waiting = tokio::spawn({
                let there = there.clone();
                async move {
                    let received = there.receive(&"workers".parse().unwrap(), 1, day, day).await.unwrap();
                    (received.len(), Instant::now())
                }
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            let published = Instant::now();
            here.publish(publication("1")).await.unwrap();
            let (count, received) = waiting.await.unwrap();
            assert_eq!(count, 1);
            waits.push(received.saturating_duration_since(published));
        }
        waits.sort();
        // The timer that makes up for lost wake-ups takes up to a second: half of them come sooner.
        assert!(waits[waits.len() / 2] < Duration::from_millis(400), "receivers are not woken: {waits:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_publisher_follows_what_another_connection_declares() {
        let Some(url) = server::shared() else { return };
        let namespace = format!("test-{:016x}", rand::random::<u64>());
        let here = Engine::connect(&url.into(), &namespace).await.unwrap().broker();
        let there = Engine::connect(&url.into(), &namespace).await.unwrap().broker();
        here.declare(&[subscription("one", "video")]).await.unwrap();
        here.publish(publication("1")).await.unwrap();
        there.declare(&[subscription("one", "video"), subscription("two", "video")]).await.unwrap();
        here.publish(publication("2")).await.unwrap();
        assert_eq!(here.depth(&"one".parse().unwrap()).await.unwrap().ready, 2);
        assert_eq!(here.depth(&"two".parse().unwrap()).await.unwrap().ready, 1);
        there.declare(&[]).await.unwrap();
        assert!(matches!(here.publish(publication("3")).await, Err(Error::NotFound(_))));
    }
}

mod outbox_suite {
    use super::*;

    type Made = (Arc<dyn kv::Store>, Arc<dyn queue::Broker>, ());

    async fn make() -> Option<Made> {
        let engine = engine().await?;
        let broker = engine.broker();
        let store = Outbox::new(engine.store("jobs"), broker.clone(), Arc::new(SystemClock));
        Some((Arc::new(store), broker, ()))
    }

    tessera_capability::kv_publish_suite!(make);

    async fn make_store() -> Option<(Arc<dyn kv::Store>, ())> {
        let (store, _, guard) = make().await?;
        Some((store, guard))
    }

    mod as_a_store {
        use super::make_store;

        tessera_capability::kv_suite!(make_store);
    }
}

fn subscription(group: &str, pattern: &str) -> Subscription {
    Subscription { group: group.parse().unwrap(), patterns: vec![pattern.parse().unwrap()], max_depth: 1_000_000 }
}

fn publication(body: &str) -> Publication {
    let message = Message { body: body.to_owned().into(), ..Message::default() };
    Publication { queue: "video".parse().unwrap(), message, id: None }
}

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).unwrap()
}

fn set(name: &str, value: &str) -> Commit {
    let operation = Operation::Set { key: key(name), value: value.to_owned().into(), time_to_live: None };
    Commit { checks: vec![], operations: vec![operation] }
}

/// Tries until it works, passing over `Unavailable` only.
async fn eventually<T, F: Future<Output = Result<T>>>(mut attempt: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(Error::Unavailable { .. }) => assert!(start.elapsed() < Duration::from_secs(60), "still unavailable"),
            Err(error) => panic!("{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What was acknowledged is there after the server was killed and started again; meanwhile calls
/// are unavailable, and afterwards the same engine works again, a waiting receiver too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_unavailable_and_loses_nothing() {
    if !available() {
        return;
    }
    let mut server = Server::start(true);
    let engine = Engine::connect(&(&*server.url()).into(), "test").await.unwrap();
    let (store, broker) = (engine.store("jobs"), engine.broker());
    let workers = "workers".parse().unwrap();
    broker.declare(&[subscription("workers", "video")]).await.unwrap();
    for round in 0..3 {
        let mut writers = tokio::task::JoinSet::new();
        for task in 0..10 {
            let (store, broker) = (store.clone(), broker.clone());
            writers.spawn(async move {
                let mut acknowledged = Vec::new();
                for index in 0.. {
                    let name = format!("{round}/{task}/{index}");
                    let written = store.commit(set(&name, &name)).await.map(|_| ());
                    let published = broker.publish(publication(&name)).await.map(|_| ());
                    match written.and(published) {
                        Ok(()) => {}
                        Err(Error::Unavailable { .. }) => break,
                        Err(error) => panic!("{error:?}"),
                    }
                    acknowledged.push(name);
                }
                acknowledged
            });
        }
        // It is killed while they write, when some of it was acknowledged.
        let begun = key(&format!("{round}/0/1"));
        while eventually(|| store.get(&begun)).await.is_none() {}
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.kill();
        let acknowledged = writers.join_all().await.concat();
        assert!(!acknowledged.is_empty());
        let unavailable = store.get(&key("x")).await;
        assert!(matches!(unavailable, Err(Error::Unavailable { .. })), "{unavailable:?}");
        let unavailable = broker.publish(publication("x")).await;
        assert!(matches!(unavailable, Err(Error::Unavailable { .. })), "{unavailable:?}");
        server.restart();
        for name in &acknowledged {
            let key = key(name);
            let entry = eventually(|| store.get(&key)).await;
            assert_eq!(entry.expect("an acknowledged write is lost").value, name.as_bytes());
        }
        let mut bodies = std::collections::HashSet::new();
        loop {
            let day = Duration::from_secs(86_400);
            let received = eventually(|| broker.receive(&workers, 100, day, Duration::from_millis(100))).await;
            if received.is_empty() {
                break;
            }
            for delivery in received {
                broker.acknowledge(&workers, &delivery.receipt).await.unwrap();
                bodies.insert(String::from_utf8(delivery.message.body.to_vec()).unwrap());
            }
        }
        for name in &acknowledged {
            assert!(bodies.contains(name), "the acknowledged message {name} is lost");
        }
    }
}

/// A receiver that waits while the server restarts either says that it is unavailable, or goes on
/// and receives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_are_woken_again_after_a_restart() {
    if !available() {
        return;
    }
    let mut server = Server::start(true);
    let broker = Engine::connect(&(&*server.url()).into(), "test").await.unwrap().broker();
    let day = Duration::from_secs(86_400);
    broker.declare(&[subscription("workers", "video")]).await.unwrap();
    let waiting = tokio::spawn({
        let (broker, workers) = (broker.clone(), "workers".parse().unwrap());
        async move { eventually(|| broker.receive(&workers, 1, day, day)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.kill();
    server.restart();
    eventually(|| broker.publish(publication("1"))).await;
    let received = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    assert_eq!(received.len(), 1);
}

/// Neither errors nor `Debug` show the URL's password.
#[tokio::test]
async fn the_password_is_never_shown() {
    let secret = "s3cr3t-p4ssw0rd";
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut urls = vec![
        format!("redis://user:{secret}@127.0.0.1:{closed}"),
        format!("redis://user:{secret}@127.0.0.1:notaport"),
        format!("http://user:{secret}@127.0.0.1:{closed}"),
        format!("rediss://user:{secret}@127.0.0.1:{closed}"),
    ];
    if let Some(url) = server::shared() {
        urls.push(url.replace("redis://", &format!("redis://user:{secret}@")));
    }
    for (index, url) in urls.iter().enumerate() {
        let error = Engine::connect(&url.as_str().into(), "test").await.unwrap_err();
        let expected = if matches!(index, 1 | 2) {
            matches!(error, Error::Invalid(_))
        } else {
            matches!(error, Error::Unavailable { .. })
        };
        assert!(expected, "{error:?}");
        let mut shown = format!("{error:?} {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            shown.push_str(&format!(" {cause:?} {cause}"));
            source = cause.source();
        }
        assert!(!shown.contains(secret), "{shown}");
    }
    if let Some(engine) = engine().await {
        assert!(!format!("{engine:?}").contains("redis://"));
    }
}

/// A namespace that would reach into others' keys is refused.
#[tokio::test]
async fn a_namespace_is_a_word() {
    for namespace in ["", "a}b", "{a", "a b", "é"] {
        let result = Engine::connect(&"redis://127.0.0.1:1".into(), namespace).await;
        assert!(matches!(result, Err(Error::Invalid(_))), "{namespace:?}");
    }
}
