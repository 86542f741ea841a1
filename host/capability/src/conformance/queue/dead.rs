//! Dead letters.

use std::collections::HashSet;
use std::time::Duration;

use super::super::unique;
use super::{
    DAY, Shared, assert_full, assert_none, assert_not_found, bodies, bury, declare, drain, group, letters, message,
    publish, receive, subscription, try_publish,
};
use crate::Error;
use crate::queue::{Depth, MAX_HISTORY, MAX_REASON, Message, MessageId};

/// A buried message is among the group's dead letters, whole, and is not delivered again.
pub async fn a_buried_message_is_a_dead_letter(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let sent = Message {
        content_type: Some("text/plain".into()),
        headers: vec![("a".into(), "1".into())],
        ordering_key: Some("key".into()),
        ..message("1")
    };
    publish(&broker, "video", sent.clone()).await;
    let delivery = bury(&broker, "workers", "no audio track").await;
    assert_none(&broker, "workers").await;
    let letter = letters(&broker, "workers").await.remove(0);
    assert_eq!((&letter.id, &letter.queue, &letter.message), (&delivery.id, &delivery.queue, &sent));
    assert_eq!((letter.attempts, letter.reason.as_str()), (1, "no audio track"));
    assert_eq!(letter.first_published, delivery.first_published);
    assert!(letter.died >= letter.first_published);
    let depth = broker.depth(&group("workers")).await.unwrap();
    assert_eq!(depth, Depth { dead: 1, ..Depth::default() });
}

/// A dead letter has its failures, oldest first, the last one included.
pub async fn a_dead_letter_has_its_history(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    for reason in ["first: é\n", ""] {
        let delivery = receive(&broker, "workers", DAY).await;
        broker.retry(&group("workers"), &delivery.receipt, Duration::ZERO, reason).await.unwrap();
    }
    bury(&broker, "workers", "last").await;
    let letter = letters(&broker, "workers").await.remove(0);
    let history: Vec<_> = letter.history.iter().map(|failure| (failure.attempt, failure.reason.as_str())).collect();
    assert_eq!(history, [(1, "first: é\n"), (2, ""), (3, "last")]);
    assert_eq!((letter.attempts, letter.reason.as_str()), (3, "last"));
    assert!(letter.history.is_sorted_by_key(|failure| failure.at));
    assert!(letter.history.iter().all(|failure| failure.at >= letter.first_published && failure.at <= letter.died));
}

/// The history keeps the latest failures only.
pub async fn the_history_keeps_the_latest_failures(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let attempts = MAX_HISTORY + 4;
    for attempt in 1..attempts {
        let delivery = receive(&broker, "workers", DAY).await;
        broker.retry(&group("workers"), &delivery.receipt, Duration::ZERO, &format!("r{attempt}")).await.unwrap();
    }
    bury(&broker, "workers", &format!("r{attempts}")).await;
    let letter = letters(&broker, "workers").await.remove(0);
    assert_eq!(letter.attempts as usize, attempts);
    let history: Vec<_> = letter.history.iter().map(|failure| failure.reason.clone()).collect();
    let expected: Vec<_> = (attempts - MAX_HISTORY + 1..=attempts).map(|attempt| format!("r{attempt}")).collect();
    assert_eq!(history, expected);
}

/// Of a reason at most 1 KiB is kept, cut between characters.
pub async fn a_long_reason_is_clipped(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let long = format!("x{}", "é".repeat(MAX_REASON));
    let delivery = receive(&broker, "workers", DAY).await;
    broker.retry(&group("workers"), &delivery.receipt, Duration::ZERO, &long).await.unwrap();
    bury(&broker, "workers", &long).await;
    let letter = letters(&broker, "workers").await.remove(0);
    for reason in [&letter.reason, &letter.history[0].reason, &letter.history[1].reason] {
        assert_eq!(reason.len(), MAX_REASON - 1);
        assert!(long.starts_with(reason.as_str()));
    }
}

/// Dead letters are listed by their death, not by their publication.
pub async fn dead_letters_are_listed_oldest_death_first(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    for body in ["1", "2", "3"] {
        publish(&broker, "video", message(body)).await;
    }
    let leased = broker.receive(&group("workers"), 3, DAY, super::WAIT).await.unwrap();
    for index in [2, 0, 1] {
        broker.bury(&group("workers"), &leased[index].receipt, "broken").await.unwrap();
    }
    let letters = letters(&broker, "workers").await;
    let bodies: Vec<_> = letters.iter().map(|letter| &letter.message.body[..]).collect();
    assert_eq!(bodies, [b"3", b"1", b"2"]);
    assert!(letters.is_sorted_by_key(|letter| letter.died));
}

