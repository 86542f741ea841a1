//! Looking at a group without receiving.

use std::time::Duration;

use super::{
    DAY, Shared, assert_none, assert_not_found, bury, declare, drain, group, keyed, letters, message, publish, receive,
    subscription,
};
use crate::Error;
use crate::queue::{Depth, Held, MAX_BODY, Message, Part, Waits};
use crate::time::{Clock, SystemClock};

/// What a part of the group has, which fits into a page.
async fn peek(broker: &Shared, of: &str, part: Part) -> Vec<Held> {
    let page = broker.peek(&group(of), part, None, 100).await.unwrap();
    assert_eq!(page.cursor, None);
    page.messages
}

fn bodies(held: &[Held]) -> Vec<&str> {
    held.iter().map(|held| std::str::from_utf8(&held.message.body).unwrap()).collect()
}

/// A look shows the message as it was published, its id, queue and time.
pub async fn a_peek_shows_a_message_whole(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let sent = Message {
        content_type: Some("text/plain".into()),
        headers: vec![("a".into(), "1".into())],
        ordering_key: Some("key".into()),
        deduplication_id: Some("once".into()),
        ..message("1")
    };
    let id = publish(&broker, "video", sent.clone()).await;
    let held = peek(&broker, "workers", Part::Ready).await.remove(0);
    assert_eq!((&held.id, held.queue.as_str(), &held.message), (&id, "video", &sent));
    assert_eq!((held.attempts, held.waits), (0, Waits::Ready));
    assert_eq!(drain(&broker, "workers", 1).await[0].first_published, held.first_published);
}

/// A look begins no attempt and takes nothing from receivers.
pub async fn a_peek_leases_nothing(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    for _ in 0..3 {
        assert_eq!(peek(&broker, "workers", Part::Ready).await.len(), 1);
    }
    assert_eq!(receive(&broker, "workers", DAY).await.attempt, 1);
}

/// A look says what holds a message back, and until when.
pub async fn a_peek_says_what_a_message_waits_for(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    let start = SystemClock.now();
    let time = start.saturating_add(DAY);
    publish(&broker, "video", Message { not_before: Some(time), ..message("later") }).await;
    publish(&broker, "video", keyed("failed", "key")).await;
    publish(&broker, "video", keyed("behind", "key")).await;
    let delivery = receive(&broker, "workers", DAY).await;
    broker.retry(&workers, &delivery.receipt, DAY, "not now").await.unwrap();
    publish(&broker, "video", message("leased")).await;
    receive(&broker, "workers", DAY).await;
    assert_none(&broker, "workers").await;

    let delayed = peek(&broker, "workers", Part::Delayed).await;
    assert_eq!(bodies(&delayed), ["later", "failed", "behind"]);
    assert_eq!((delayed[0].attempts, delayed[0].waits), (0, Waits::NotBefore(time)));
    // The engine's clock may be another one than this.
    let about = |at: crate::time::Timestamp| {
        at.saturating_add(Duration::from_secs(60)) > time && time.saturating_add(Duration::from_secs(600)) > at
    };
    assert!(matches!(delayed[1].waits, Waits::Retry(at) if about(at)), "{:?}", delayed[1]);
    assert_eq!(delayed[1].attempts, 1);
    assert_eq!((delayed[2].attempts, delayed[2].waits), (0, Waits::Behind));
    let in_flight = peek(&broker, "workers", Part::InFlight).await;
    assert_eq!((bodies(&in_flight), in_flight[0].attempts), (vec!["leased"], 1));
    assert!(matches!(in_flight[0].waits, Waits::Leased(ends) if about(ends)), "{:?}", in_flight[0]);
}

/// Every message that is not dead is in exactly one part, and moves between them.
pub async fn a_peek_shows_one_part(broker: Shared) {
    declare(&broker, &[("workers", &["video"]), ("others", &["video"])]).await;
    for body in ["1", "2", "3", "4"] {
        publish(&broker, "video", message(body)).await;
    }
    let first = receive(&broker, "workers", DAY).await;
    let second = receive(&broker, "workers", DAY).await;
    broker.retry(&group("workers"), &second.receipt, DAY, "later").await.unwrap();
    bury(&broker, "workers", "broken").await;
    assert_eq!(bodies(&peek(&broker, "workers", Part::Ready).await), ["4"]);
    assert_eq!(bodies(&peek(&broker, "workers", Part::Delayed).await), ["2"]);
    assert_eq!(bodies(&peek(&broker, "workers", Part::InFlight).await), ["1"]);
    broker.release(&group("workers"), &first.receipt).await.unwrap();
    assert_eq!(bodies(&peek(&broker, "workers", Part::Ready).await), ["1", "4"]);
    assert_eq!(bodies(&peek(&broker, "workers", Part::InFlight).await), [""; 0]);
    assert_eq!(peek(&broker, "others", Part::Ready).await.len(), 4);
}

