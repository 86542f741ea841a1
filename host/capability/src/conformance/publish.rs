//! The suite of publishing within a commit: what a [`kv::Store`] does that can publish, natively or
//! through [`crate::outbox::Outbox`]. Each case needs a broker of its own, because it declares.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::queue::{DAY, WAIT, declare, drain, group, message, name};
use super::unique;
use crate::kv::{self, Check, Commit, Key, Operation};
use crate::queue::{Broker, Message, MessageId, Publication};
use crate::{Error, Result};

/// The tests of a store that can publish: one for each case of this suite.
///
/// `$make` is an `async fn() -> Option<(Arc<dyn kv::Store>, Arc<dyn queue::Broker>, G)>` that makes
/// a fresh broker each time; `G` is kept until the case ended, and `None` skips the case because a
/// service is missing.
#[macro_export]
macro_rules! kv_publish_suite {
    ($make:expr) => {
        $crate::kv_publish_suite! { @cases $make;
            a_commit_publishes_what_it_says
            a_commit_answers_an_id_for_each_publication_in_order
            a_failed_check_publishes_nothing
            a_failed_counter_publishes_nothing
            a_publication_to_nobody_applies_nothing
            one_refused_publication_refuses_the_whole_commit
            a_publication_is_there_if_and_only_if_its_commit_is
            a_message_id_is_published_once
            every_group_receives_a_commits_message
            what_a_commit_published_leaves_no_trace_in_the_store
        }
    };
    (@cases $make:expr; $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let Some((store, broker, _guard)) = $make().await else { return };
            $crate::conformance::publish::$case(store, broker).await;
        }
    )*};
}

type Store = Arc<dyn kv::Store>;
type Queues = Arc<dyn Broker>;

fn key() -> Key {
    Key::new(unique()).unwrap()
}

fn set(key: &Key, value: &'static str) -> Operation {
    Operation::Set { key: key.clone(), value: value.into(), time_to_live: None }
}

fn publish(queue: &str, message: Message) -> Operation {
    Operation::Publish(Publication { queue: name(queue), message, id: None })
}

async fn apply(store: &Store, checks: Vec<Check>, operations: Vec<Operation>) -> Result<Vec<MessageId>> {
    store.commit(Commit { checks, operations }).await.map(|committed| committed.messages)
}

