//! Receiving, settling and counting.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;

use super::super::{DEADLINE, MARGIN};
use super::{
    DAY, MEDIUM, QUIET, SHORT, Shared, WAIT, assert_none, bodies, body, bury, declare, drain, group, keyed, message,
    publish, ready, receive,
};
use crate::queue::{Depth, Message, MessageId};
use crate::time::Timestamp;

/// How late a wake-up may be on a busy machine and still be no timer's doing.
const PROMPT: Duration = Duration::from_secs(10);

/// A receiver gets no more than it asks for.
pub async fn at_most_the_maximum_is_received(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    for index in 0..5 {
        publish(&broker, "video", message(&index.to_string())).await;
    }
    for (max, expected) in [(1, vec!["0"]), (3, vec!["1", "2", "3"]), (10, vec!["4"])] {
        let received = broker.receive(&group("workers"), max, DAY, WAIT).await.unwrap();
        assert_eq!(bodies(&received), expected);
    }
}

/// A receiver of an empty group waits and then answers none; without a wait it answers at once.
pub async fn an_empty_group_receives_nothing_after_the_wait(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let start = Instant::now();
    assert!(broker.receive(&group("workers"), 1, DAY, SHORT).await.unwrap().is_empty());
    assert!(start.elapsed() + MARGIN >= SHORT, "it waited for {:?} only", start.elapsed());
    let start = Instant::now();
    assert!(broker.receive(&group("workers"), 1, DAY, Duration::ZERO).await.unwrap().is_empty());
    assert!(start.elapsed() < PROMPT);
}

/// A waiting receiver answers when a message comes, not when its wait is over.
pub async fn a_waiting_receiver_wakes_early(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    for round in 0..3 {
        let waiting = tokio::spawn({
            let broker = broker.clone();
            async move { broker.receive(&group("workers"), 1, DAY, DAY).await.unwrap() }
        });
        tokio::time::sleep(QUIET).await;
        assert!(!waiting.is_finished());
        publish(&broker, "video", message(&round.to_string())).await;
        let received = tokio::time::timeout(PROMPT, waiting).await.expect("the receiver did not wake").unwrap();
        assert_eq!(bodies(&received), [round.to_string()]);
    }
}

/// Of several waiting receivers each gets one of several messages.
pub async fn every_waiting_receiver_wakes(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let mut receivers = JoinSet::new();
    for _ in 0..5 {
        let broker = broker.clone();
        receivers.spawn(async move { broker.receive(&group("workers"), 1, DAY, DAY).await.unwrap() });
    }
    tokio::time::sleep(QUIET).await;
    for index in 0..5 {
        publish(&broker, "video", message(&index.to_string())).await;
    }
    let received = tokio::time::timeout(PROMPT, receivers.join_all()).await.expect("a receiver did not wake");
    let ids: HashSet<MessageId> = received.iter().flatten().map(|delivery| delivery.id.clone()).collect();
    assert_eq!(ids.len(), 5);
}

/// A waiting receiver answers when a retry, an expired lease or a not-before becomes due.
pub async fn a_waiting_receiver_wakes_for_a_retry(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let first = receive(&broker, "workers", DAY).await;
    broker.retry(&group("workers"), &first.receipt, SHORT, "again").await.unwrap();
    for attempt in [2, 3] {
        let received = tokio::time::timeout(PROMPT, broker.receive(&group("workers"), 1, SHORT, DAY)).await;
        assert_eq!(received.expect("the receiver did not wake").unwrap()[0].attempt, attempt);
    }
}

/// While leases hold, each message is handled by one of the competing receivers, once.
pub async fn competing_receivers_handle_each_message_once(broker: Shared) {
    const COUNT: usize = 120;
    declare(&broker, &[("workers", &["video"])]).await;
    let mut tasks = JoinSet::new();
    for receiver in 0..6 {
        let broker = broker.clone();
        tasks.spawn(async move {
            let mut handled = Vec::new();
            loop {
                let received = broker.receive(&group("workers"), 1 + receiver % 3, DAY, MEDIUM).await.unwrap();
                if received.is_empty() {
                    return handled;
                }
                for delivery in received {
                    assert_eq!(delivery.attempt, 1);
                    broker.acknowledge(&group("workers"), &delivery.receipt).await.unwrap();
                    handled.push(delivery.id);
                }
            }
        });
    }
    let mut published = HashSet::new();
    for index in 0..COUNT {
        published.insert(publish(&broker, "video", message(&index.to_string())).await);
    }
    let handled = tasks.join_all().await.concat();
    assert_eq!(handled.len(), COUNT);
    assert_eq!(handled.into_iter().collect::<HashSet<_>>(), published);
    assert_eq!(broker.depth(&group("workers")).await.unwrap(), Depth::default());
}

