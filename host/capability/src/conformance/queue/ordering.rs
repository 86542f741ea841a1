//! Ordering keys.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;

use super::{
    DAY, MEDIUM, SHORT, Shared, WAIT, assert_none, bodies, body, bury, declare, drain, group, keyed, message, publish,
};
use crate::queue::Message;
use crate::time::Timestamp;

/// A broker with messages 1, 2 and 3 of one ordering key; false if it does not do ordering.
async fn three(broker: &Shared) -> bool {
    if !broker.capabilities().ordering {
        return false;
    }
    declare(broker, &[("workers", &["video"])]).await;
    for body in ["1", "2", "3"] {
        publish(broker, "video", keyed(body, "key")).await;
    }
    true
}

/// Receives the only message there is to receive.
async fn only(broker: &Shared, expected: &str, lease: Duration) -> crate::queue::Delivery {
    let mut received = broker.receive(&group("workers"), 10, lease, WAIT).await.unwrap();
    assert_eq!(bodies(&received), [expected]);
    received.remove(0)
}

/// Messages of a queue that share an ordering key are handled one after another, in the order they
/// were published.
pub async fn an_ordering_key_is_handled_one_after_another(broker: Shared) {
    if !three(&broker).await {
        return;
    }
    for expected in ["1", "2", "3"] {
        let delivery = only(&broker, expected, DAY).await;
        assert_none(&broker, "workers").await;
        broker.acknowledge(&group("workers"), &delivery.receipt).await.unwrap();
    }
    publish(&broker, "video", keyed("4", "key")).await;
    drain(&broker, "workers", 1).await;
}

/// A message waiting for its retry holds back those behind it.
pub async fn a_retry_holds_back_those_behind(broker: Shared) {
    if !three(&broker).await {
        return;
    }
    let first = only(&broker, "1", DAY).await;
    broker.retry(&group("workers"), &first.receipt, MEDIUM, "again").await.unwrap();
    assert_none(&broker, "workers").await;
    let depth = broker.depth(&group("workers")).await.unwrap();
    assert_eq!((depth.ready, depth.delayed), (0, 3));
    assert_eq!(bodies(&drain(&broker, "workers", 3).await), ["1", "2", "3"]);
}

/// A message whose lease ran out comes before those behind it.
pub async fn an_expired_lease_holds_back_those_behind(broker: Shared) {
    if !three(&broker).await {
        return;
    }
    only(&broker, "1", SHORT).await;
    assert_eq!(only(&broker, "1", SHORT).await.attempt, 2);
    assert_eq!(bodies(&drain(&broker, "workers", 3).await), ["1", "2", "3"]);
}

/// A released message stays in front of those behind it.
pub async fn a_released_message_stays_in_front(broker: Shared) {
    if !three(&broker).await {
        return;
    }
    let first = only(&broker, "1", DAY).await;
    broker.release(&group("workers"), &first.receipt).await.unwrap();
    assert_eq!(bodies(&drain(&broker, "workers", 3).await), ["1", "2", "3"]);
}

/// A message waiting for its `not_before` holds back those behind it, whose own time counts too.
pub async fn a_message_waiting_for_its_time_holds_back_those_behind(broker: Shared) {
    if !broker.capabilities().ordering || !broker.capabilities().delay {
        return;
    }
    declare(&broker, &[("workers", &["video"])]).await;
    let now = Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
    let at = |time, body| Message { not_before: Some(now.saturating_add(time)), ..keyed(body, "key") };
    publish(&broker, "video", at(MEDIUM, "1")).await;
    publish(&broker, "video", keyed("2", "key")).await;
    publish(&broker, "video", at(DAY, "3")).await;
    publish(&broker, "video", keyed("4", "key")).await;
    assert_none(&broker, "workers").await;
    assert_eq!(bodies(&drain(&broker, "workers", 2).await), ["1", "2"]);
    assert_eq!(broker.depth(&group("workers")).await.unwrap().delayed, 2);
}