/// A page has at most `limit` letters, and its cursor continues after them, whatever went or came
/// meanwhile.
pub async fn dead_letters_come_in_pages(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let mut ids = Vec::new();
    for index in 0..7 {
        publish(&broker, "video", message(&index.to_string())).await;
        ids.push(bury(&broker, "workers", "broken").await.id);
    }
    for limit in [1, 3, 7, 8] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = broker.dead_letters(&group("workers"), cursor.as_deref(), limit).await.unwrap();
            assert!(page.letters.len() <= limit);
            seen.extend(page.letters.into_iter().map(|letter| letter.id));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
            assert!(seen.len() <= ids.len(), "the listing does not end");
        }
        assert_eq!(seen, ids, "pages of {limit}");
    }
    let page = broker.dead_letters(&group("workers"), None, 3).await.unwrap();
    broker.delete_dead_letter(&group("workers"), &ids[2]).await.unwrap();
    broker.delete_dead_letter(&group("workers"), &ids[4]).await.unwrap();
    publish(&broker, "video", message("late")).await;
    let late = bury(&broker, "workers", "broken").await.id;
    let rest = broker.dead_letters(&group("workers"), page.cursor.as_deref(), 10).await.unwrap();
    let seen: Vec<_> = rest.letters.into_iter().map(|letter| letter.id).collect();
    assert_eq!(seen, [ids[3].clone(), ids[5].clone(), ids[6].clone(), late]);
}

/// A cursor that no page gave is invalid.
pub async fn a_foreign_cursor_is_invalid(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    bury(&broker, "workers", "broken").await;
    let result = broker.dead_letters(&group("workers"), Some("not a cursor é"), 10).await;
    assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
}

/// A replayed letter is delivered to its group again, at attempt 1 with an empty history.
pub async fn a_replayed_letter_starts_again(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let first = receive(&broker, "workers", DAY).await;
    broker.retry(&group("workers"), &first.receipt, Duration::ZERO, "once").await.unwrap();
    let buried = bury(&broker, "workers", "twice").await;
    assert_eq!(buried.attempt, 2);
    broker.replay(&group("workers"), &buried.id).await.unwrap();
    assert!(letters(&broker, "workers").await.is_empty());
    assert_not_found(broker.replay(&group("workers"), &buried.id).await);
    let again = bury(&broker, "workers", "thrice").await;
    assert_eq!((&again.id, again.attempt, &again.message), (&buried.id, 1, &buried.message));
    assert_eq!(again.first_published, buried.first_published);
    let letter = letters(&broker, "workers").await.remove(0);
    assert_eq!((letter.attempts, letter.history.len(), letter.reason.as_str()), (1, 1, "thrice"));
    broker.replay(&group("workers"), &buried.id).await.unwrap();
    drain(&broker, "workers", 1).await;
    assert_eq!(broker.depth(&group("workers")).await.unwrap(), Depth::default());
}

/// A deleted letter is gone for good.
pub async fn a_deleted_letter_is_gone(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    publish(&broker, "video", message("2")).await;
    let first = bury(&broker, "workers", "broken").await.id;
    bury(&broker, "workers", "broken").await;
    broker.delete_dead_letter(&group("workers"), &first).await.unwrap();
    assert_not_found(broker.delete_dead_letter(&group("workers"), &first).await);
    assert_not_found(broker.replay(&group("workers"), &first).await);
    assert_eq!(letters(&broker, "workers").await.len(), 1);
    assert_none(&broker, "workers").await;
}

/// Replaying or deleting what is not a dead letter is not found: an unknown id, a message that is
/// alive, a group that does not exist.
pub async fn an_unknown_letter_is_not_found(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let alive = publish(&broker, "video", message("1")).await;
    for id in [&alive, &MessageId(unique()), &MessageId(String::new())] {
        for group in [group("workers"), group("nobody")] {
            assert_not_found(broker.replay(&group, id).await);
            assert_not_found(broker.delete_dead_letter(&group, id).await);
        }
    }
    assert_eq!(drain(&broker, "workers", 1).await[0].attempt, 1);
}

/// Dead letters leave room for others under the depth limit.
pub async fn dead_letters_do_not_count_for_the_depth_limit(broker: Shared) {
    broker.declare(&[subscription("workers", &["video"], 1)]).await.unwrap();
    for body in ["1", "2"] {
        publish(&broker, "video", message(body)).await;
        assert_full(try_publish(&broker, "video", message("more")).await);
        bury(&broker, "workers", "broken").await;
    }
    assert_eq!(letters(&broker, "workers").await.len(), 2);
}

/// What one group gives up, the others still receive.
pub async fn dead_letters_belong_to_their_group(broker: Shared) {
    declare(&broker, &[("one", &["video"]), ("two", &["video"]), ("three", &["video"])]).await;
    let id = publish(&broker, "video", message("1")).await;
    bury(&broker, "one", "by one").await;
    assert!(letters(&broker, "two").await.is_empty());
    bury(&broker, "two", "by two").await;
    assert_eq!(letters(&broker, "one").await[0].reason, "by one");
    assert_eq!(letters(&broker, "two").await[0].reason, "by two");
    broker.delete_dead_letter(&group("one"), &id).await.unwrap();
    assert_eq!(letters(&broker, "two").await[0].message.body, "1");
    assert_eq!(bodies(&drain(&broker, "three", 1).await), ["1"]);
    broker.replay(&group("two"), &id).await.unwrap();
    let ids: HashSet<MessageId> = drain(&broker, "two", 1).await.into_iter().map(|delivery| delivery.id).collect();
    assert!(ids.contains(&id));
}
