//! What operators do to a group: emptying it, replaying all its dead letters, pausing it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{
    DAY, QUIET, SHORT, Shared, WAIT, assert_full, assert_none, assert_not_found, bodies, bury, declare, drain, group,
    keyed, letters, message, publish, ready, receive, subscription, try_publish,
};
use crate::Error;
use crate::conformance::DEADLINE;
use crate::queue::{Depth, Message, Part, Purge};
use crate::time::{Clock, SystemClock};

/// A purge deletes what is ready and what is delayed, whatever it waits for, and answers how many.
pub async fn a_purge_deletes_what_waits(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    let later = SystemClock.now().saturating_add(DAY);
    publish(&broker, "video", message("retried")).await;
    let delivery = receive(&broker, "workers", DAY).await;
    broker.retry(&workers, &delivery.receipt, DAY, "later").await.unwrap();
    publish(&broker, "video", Message { not_before: Some(later), ..message("later") }).await;
    publish(&broker, "video", message("ready")).await;
    for body in ["first", "behind", "behind"] {
        publish(&broker, "video", keyed(body, "key")).await;
    }
    // A lease that ran out is no longer in flight.
    receive(&broker, "workers", SHORT).await;
    let start = Instant::now();
    while broker.depth(&workers).await.unwrap().in_flight > 0 {
        assert!(start.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(broker.purge(&workers, Purge::Messages).await.unwrap(), 6);
    assert_eq!(broker.depth(&workers).await.unwrap(), Depth::default());
    assert_none(&broker, "workers").await;
    assert_eq!(broker.purge(&workers, Purge::All).await.unwrap(), 0);
    publish(&broker, "video", keyed("new", "key")).await;
    assert_eq!(bodies(&drain(&broker, "workers", 1).await), ["new"]);
}

/// What is leased stays, and can be settled or come back.
pub async fn a_purge_leaves_what_is_in_flight(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    for body in ["1", "2", "3"] {
        publish(&broker, "video", message(body)).await;
    }
    let first = receive(&broker, "workers", DAY).await;
    let second = receive(&broker, "workers", DAY).await;
    assert_eq!(broker.purge(&workers, Purge::All).await.unwrap(), 1);
    assert_eq!(broker.depth(&workers).await.unwrap().in_flight, 2);
    broker.acknowledge(&workers, &first.receipt).await.unwrap();
    broker.retry(&workers, &second.receipt, Duration::ZERO, "again").await.unwrap();
    let again = drain(&broker, "workers", 1).await;
    assert_eq!((bodies(&again), again[0].attempt), (vec!["2"], 2));
}

/// Other groups keep their copies.
pub async fn a_purge_leaves_other_groups(broker: Shared) {
    declare(&broker, &[("one", &["video"]), ("two", &["video"]), ("three", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    publish(&broker, "video", message("2")).await;
    bury(&broker, "two", "broken").await;
    assert_eq!(broker.purge(&group("one"), Purge::All).await.unwrap(), 2);
    assert_eq!(broker.purge(&group("two"), Purge::All).await.unwrap(), 2);
    assert_eq!(broker.depth(&group("two")).await.unwrap(), Depth::default());
    assert_eq!(bodies(&drain(&broker, "three", 2).await), ["1", "2"]);
}

/// Messages and dead letters are purged apart.
pub async fn a_purge_deletes_dead_letters_only(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    for body in ["1", "2", "3", "4"] {
        publish(&broker, "video", message(body)).await;
    }
    bury(&broker, "workers", "broken").await;
    let second = bury(&broker, "workers", "broken").await;
    assert_eq!(broker.purge(&workers, Purge::DeadLetters).await.unwrap(), 2);
    let depth = broker.depth(&workers).await.unwrap();
    assert_eq!((depth.ready, depth.dead), (2, 0));
    assert_not_found(broker.replay(&workers, &second.id).await);
    bury(&broker, "workers", "broken").await;
    assert_eq!(broker.purge(&workers, Purge::Messages).await.unwrap(), 1);
    assert_eq!(broker.depth(&workers).await.unwrap().dead, 1);
    assert_eq!(letters(&broker, "workers").await[0].message.body, "3");
}

/// Those of an ordering key that wait behind a leased message go, and it does not wait for them.
pub async fn a_purge_lets_an_ordering_key_go_on(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    for body in ["1", "2", "3"] {
        publish(&broker, "video", keyed(body, "key")).await;
    }
    let leased = receive(&broker, "workers", DAY).await;
    assert_eq!(broker.purge(&workers, Purge::Messages).await.unwrap(), 2);
    publish(&broker, "video", keyed("4", "key")).await;
    assert_none(&broker, "workers").await;
    broker.acknowledge(&workers, &leased.receipt).await.unwrap();
    assert_eq!(bodies(&drain(&broker, "workers", 1).await), ["4"]);
}

/// What was purged does not count for the depth limit, and its ids stay taken.
pub async fn a_purge_makes_room(broker: Shared) {
    broker.declare(&[subscription("workers", &["video"], 1)]).await.unwrap();
    let once = Message { deduplication_id: Some("once".into()), ..message("1") };
    publish(&broker, "video", once.clone()).await;
    assert_full(try_publish(&broker, "video", message("2")).await);
    assert_eq!(broker.purge(&group("workers"), Purge::Messages).await.unwrap(), 1);
    publish(&broker, "video", once).await;
    assert_none(&broker, "workers").await;
    publish(&broker, "video", message("3")).await;
    assert_eq!(bodies(&drain(&broker, "workers", 1).await), ["3"]);
}

/// A group is purged whole, however much it holds; so are dead letters, and replayed.
pub async fn a_large_group_is_purged_whole(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    let mut publishers = JoinSet::new();
    for _ in 0..50 {
        let broker = broker.clone();
        publishers.spawn(async move {
            for index in 0..50 {
                publish(&broker, "video", message(&index.to_string())).await;
            }
        });
    }
    publishers.join_all().await;
    let mut buried = 0;
    while buried < 1_100 {
        let mut burials = JoinSet::new();
        for delivery in broker.receive(&workers, 100, DAY, WAIT).await.unwrap() {
            let (broker, workers) = (broker.clone(), workers.clone());
            burials.spawn(async move { broker.bury(&workers, &delivery.receipt, "broken").await.unwrap() });
        }
        buried += burials.join_all().await.len() as u64;
    }
    assert_eq!(broker.replay_all(&workers).await.unwrap(), buried);
    let depth = broker.depth(&workers).await.unwrap();
    assert_eq!((depth.ready, depth.dead), (2_500, 0));
    assert_eq!(broker.purge(&workers, Purge::All).await.unwrap(), 2_500);
    assert_eq!(broker.depth(&workers).await.unwrap(), Depth::default());
    assert_none(&broker, "workers").await;
}

/// While receivers compete with a purge, each message is handled once or purged, not both.
pub async fn competing_receivers_and_a_purge_handle_each_message_once(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    for index in 0..300 {
        publish(&broker, "video", keyed(&index.to_string(), &(index % 20).to_string())).await;
    }
    let mut receivers = JoinSet::new();
    for _ in 0..4 {
        let (broker, workers) = (broker.clone(), workers.clone());
        receivers.spawn(async move {
            let mut handled = Vec::new();
            loop {
                let deliveries = broker.receive(&workers, 3, DAY, QUIET).await.unwrap();
                if deliveries.is_empty() {
                    return handled;
                }
                for delivery in deliveries {
                    broker.acknowledge(&workers, &delivery.receipt).await.unwrap();
                    handled.push(delivery.id);
                }
            }
        });
    }
    ready(&broker, "workers").await;
    let purged = broker.purge(&workers, Purge::Messages).await.unwrap();
    let handled = receivers.join_all().await.concat();
    let distinct: HashSet<_> = handled.iter().collect();
    assert_eq!(distinct.len(), handled.len(), "a message was delivered twice");
    assert_eq!(handled.len() as u64 + purged, 300);
    assert_eq!(broker.depth(&workers).await.unwrap(), Depth::default());
}

/// Replaying all delivers every dead letter of the group again, each from its first attempt.
pub async fn all_dead_letters_are_replayed(broker: Shared) {
    declare(&broker, &[("one", &["video"]), ("two", &["video"])]).await;
    for body in ["1", "2", "3"] {
        publish(&broker, "video", keyed(body, "key")).await;
        bury(&broker, "one", "by one").await;
    }
    bury(&broker, "two", "by two").await;
    publish(&broker, "video", message("4")).await;
    assert_eq!(broker.replay_all(&group("one")).await.unwrap(), 3);
    assert_eq!(broker.replay_all(&group("one")).await.unwrap(), 0);
    assert!(letters(&broker, "one").await.is_empty());
    assert_eq!(letters(&broker, "two").await.len(), 1);
    let replayed = drain(&broker, "one", 4).await;
    assert!(replayed.iter().all(|delivery| delivery.attempt == 1));
    let mut seen = bodies(&replayed);
    seen.sort_unstable();
    assert_eq!(seen, ["1", "2", "3", "4"]);
}

/// A paused group receives nothing, also of what is published meanwhile; resumed, all of it.
pub async fn a_paused_group_receives_nothing(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    publish(&broker, "video", message("1")).await;
    broker.pause(&workers).await.unwrap();
    broker.pause(&workers).await.unwrap();
    publish(&broker, "video", message("2")).await;
    assert_none(&broker, "workers").await;
    let depth = broker.depth(&workers).await.unwrap();
    assert_eq!((depth.ready, depth.in_flight), (2, 0));
    assert!(broker.groups().await.unwrap()[0].paused);
    assert_eq!(broker.peek(&workers, Part::Ready, None, 10).await.unwrap().messages.len(), 2);
    broker.resume(&workers).await.unwrap();
    broker.resume(&workers).await.unwrap();
    assert!(!broker.groups().await.unwrap()[0].paused);
    assert_eq!(bodies(&drain(&broker, "workers", 2).await), ["1", "2"]);
}

/// What is in flight when the pause begins can be renewed and settled; other groups go on.
pub async fn a_pause_leaves_deliveries_and_other_groups(broker: Shared) {
    declare(&broker, &[("one", &["video"]), ("two", &["video"])]).await;
    let one = group("one");
    for body in ["1", "2", "3"] {
        publish(&broker, "video", message(body)).await;
    }
    let leased = broker.receive(&one, 3, DAY, WAIT).await.unwrap();
    broker.pause(&one).await.unwrap();
    broker.renew(&one, &leased[0].receipt, DAY).await.unwrap();
    broker.acknowledge(&one, &leased[0].receipt).await.unwrap();
    broker.retry(&one, &leased[1].receipt, Duration::ZERO, "again").await.unwrap();
    broker.release(&one, &leased[2].receipt).await.unwrap();
    assert_none(&broker, "one").await;
    assert_eq!(drain(&broker, "two", 3).await.len(), 3);
    broker.resume(&one).await.unwrap();
    let attempts: Vec<_> = drain(&broker, "one", 2).await.iter().map(|delivery| delivery.attempt).collect();
    assert_eq!(attempts, [2, 1]);
}

/// All receivers that wait at a paused group go on when it is resumed, without polling.
pub async fn a_waiting_receiver_goes_on_when_its_group_is_resumed(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    broker.pause(&workers).await.unwrap();
    let mut receivers = JoinSet::new();
    for _ in 0..3 {
        let (broker, workers) = (broker.clone(), workers.clone());
        receivers.spawn(async move { broker.receive(&workers, 1, DAY, DAY).await.unwrap().len() });
    }
    for body in ["1", "2", "3"] {
        publish(&broker, "video", message(body)).await;
    }
    tokio::time::sleep(QUIET).await;
    assert!(receivers.try_join_next().is_none(), "a paused group has received something");
    broker.resume(&workers).await.unwrap();
    let all = tokio::time::timeout(DEADLINE, receivers.join_all()).await.expect("resuming wakes the receivers");
    assert_eq!(all, [1, 1, 1]);
}

/// Declaring again leaves a group paused, whether with other patterns or after it was withdrawn.
pub async fn a_pause_outlives_declarations(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    broker.pause(&workers).await.unwrap();
    declare(&broker, &[("workers", &["#"])]).await;
    broker.declare(&[]).await.unwrap();
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    assert_none(&broker, "workers").await;
    broker.resume(&workers).await.unwrap();
    drain(&broker, "workers", 1).await;
}

/// A group that was never declared is not found, and stays unknown.
pub async fn a_group_never_declared_is_not_found_by_operators(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let nobody = group("nobody");
    assert_not_found(broker.pause(&nobody).await);
    assert_not_found(broker.resume(&nobody).await);
    assert_not_found(broker.replay_all(&nobody).await);
    for what in [Purge::Messages, Purge::DeadLetters, Purge::All] {
        assert_not_found(broker.purge(&nobody, what).await);
    }
    for part in [Part::Ready, Part::Delayed, Part::InFlight] {
        assert_not_found(broker.peek(&nobody, part, None, 10).await);
    }
    assert_eq!(broker.groups().await.unwrap().len(), 1);
    let result = broker.receive(&nobody, 1, DAY, Duration::ZERO).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
}