/// A page has at most `limit` messages, earliest published first, and its cursor continues after
/// them.
pub async fn a_peek_comes_in_pages(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let mut expected = Vec::new();
    for index in 0..7 {
        let body = index.to_string();
        publish(&broker, "video", Message { not_before: (index % 2 == 1).then(later), ..message(&body) }).await;
        if index % 2 == 0 {
            expected.push(body);
        }
    }
    for limit in [1, 3, 4, 5] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = broker.peek(&group("workers"), Part::Ready, cursor.as_deref(), limit).await.unwrap();
            assert!(page.messages.len() <= limit);
            seen.extend(bodies(&page.messages).into_iter().map(str::to_owned));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
            assert!(seen.len() <= expected.len(), "the listing does not end");
        }
        assert_eq!(seen, expected, "pages of {limit}");
    }
    let page = broker.peek(&group("workers"), Part::Delayed, None, 2).await.unwrap();
    assert_eq!((bodies(&page.messages), page.cursor.is_some()), (vec!["1", "3"], true));
}

fn later() -> crate::time::Timestamp {
    SystemClock.now().saturating_add(DAY)
}

/// However many messages are asked for, a page is bounded in bytes; its cursor continues.
pub async fn a_page_of_large_messages_is_short(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let large = Message { body: vec![7; MAX_BODY].into(), ..Message::default() };
    for _ in 0..30 {
        publish(&broker, "video", large.clone()).await;
    }
    let first = broker.peek(&group("workers"), Part::Ready, None, 1000).await.unwrap();
    assert!(first.messages.len() < 20, "{} messages of 256 KiB in a page", first.messages.len());
    let rest = broker.peek(&group("workers"), Part::Ready, first.cursor.as_deref(), 1000).await.unwrap();
    assert_eq!(first.messages.len() + rest.messages.len(), 30);
    assert_eq!(rest.cursor, None);
}

/// A cursor that no page gave is invalid.
pub async fn a_peeks_foreign_cursor_is_invalid(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let result = broker.peek(&group("workers"), Part::Ready, Some("not a cursor é"), 10).await;
    assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    assert_not_found(broker.peek(&group("nobody"), Part::Ready, None, 10).await);
}

/// The listing has every declared group, with its subscription, depth and pause.
pub async fn groups_are_listed_by_name(broker: Shared) {
    let declared = [subscription("two", &["#"], 7), subscription("one", &["video", "job.*"], 1_000)];
    broker.declare(&declared).await.unwrap();
    publish(&broker, "video", message("1")).await;
    publish(&broker, "job.run", message("2")).await;
    bury(&broker, "one", "broken").await;
    broker.pause(&group("two")).await.unwrap();
    let groups = broker.groups().await.unwrap();
    let names: Vec<&str> = groups.iter().map(|status| status.group.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    for (status, subscription) in groups.iter().zip(declared.iter().rev()) {
        assert_eq!(status.subscription.as_ref(), Some(subscription));
        assert_eq!(status.depth, broker.depth(&status.group).await.unwrap());
    }
    assert_eq!((groups[0].depth.ready, groups[0].depth.dead, groups[0].paused), (1, 1, false));
    assert_eq!((groups[1].depth.ready, groups[1].depth.dead, groups[1].paused), (2, 0, true));
}

/// A group that is declared no more is listed, without a subscription, while it holds something or
/// is paused.
pub async fn an_empty_group_of_the_past_is_not_listed(broker: Shared) {
    let names = async || -> Vec<String> {
        let groups = broker.groups().await.unwrap();
        groups.into_iter().map(|status| format!("{} {}", status.group, status.subscription.is_some())).collect()
    };
    assert_eq!(names().await, [""; 0]);
    declare(&broker, &[("dead", &["a"]), ("empty", &["b"]), ("paused", &["c"]), ("waiting", &["d"])]).await;
    publish(&broker, "a", message("1")).await;
    publish(&broker, "d", message("2")).await;
    bury(&broker, "dead", "broken").await;
    broker.pause(&group("paused")).await.unwrap();
    broker.declare(&[]).await.unwrap();
    assert_eq!(names().await, ["dead false", "paused false", "waiting false"]);
    broker.resume(&group("paused")).await.unwrap();
    drain(&broker, "waiting", 1).await;
    let dead = letters(&broker, "dead").await.remove(0).id;
    broker.delete_dead_letter(&group("dead"), &dead).await.unwrap();
    assert_eq!(names().await, [""; 0]);
    assert_eq!(broker.depth(&group("dead")).await.unwrap(), Depth::default());
}