/// Dropping a receive call at any moment loses nothing: what it leased comes back.
pub async fn a_dropped_receive_loses_nothing(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let mut published = HashSet::new();
    for index in 0..20 {
        let waiting = tokio::spawn({
            let broker = broker.clone();
            async move { broker.receive(&group("workers"), 1, SHORT, DAY).await }
        });
        tokio::time::sleep(Duration::from_millis(index % 5)).await;
        published.insert(publish(&broker, "video", message(&index.to_string())).await);
        waiting.abort();
    }
    let mut received = HashSet::new();
    let start = Instant::now();
    while received.len() < published.len() {
        assert!(start.elapsed() < DEADLINE, "{} of {} came back", received.len(), published.len());
        for delivery in broker.receive(&group("workers"), 5, DAY, MEDIUM).await.unwrap() {
            broker.acknowledge(&group("workers"), &delivery.receipt).await.unwrap();
            assert!(received.insert(delivery.id), "a message came back after it was acknowledged");
        }
    }
    assert_eq!(received, published);
}

/// An acknowledged message is never delivered again.
pub async fn an_acknowledged_message_is_gone(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let delivery = receive(&broker, "workers", DAY).await;
    broker.acknowledge(&group("workers"), &delivery.receipt).await.unwrap();
    assert_none(&broker, "workers").await;
    assert_eq!(broker.depth(&group("workers")).await.unwrap(), Depth::default());
}

/// Each group is done with a message by itself.
pub async fn acknowledging_in_one_group_leaves_the_others(broker: Shared) {
    declare(&broker, &[("one", &["video"]), ("two", &["video"])]).await;
    let id = publish(&broker, "video", message("1")).await;
    drain(&broker, "one", 1).await;
    bury(&broker, "two", "broken").await;
    broker.replay(&group("two"), &id).await.unwrap();
    let received = drain(&broker, "two", 1).await;
    assert_eq!((&received[0].id, bodies(&received)), (&id, vec!["1"]));
}

/// A message is not delivered before its `not_before`, and then it is.
pub async fn a_message_is_not_delivered_before_its_time(broker: Shared) {
    if !broker.capabilities().delay {
        return;
    }
    declare(&broker, &[("workers", &["video"])]).await;
    let start = Instant::now();
    let now = Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
    let later = Message { not_before: Some(now.saturating_add(MEDIUM)), ..message("later") };
    let tomorrow = Message { not_before: Some(now.saturating_add(DAY)), ..message("tomorrow") };
    publish(&broker, "video", tomorrow).await;
    publish(&broker, "video", later).await;
    publish(&broker, "video", message("now")).await;
    assert_eq!(body(&receive(&broker, "workers", DAY).await), "now");
    assert_eq!(body(&receive(&broker, "workers", DAY).await), "later");
    assert!(start.elapsed() + MARGIN >= MEDIUM, "delivered after {:?} already", start.elapsed());
    assert_none(&broker, "workers").await;
    assert_eq!(broker.depth(&group("workers")).await.unwrap().delayed, 1);
}

/// A `not_before` in the past means at once.
pub async fn a_time_in_the_past_means_at_once(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    for past in [0, 1_000_000_000_000] {
        publish(&broker, "video", Message { not_before: Some(Timestamp(past)), ..message("1") }).await;
        assert_eq!(broker.depth(&group("workers")).await.unwrap().ready, 1);
        drain(&broker, "workers", 1).await;
    }
}

/// A retried message is deliverable again after its delay, as the next attempt.
pub async fn a_retry_waits_its_delay_and_is_the_next_attempt(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let first = receive(&broker, "workers", DAY).await;
    let start = Instant::now();
    broker.retry(&group("workers"), &first.receipt, SHORT, "again").await.unwrap();
    let second = receive(&broker, "workers", DAY).await;
    assert!(start.elapsed() + MARGIN >= SHORT, "delivered after {:?} already", start.elapsed());
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_eq!((&second.id, &second.message), (&first.id, &first.message));
    assert_eq!(second.first_published, first.first_published);
    assert_ne!(second.receipt, first.receipt);
    broker.retry(&group("workers"), &second.receipt, DAY, "again").await.unwrap();
    assert_none(&broker, "workers").await;
    assert_eq!(broker.depth(&group("workers")).await.unwrap().delayed, 1);
}