async fn value(store: &Store, key: &Key) -> Option<String> {
    let entry = store.get(key).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

/// A store of this suite says that it can publish; the message arrives unchanged.
pub async fn a_commit_publishes_what_it_says(store: Store, broker: Queues) {
    assert!(store.capabilities().publish);
    declare(&broker, &[("workers", &["video"])]).await;
    let key = key();
    let sent = Message {
        content_type: Some("text/plain".into()),
        headers: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        ..message("one")
    };
    let ids = apply(&store, vec![], vec![set(&key, "queued"), publish("video", sent.clone())]).await.unwrap();
    let received = broker.receive(&group("workers"), 10, DAY, WAIT).await.unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!((&received[0].id, &received[0].message), (&ids[0], &sent));
    assert_eq!(value(&store, &key).await.unwrap(), "queued");
}

/// `committed.messages` has one id for each publication, in their order.
pub async fn a_commit_answers_an_id_for_each_publication_in_order(store: Store, broker: Queues) {
    declare(&broker, &[("workers", &["#"])]).await;
    let key = key();
    let operations =
        vec![publish("a", message("1")), set(&key, "x"), publish("b", message("2")), publish("a", message("3"))];
    let ids = apply(&store, vec![], operations).await.unwrap();
    assert_eq!(ids.len(), 3);
    let received = drain(&broker, "workers", 3).await;
    for (id, (queue, body)) in ids.iter().zip([("a", "1"), ("b", "2"), ("a", "3")]) {
        let delivery = received.iter().find(|delivery| delivery.id == *id).unwrap();
        assert_eq!((delivery.queue.as_str(), &delivery.message.body[..]), (queue, body.as_bytes()));
    }
    assert!(apply(&store, vec![], vec![set(&key, "y")]).await.unwrap().is_empty());
}

/// With a failed check nothing is applied and nothing is published.
pub async fn a_failed_check_publishes_nothing(store: Store, broker: Queues) {
    declare(&broker, &[("workers", &["video"])]).await;
    let (taken, key) = (key(), key());
    apply(&store, vec![], vec![set(&taken, "1")]).await.unwrap();
    let checks = vec![Check { key: taken, version: None }];
    let result = apply(&store, checks, vec![publish("video", message("1")), set(&key, "x")]).await;
    assert!(matches!(result, Err(Error::Conflict)), "{result:?}");
    nothing_happened(&store, &broker, &key).await;
}

/// With a counter that cannot be added to nothing is applied and nothing is published.
pub async fn a_failed_counter_publishes_nothing(store: Store, broker: Queues) {
    declare(&broker, &[("workers", &["video"])]).await;
    let (text, key) = (key(), key());
    apply(&store, vec![], vec![set(&text, "text")]).await.unwrap();
    let operations = vec![publish("video", message("1")), set(&key, "x"), Operation::Add { key: text, delta: 1 }];
    let result = apply(&store, vec![], operations).await;
    assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    nothing_happened(&store, &broker, &key).await;
}

async fn nothing_happened(store: &Store, broker: &Queues, key: &Key) {
    assert_eq!(value(store, key).await, None);
    assert_eq!(broker.depth(&group("workers")).await.unwrap(), Default::default());
}

/// A publication to a queue without subscribers refuses the commit as not found.
pub async fn a_publication_to_nobody_applies_nothing(store: Store, broker: Queues) {
    declare(&broker, &[("workers", &["video"])]).await;
    let key = key();
    let result = apply(&store, vec![], vec![set(&key, "x"), publish("audio", message("1"))]).await;
    let Err(Error::Publish(refusal)) = result else { panic!("{result:?}") };
    assert!(matches!(*refusal, Error::NotFound(_)), "{refusal:?}");
    nothing_happened(&store, &broker, &key).await;
}

/// If one publication of several is refused, none is published.
pub async fn one_refused_publication_refuses_the_whole_commit(store: Store, broker: Queues) {
    declare(&broker, &[("workers", &["video"])]).await;
    let key = key();
    let operations = vec![publish("video", message("1")), set(&key, "x"), publish("nobody", message("2"))];
    let result = apply(&store, vec![], operations).await;
    assert!(matches!(result, Err(Error::Publish(_))), "{result:?}");
    nothing_happened(&store, &broker, &key).await;
}

/// Of competing commits the one that wins publishes, and the others do not.
pub async fn a_publication_is_there_if_and_only_if_its_commit_is(store: Store, broker: Queues) {
    declare(&broker, &[("workers", &["video"])]).await;
    let keys: Vec<Key> = (0..5).map(|_| key()).collect();
    let mut tasks = JoinSet::new();
    for task in 0..40 {
        let (store, key) = (store.clone(), keys[task % keys.len()].clone());
        tasks.spawn(async move {
            let body = format!("{task}");
            let operations = vec![
                Operation::Set { key: key.clone(), value: body.clone().into(), time_to_live: None },
                publish("video", message(&body)),
            ];
            match apply(&store, vec![Check { key, version: None }], operations).await {
                Ok(_) | Err(Error::Conflict) => {}
                Err(error) => panic!("{error:?}"),
            }
        });
    }
    tasks.join_all().await;
    let mut published: Vec<String> = drain(&broker, "workers", keys.len())
        .await
        .into_iter()
        .map(|delivery| String::from_utf8(delivery.message.body.to_vec()).unwrap())
        .collect();
    let mut applied = Vec::new();
    for key in &keys {
        applied.push(value(&store, key).await.unwrap());
    }
    published.sort();
    applied.sort();
    assert_eq!(published, applied);
}

/// A publication that brings its id is stored once, however often it is committed.
pub async fn a_message_id_is_published_once(store: Store, broker: Queues) {
    declare(&broker, &[("workers", &["video"])]).await;
    let id = MessageId(unique());
    let publication = Publication { queue: name("video"), message: message("1"), id: Some(id.clone()) };
    for _ in 0..3 {
        let ids = apply(&store, vec![], vec![Operation::Publish(publication.clone())]).await.unwrap();
        assert_eq!(ids, std::slice::from_ref(&id));
    }
    assert_eq!(drain(&broker, "workers", 1).await[0].id, id);
}

/// A commit's message goes to every subscribed group.
pub async fn every_group_receives_a_commits_message(store: Store, broker: Queues) {
    declare(&broker, &[("one", &["video"]), ("two", &["#"]), ("three", &["audio"])]).await;
    let ids = apply(&store, vec![], vec![publish("video", message("1"))]).await.unwrap();
    for group in ["one", "two"] {
        assert_eq!(drain(&broker, group, 1).await[0].id, ids[0]);
    }
    assert_eq!(broker.depth(&group("three")).await.unwrap(), Default::default());
}

/// Nothing of a publication that was passed on stays among the keys, the host's own included.
pub async fn what_a_commit_published_leaves_no_trace_in_the_store(store: Store, broker: Queues) {
    declare(&broker, &[("workers", &["video"])]).await;
    let body = unique();
    apply(&store, vec![], vec![publish("video", message(&body))]).await.unwrap();
    drain(&broker, "workers", 1).await;
    let range = kv::Range::prefix(vec![kv::RESERVED]);
    let page = store.list(kv::List { range, limit: 1000, reverse: false, cursor: None }).await.unwrap();
    let holds = |value: &[u8]| value.windows(body.len()).any(|window| window == body.as_bytes());
    assert!(page.entries.iter().all(|entry| !holds(&entry.value)), "the publication is still in the store");
}