/// A message that was given up lets the next one through.
pub async fn a_buried_message_lets_the_next_through(broker: Shared) {
    if !three(&broker).await {
        return;
    }
    assert_eq!(body(&bury(&broker, "workers", "broken").await), "1");
    assert_eq!(bodies(&drain(&broker, "workers", 2).await), ["2", "3"]);
}

/// Messages with other ordering keys, or without one, pass by.
pub async fn other_ordering_keys_are_not_held_back(broker: Shared) {
    if !three(&broker).await {
        return;
    }
    publish(&broker, "video", keyed("4", "other")).await;
    publish(&broker, "video", message("5")).await;
    publish(&broker, "video", message("6")).await;
    let received = broker.receive(&group("workers"), 10, DAY, WAIT).await.unwrap();
    assert_eq!(received.iter().map(body).collect::<HashSet<_>>(), HashSet::from(["1", "4", "5", "6"]));
    assert_none(&broker, "workers").await;
}

/// However many receivers compete, retry and release, each ordering key is handled strictly in
/// order, and only one of its messages at a time.
pub async fn competing_receivers_keep_an_ordering_key_in_order(broker: Shared) {
    const KEYS: usize = 4;
    const EACH: usize = 12;
    if !broker.capabilities().ordering {
        return;
    }
    declare(&broker, &[("workers", &["video"])]).await;
    let handled: Arc<Mutex<HashMap<String, Vec<usize>>>> = Arc::default();
    let busy: Arc<Mutex<HashSet<String>>> = Arc::default();
    let mut tasks = JoinSet::new();
    for receiver in 0..5 {
        let (broker, handled, busy) = (broker.clone(), handled.clone(), busy.clone());
        tasks.spawn(async move {
            let workers = group("workers");
            for turn in receiver.. {
                let received = broker.receive(&workers, 2, DAY, MEDIUM).await.unwrap();
                if received.is_empty() {
                    break;
                }
                for delivery in received {
                    let key = delivery.message.ordering_key.clone().unwrap();
                    assert!(busy.lock().unwrap().insert(key.clone()), "two messages of `{key}` are leased");
                    tokio::task::yield_now().await;
                    let index: usize = body(&delivery).parse().unwrap();
                    let failing = delivery.attempt == 1 && (index + turn).is_multiple_of(4);
                    if !failing {
                        handled.lock().unwrap().entry(key.clone()).or_default().push(index);
                    }
                    // The key is free once the settlement is on its way, not after its answer.
                    busy.lock().unwrap().remove(&key);
                    if failing {
                        broker.retry(&workers, &delivery.receipt, Duration::from_millis(5), "again").await.unwrap();
                    } else {
                        broker.acknowledge(&workers, &delivery.receipt).await.unwrap();
                    }
                }
            }
        });
    }
    for index in 0..EACH {
        for key in 0..KEYS {
            publish(&broker, "video", keyed(&index.to_string(), &format!("key {key}"))).await;
        }
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    let handled = handled.lock().unwrap();
    assert_eq!(handled.len(), KEYS);
    for (key, order) in handled.iter() {
        assert_eq!(*order, (0..EACH).collect::<Vec<_>>(), "{key}");
    }
}

/// A replayed dead letter still excludes others of its ordering key.
pub async fn a_replayed_message_keeps_to_its_ordering_key(broker: Shared) {
    if !three(&broker).await {
        return;
    }
    let first = bury(&broker, "workers", "broken").await;
    let second = only(&broker, "2", DAY).await;
    broker.replay(&group("workers"), &first.id).await.unwrap();
    assert_none(&broker, "workers").await;
    broker.acknowledge(&group("workers"), &second.receipt).await.unwrap();
    let mut left = HashSet::new();
    for _ in 0..2 {
        let received = broker.receive(&group("workers"), 10, DAY, WAIT).await.unwrap();
        assert_eq!(received.len(), 1, "two messages of one ordering key are leased");
        left.insert(body(&received[0]).to_owned());
        broker.acknowledge(&group("workers"), &received[0].receipt).await.unwrap();
    }
    assert_eq!(left, HashSet::from(["1", "3"].map(String::from)));
}