/// A retry without a delay is deliverable at once.
pub async fn a_retry_without_delay_is_delivered_at_once(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    for attempt in 1..=20 {
        let delivery = receive(&broker, "workers", DAY).await;
        assert_eq!(delivery.attempt, attempt);
        broker.retry(&group("workers"), &delivery.receipt, Duration::ZERO, "again").await.unwrap();
    }
}

/// A released delivery is deliverable at once, and its attempt does not count.
pub async fn a_released_attempt_does_not_count(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    for _ in 0..3 {
        let delivery = receive(&broker, "workers", DAY).await;
        assert_eq!(delivery.attempt, 1);
        broker.release(&group("workers"), &delivery.receipt).await.unwrap();
    }
    let delivery = receive(&broker, "workers", DAY).await;
    broker.retry(&group("workers"), &delivery.receipt, Duration::ZERO, "again").await.unwrap();
    for _ in 0..2 {
        let delivery = receive(&broker, "workers", DAY).await;
        assert_eq!(delivery.attempt, 2);
        broker.release(&group("workers"), &delivery.receipt).await.unwrap();
    }
    let delivery = receive(&broker, "workers", DAY).await;
    broker.bury(&group("workers"), &delivery.receipt, "broken").await.unwrap();
    let letters = super::letters(&broker, "workers").await;
    assert_eq!(letters[0].attempts, 2);
    assert_eq!(letters[0].history.iter().map(|failure| failure.attempt).collect::<Vec<_>>(), [1, 2]);
}

/// `depth` counts what is ready, delayed, in flight and dead, each message in one place.
pub async fn depth_counts_what_a_group_holds(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    for index in 0..6 {
        publish(&broker, "video", message(&index.to_string())).await;
    }
    let counts = || async {
        let depth = broker.depth(&group("workers")).await.unwrap();
        (depth.ready, depth.delayed, depth.in_flight, depth.dead)
    };
    assert_eq!(counts().await, (6, 0, 0, 0));
    let leased = broker.receive(&group("workers"), 4, DAY, WAIT).await.unwrap();
    assert_eq!(counts().await, (2, 0, 4, 0));
    broker.retry(&group("workers"), &leased[0].receipt, DAY, "later").await.unwrap();
    broker.bury(&group("workers"), &leased[1].receipt, "broken").await.unwrap();
    broker.release(&group("workers"), &leased[2].receipt).await.unwrap();
    assert_eq!(counts().await, (3, 1, 1, 1));
    broker.acknowledge(&group("workers"), &leased[3].receipt).await.unwrap();
    assert_eq!(counts().await, (3, 1, 0, 1));
    broker.replay(&group("workers"), &leased[1].id).await.unwrap();
    assert_eq!(counts().await, (4, 1, 0, 0));
    if broker.capabilities().ordering {
        publish(&broker, "video", keyed("6", "key")).await;
        publish(&broker, "video", keyed("7", "key")).await;
        assert_eq!(counts().await, (5, 2, 0, 0));
    }
    // What is due counts as ready without anyone having received.
    for delivery in broker.receive(&group("workers"), 10, SHORT, WAIT).await.unwrap() {
        assert_ne!(delivery.id, leased[0].id);
    }
    ready(&broker, "workers").await;
}

/// `oldest` is when the oldest message that is not dead was accepted; none where there is none.
pub async fn the_oldest_is_the_first_accepted(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let oldest = || async { broker.depth(&group("workers")).await.unwrap().oldest };
    assert_eq!(oldest().await, None);
    publish(&broker, "video", message("1")).await;
    let first = oldest().await.unwrap();
    // The engine's clock has moved on when the second one is accepted.
    tokio::time::sleep(MARGIN).await;
    publish(&broker, "video", message("2")).await;
    assert_eq!(oldest().await, Some(first));
    let delivery = receive(&broker, "workers", DAY).await;
    assert_eq!(delivery.first_published, first);
    assert_eq!(oldest().await, Some(first), "a message in flight is not dead");
    broker.bury(&group("workers"), &delivery.receipt, "broken").await.unwrap();
    let second = oldest().await.unwrap();
    assert!(second > first);
    assert_eq!(drain(&broker, "workers", 1).await[0].first_published, second);
    assert_eq!(oldest().await, None);
}
