//! Declaring groups, and who receives what.

use super::{
    DAY, Shared, assert_none, assert_not_found, bodies, bury, declare, drain, group, letters, message, name, publish,
    receive, subscription, try_publish,
};
use crate::queue::Publication;

/// Publishing to a queue that no group subscribes to is an error, not a silent drop.
pub async fn publishing_to_nobody_is_not_found(broker: Shared) {
    assert_not_found(try_publish(&broker, "video", message("0")).await);
    declare(&broker, &[("workers", &["video"])]).await;
    assert_not_found(try_publish(&broker, "audio", message("1")).await);
    assert_not_found(try_publish(&broker, "video.new", message("1")).await);
    publish(&broker, "video", message("2")).await;
    assert_eq!(bodies(&drain(&broker, "workers", 1).await), ["2"]);
    broker.declare(&[]).await.unwrap();
    assert_not_found(try_publish(&broker, "video", message("3")).await);
}

/// `subscribed` answers whether some group subscribes to a queue.
pub async fn subscribed_is_true_for_queues_with_a_group(broker: Shared) {
    assert!(!broker.subscribed(&name("video")).await.unwrap());
    declare(&broker, &[("workers", &["video"]), ("others", &["events.#"])]).await;
    for (queue, subscribed) in [("video", true), ("events", true), ("events.a.b", true), ("audio", false)] {
        assert_eq!(broker.subscribed(&name(queue)).await.unwrap(), subscribed, "{queue}");
    }
    broker.declare(&[]).await.unwrap();
    assert!(!broker.subscribed(&name("video")).await.unwrap());
}

/// Every group receives every message of a queue it subscribes to.
pub async fn every_group_receives_every_message(broker: Shared) {
    declare(&broker, &[("one", &["video"]), ("two", &["video"]), ("three", &["audio"])]).await;
    let mut ids = Vec::new();
    for body in ["a", "b", "c"] {
        ids.push(publish(&broker, "video", message(body)).await);
    }
    for group in ["one", "two"] {
        let received = drain(&broker, group, 3).await;
        assert_eq!(received.iter().map(|delivery| delivery.id.clone()).collect::<Vec<_>>(), ids);
    }
    assert_none(&broker, "three").await;
}

/// A subscription by pattern receives the queues that it matches, and their names.
pub async fn a_pattern_receives_what_it_matches(broker: Shared) {
    declare(&broker, &[("star", &["job.*"]), ("hash", &["job.#"]), ("all", &["#"]), ("two", &["job", "*.run.*"])])
        .await;
    let queues = ["job", "job.run", "job.run.now", "video"];
    for queue in queues {
        publish(&broker, queue, message(queue)).await;
    }
    let expected: [(&str, &[&str]); 4] = [
        ("star", &["job.run"]),
        ("hash", &["job", "job.run", "job.run.now"]),
        ("all", &queues),
        ("two", &["job", "job.run.now"]),
    ];
    for (group, queues) in expected {
        let received = drain(&broker, group, queues.len()).await;
        assert_eq!(received.iter().map(|delivery| delivery.queue.as_str()).collect::<Vec<_>>(), queues);
        assert_eq!(bodies(&received), queues);
    }
}

/// A message that matches several patterns of a group is received once.
pub async fn a_message_matched_twice_is_received_once(broker: Shared) {
    declare(&broker, &[("workers", &["job.*", "#", "job.run", "job.#"])]).await;
    publish(&broker, "job.run", message("1")).await;
    assert_eq!(broker.depth(&group("workers")).await.unwrap().ready, 1);
    drain(&broker, "workers", 1).await;
}

/// A new group receives what is published from then on, and nothing earlier.
pub async fn a_new_group_receives_what_is_published_from_then_on(broker: Shared) {
    declare(&broker, &[("old", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    declare(&broker, &[("old", &["video"]), ("new", &["video"])]).await;
    publish(&broker, "video", message("2")).await;
    assert_eq!(bodies(&drain(&broker, "new", 1).await), ["2"]);
    assert_eq!(bodies(&drain(&broker, "old", 2).await), ["1", "2"]);
}

/// Declaring the same again changes nothing: not what is held, leased or dead.
pub async fn declaring_again_changes_nothing(broker: Shared) {
    let groups: &[(&str, &[&str])] = &[("one", &["video", "job.*"]), ("two", &["#"])];
    declare(&broker, groups).await;
    for body in ["1", "2", "3"] {
        publish(&broker, "video", message(body)).await;
    }
    bury(&broker, "one", "broken").await;
    let leased = receive(&broker, "one", DAY).await;
    let before = (broker.depth(&group("one")).await.unwrap(), broker.depth(&group("two")).await.unwrap());
    for _ in 0..3 {
        declare(&broker, groups).await;
    }
    assert_eq!(before, (broker.depth(&group("one")).await.unwrap(), broker.depth(&group("two")).await.unwrap()));
    broker.acknowledge(&group("one"), &leased.receipt).await.unwrap();
    assert_eq!(bodies(&drain(&broker, "one", 1).await), ["3"]);
}

/// A group that is not in the set receives nothing more but keeps what it holds, leases and dead
/// letters too, for when it comes back.
pub async fn a_withdrawn_group_receives_nothing_more_but_keeps_what_it_holds(broker: Shared) {
    declare(&broker, &[("stays", &["video"]), ("goes", &["video"])]).await;
    for body in ["1", "2", "3"] {
        publish(&broker, "video", message(body)).await;
    }
    bury(&broker, "goes", "broken").await;
    let leased = receive(&broker, "goes", DAY).await;
    declare(&broker, &[("stays", &["video"])]).await;
    publish(&broker, "video", message("4")).await;
    broker.acknowledge(&group("goes"), &leased.receipt).await.unwrap();
    let depth = broker.depth(&group("goes")).await.unwrap();
    assert_eq!((depth.ready, depth.in_flight, depth.dead), (1, 0, 1));
    declare(&broker, &[("stays", &["video"]), ("goes", &["video"])]).await;
    publish(&broker, "video", message("5")).await;
    assert_eq!(bodies(&drain(&broker, "goes", 2).await), ["3", "5"]);
    assert_eq!(letters(&broker, "goes").await[0].message.body, "1");
    assert_eq!(bodies(&drain(&broker, "stays", 5).await), ["1", "2", "3", "4", "5"]);
}

/// Receiving for a group that was never declared is not found; it holds nothing.
pub async fn a_group_never_declared_is_not_found_by_receivers(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let nobody = group("nobody");
    assert_not_found(broker.receive(&nobody, 1, DAY, super::QUIET).await);
    assert_eq!(broker.depth(&nobody).await.unwrap(), Default::default());
    assert!(letters(&broker, "nobody").await.is_empty());
}

/// Declaring other patterns for a group replaces its earlier ones and keeps what it holds.
pub async fn other_patterns_replace_a_groups_earlier_ones(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    broker.declare(&[subscription("workers", &["audio"], 10)]).await.unwrap();
    let late = Publication { queue: name("video"), message: message("2"), id: None };
    assert_not_found(broker.publish(late).await);
    publish(&broker, "audio", message("3")).await;
    assert_eq!(bodies(&drain(&broker, "workers", 2).await), ["1", "3"]);
}
