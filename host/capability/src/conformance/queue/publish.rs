//! Publishing: what arrives, depth limits, deduplication.

use std::collections::HashSet;

use tokio::task::JoinSet;

use super::super::unique;
use super::{
    DAY, Shared, assert_full, assert_not_found, bodies, declare, drain, group, message, name, publish, receive,
    subscription, try_publish,
};
use crate::Error;
use crate::queue::{MAX_BODY, MAX_HEADER_BYTES, MAX_HEADERS, MAX_ID, Message, MessageId, Publication};

fn deduplicated(body: &str, id: &str) -> Message {
    Message { deduplication_id: Some(id.into()), ..message(body) }
}

/// Body, content type, headers, deduplication id, time and ordering key arrive as they were sent.
pub async fn a_message_is_delivered_unchanged(broker: Shared) {
    declare(&broker, &[("workers", &["#"])]).await;
    let sent = Message {
        body: (0..=255).collect::<Vec<u8>>().into(),
        content_type: Some("application/json; charset=utf-8".into()),
        headers: vec![("b".into(), "2".into()), ("a".into(), "1 é\n".into()), ("b".into(), String::new())],
        deduplication_id: Some("dedup: 1 é".into()),
        not_before: Some(crate::time::Timestamp(1)),
        ordering_key: Some("key: é".into()),
    };
    let plain = Message::default();
    let ids = [publish(&broker, "a.b", sent.clone()).await, publish(&broker, "c", plain.clone()).await];
    assert_ne!(ids[0], ids[1]);
    for id in &ids {
        assert!(id.0.len() <= 64 && id.0.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
    }
    let received = drain(&broker, "workers", 2).await;
    for (delivery, (id, (queue, message))) in received.iter().zip(ids.iter().zip([("a.b", sent), ("c", plain)])) {
        assert_eq!((&delivery.id, delivery.queue.as_str(), &delivery.message), (id, queue, &message));
        assert_eq!(delivery.attempt, 1);
        assert!(delivery.first_published.0 > 1_500_000_000_000, "not a time: {:?}", delivery.first_published);
    }
}

/// A message at every limit is accepted and arrives.
pub async fn the_largest_message_is_delivered(broker: Shared) {
    declare(&broker, &[("workers", &["#"])]).await;
    let sent = Message {
        body: vec![0xA5; MAX_BODY].into(),
        content_type: Some("t".repeat(MAX_ID)),
        headers: (0..MAX_HEADERS)
            .map(|index| (format!("{index:06}"), "v".repeat(MAX_HEADER_BYTES / MAX_HEADERS - 6)))
            .collect(),
        deduplication_id: Some("d".repeat(MAX_ID)),
        not_before: None,
        ordering_key: Some("o".repeat(MAX_ID)),
    };
    sent.validate().unwrap();
    let queue = "q".repeat(255);
    publish(&broker, &queue, sent.clone()).await;
    assert!(drain(&broker, "workers", 1).await[0].message == sent, "the message came changed");
}

/// With one receiver at a time, messages come in the order they were published.
pub async fn messages_are_delivered_earliest_first(broker: Shared) {
    declare(&broker, &[("workers", &["#"])]).await;
    let sent: Vec<String> = (0..25).map(|index| format!("{index}")).collect();
    for (index, body) in sent.iter().enumerate() {
        publish(&broker, if index % 2 == 0 { "even" } else { "odd" }, message(body)).await;
    }
    assert_eq!(bodies(&drain(&broker, "workers", 25).await), sent);
}

/// Where one group is at its depth limit, nothing is stored for any group.
pub async fn a_full_group_refuses_for_all(broker: Shared) {
    broker.declare(&[subscription("small", &["video"], 2), subscription("large", &["#"], 100)]).await.unwrap();
    publish(&broker, "video", message("1")).await;
    publish(&broker, "video", message("2")).await;
    assert_full(try_publish(&broker, "video", message("3")).await);
    publish(&broker, "audio", message("4")).await;
    assert_eq!(broker.depth(&group("large")).await.unwrap().ready, 3);
    let delivery = receive(&broker, "small", DAY).await;
    broker.acknowledge(&group("small"), &delivery.receipt).await.unwrap();
    publish(&broker, "video", message("5")).await;
    assert_full(try_publish(&broker, "video", message("6")).await);
    assert_eq!(bodies(&drain(&broker, "large", 4).await), ["1", "2", "4", "5"]);
    assert_eq!(bodies(&drain(&broker, "small", 2).await), ["2", "5"]);
}

/// Messages in flight and messages that wait count for the depth limit.
pub async fn in_flight_messages_count_for_the_depth_limit(broker: Shared) {
    broker.declare(&[subscription("workers", &["video"], 3)]).await.unwrap();
    for body in ["1", "2", "3"] {
        publish(&broker, "video", message(body)).await;
    }
    let leased = receive(&broker, "workers", DAY).await;
    let waiting = receive(&broker, "workers", DAY).await;
    broker.retry(&group("workers"), &waiting.receipt, DAY, "later").await.unwrap();
    assert_full(try_publish(&broker, "video", message("4")).await);
    broker.acknowledge(&group("workers"), &leased.receipt).await.unwrap();
    publish(&broker, "video", message("5")).await;
    assert_full(try_publish(&broker, "video", message("6")).await);
}

/// Of many concurrent publishers exactly as many succeed as there is room.
pub async fn concurrent_publishers_keep_the_depth_limit(broker: Shared) {
    broker.declare(&[subscription("workers", &["video"], 7), subscription("others", &["#"], 100)]).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..30 {
        let broker = broker.clone();
        tasks.spawn(async move {
            match try_publish(&broker, "video", message(&format!("{task}"))).await {
                Ok(id) => Some(id),
                Err(Error::Full(_)) => None,
                Err(error) => panic!("{error:?}"),
            }
        });
    }
    let accepted: HashSet<MessageId> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(accepted.len(), 7);
    for group in ["workers", "others"] {
        let received: HashSet<MessageId> =
            drain(&broker, group, 7).await.into_iter().map(|delivery| delivery.id).collect();
        assert_eq!(received, accepted);
    }
}

/// A deduplication id that the queue accepted before stores nothing, not even after the first was
/// handled, and answers the id of the first.
pub async fn a_deduplication_id_is_accepted_once(broker: Shared) {
    if !broker.capabilities().deduplication {
        return;
    }
    declare(&broker, &[("one", &["video"]), ("two", &["video"])]).await;
    let first = publish(&broker, "video", deduplicated("1", "a")).await;
    assert_eq!(publish(&broker, "video", deduplicated("2", "a")).await, first);
    let other = publish(&broker, "video", deduplicated("3", "b")).await;
    assert_ne!(other, first);
    assert_eq!(bodies(&drain(&broker, "one", 2).await), ["1", "3"]);
    assert_eq!(bodies(&drain(&broker, "two", 2).await), ["1", "3"]);
    assert_eq!(publish(&broker, "video", deduplicated("4", "a")).await, first);
    drain(&broker, "one", 0).await;
}

/// Two queues may use the same deduplication id for different messages.
pub async fn a_deduplication_id_belongs_to_its_queue(broker: Shared) {
    if !broker.capabilities().deduplication {
        return;
    }
    declare(&broker, &[("workers", &["#"])]).await;
    let first = publish(&broker, "video", deduplicated("1", "a")).await;
    assert_ne!(publish(&broker, "audio", deduplicated("2", "a")).await, first);
    // Queue and id are not just put one after the other.
    publish(&broker, "b", deduplicated("3", "b.c")).await;
    publish(&broker, "b.b", deduplicated("4", "c")).await;
    assert_eq!(bodies(&drain(&broker, "workers", 4).await), ["1", "2", "3", "4"]);
}

/// An id of a publication that was refused is free.
pub async fn a_refused_publication_is_not_remembered(broker: Shared) {
    let id = MessageId(unique());
    let again =
        |queue: &str| Publication { queue: name(queue), message: deduplicated("again", "a"), id: Some(id.clone()) };
    assert_not_found(broker.publish(again("video")).await);
    broker.declare(&[subscription("workers", &["video"], 1)]).await.unwrap();
    publish(&broker, "video", message("1")).await;
    assert_full(broker.publish(again("video")).await);
    drain(&broker, "workers", 1).await;
    assert_eq!(broker.publish(again("video")).await.unwrap(), id);
    assert_eq!(bodies(&drain(&broker, "workers", 1).await), ["again"]);
}

/// Of many concurrent publications with the same deduplication id one is stored, and all answer
/// its id.
pub async fn of_concurrent_duplicates_one_is_stored(broker: Shared) {
    if !broker.capabilities().deduplication {
        return;
    }
    declare(&broker, &[("workers", &["video"])]).await;
    let mut tasks = JoinSet::new();
    for task in 0..20 {
        let broker = broker.clone();
        tasks.spawn(async move { publish(&broker, "video", deduplicated(&format!("{task}"), "same")).await });
    }
    let ids: HashSet<MessageId> = tasks.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    assert!(ids.contains(&drain(&broker, "workers", 1).await[0].id));
}

/// Publishing a message id again stores nothing, not even after the first was handled, and answers
/// the id.
pub async fn a_message_id_is_accepted_once(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let id = MessageId(unique());
    let publication = |body| Publication { queue: name("video"), message: message(body), id: Some(id.clone()) };
    assert_eq!(broker.publish(publication("1")).await.unwrap(), id);
    assert_eq!(broker.publish(publication("2")).await.unwrap(), id);
    let received = drain(&broker, "workers", 1).await;
    assert_eq!((&received[0].id, bodies(&received)), (&id, vec!["1"]));
    assert_eq!(broker.publish(publication("3")).await.unwrap(), id);
    drain(&broker, "workers", 0).await;
}

/// Repeating a publication that was accepted succeeds also where the group has become full, so
/// that a relay can repeat itself.
pub async fn a_duplicate_is_accepted_where_the_group_is_full(broker: Shared) {
    broker.declare(&[subscription("workers", &["video"], 1)]).await.unwrap();
    let id = MessageId(unique());
    let publication = Publication { queue: name("video"), message: message("1"), id: Some(id.clone()) };
    broker.publish(publication.clone()).await.unwrap();
    assert_full(try_publish(&broker, "video", message("2")).await);
    assert_eq!(broker.publish(publication).await.unwrap(), id);
    assert_eq!(broker.depth(&group("workers")).await.unwrap().ready, 1);
}
