//! Leases and receipts.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::super::MARGIN;
use super::{
    DAY, MEDIUM, SHORT, Shared, assert_conflict, assert_none, bury, declare, drain, group, letters, message, publish,
    ready, receive,
};
use crate::Error;
use crate::queue::Receipt;

/// A message is in one lease at a time.
pub async fn a_leased_message_is_not_received_again(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let delivery = receive(&broker, "workers", DAY).await;
    assert_none(&broker, "workers").await;
    broker.acknowledge(&group("workers"), &delivery.receipt).await.unwrap();
}

/// Where a lease ran out, the message is delivered again as its next attempt, with `lease expired`
/// in its history.
pub async fn an_expired_lease_is_the_next_attempt(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let id = publish(&broker, "video", message("1")).await;
    for attempt in 1..=3 {
        let start = Instant::now();
        let delivery = receive(&broker, "workers", SHORT).await;
        assert_eq!((&delivery.id, delivery.attempt), (&id, attempt));
        ready(&broker, "workers").await;
        assert!(start.elapsed() + MARGIN >= SHORT, "the lease ended after {:?} already", start.elapsed());
    }
    let last = bury(&broker, "workers", "broken").await;
    assert_eq!(last.attempt, 4);
    let letter = letters(&broker, "workers").await.remove(0);
    let history: Vec<_> = letter.history.iter().map(|failure| (failure.attempt, failure.reason.as_str())).collect();
    assert_eq!(history, [(1, "lease expired"), (2, "lease expired"), (3, "lease expired"), (4, "broken")]);
    assert!(letter.history.is_sorted_by_key(|failure| failure.at));
}

/// A renewed lease ends at its new time, not at its old one.
pub async fn a_renewed_lease_holds(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let delivery = receive(&broker, "workers", MEDIUM).await;
    broker.renew(&group("workers"), &delivery.receipt, DAY).await.unwrap();
    let received = broker.receive(&group("workers"), 1, DAY, MEDIUM + SHORT).await.unwrap();
    assert!(received.is_empty(), "the first lease ended nevertheless");
    broker.acknowledge(&group("workers"), &delivery.receipt).await.unwrap();
    drain(&broker, "workers", 0).await;
}

/// A lease can be renewed to an earlier end too: it ends `lease` from now.
pub async fn a_renewed_lease_ends_after_its_new_time(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let delivery = receive(&broker, "workers", DAY).await;
    let start = Instant::now();
    broker.renew(&group("workers"), &delivery.receipt, SHORT).await.unwrap();
    assert_eq!(receive(&broker, "workers", DAY).await.attempt, 2);
    assert!(start.elapsed() + MARGIN >= SHORT, "the lease ended after {:?} already", start.elapsed());
}

async fn assert_stale(broker: &Shared, receipt: &Receipt) {
    let workers = group("workers");
    let before = broker.depth(&workers).await.unwrap();
    assert_conflict(broker.renew(&workers, receipt, DAY).await);
    assert_conflict(broker.acknowledge(&workers, receipt).await);
    assert_conflict(broker.retry(&workers, receipt, Duration::ZERO, "late").await);
    assert_conflict(broker.release(&workers, receipt).await);
    assert_conflict(broker.bury(&workers, receipt, "late").await);
    assert_eq!(broker.depth(&workers).await.unwrap(), before, "a stale receipt changed something");
}

/// A delivery is settled once: its receipt is a conflict from then on, for every verb.
pub async fn a_settled_receipt_is_a_conflict_for_every_verb(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    let workers = group("workers");
    for verb in ["acknowledge", "retry", "retry later", "release", "bury"] {
        publish(&broker, "video", message(verb)).await;
        let receipt = receive(&broker, "workers", DAY).await.receipt;
        match verb {
            "acknowledge" => broker.acknowledge(&workers, &receipt).await,
            "retry" => broker.retry(&workers, &receipt, Duration::ZERO, "again").await,
            "retry later" => broker.retry(&workers, &receipt, DAY, "again").await,
            "release" => broker.release(&workers, &receipt).await,
            _ => broker.bury(&workers, &receipt, "broken").await,
        }
        .unwrap();
        assert_stale(&broker, &receipt).await;
    }
}

/// The receipt of a lease that ran out is a conflict, also before anyone received the message
/// again.
pub async fn an_expired_receipt_is_a_conflict_for_every_verb(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let receipt = receive(&broker, "workers", SHORT).await.receipt;
    ready(&broker, "workers").await;
    assert_stale(&broker, &receipt).await;
    drain(&broker, "workers", 1).await;
}

/// Only the latest holder can settle a delivery.
pub async fn a_receipt_of_an_earlier_lease_is_a_conflict(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    let first = receive(&broker, "workers", SHORT).await;
    let second = receive(&broker, "workers", DAY).await;
    assert_eq!(second.id, first.id);
    assert_stale(&broker, &first.receipt).await;
    broker.renew(&group("workers"), &second.receipt, DAY).await.unwrap();
    broker.acknowledge(&group("workers"), &second.receipt).await.unwrap();
    drain(&broker, "workers", 0).await;
}

/// A receipt of another group, of nothing, or of a group that does not exist is a conflict.
pub async fn a_foreign_receipt_is_a_conflict(broker: Shared) {
    declare(&broker, &[("workers", &["video"]), ("others", &["video"])]).await;
    publish(&broker, "video", message("1")).await;
    receive(&broker, "workers", DAY).await;
    let foreign = receive(&broker, "others", DAY).await.receipt;
    for receipt in [foreign.0.as_str(), "", ":", "1", "x:y", "\u{0}é", "18446744073709551616:1"] {
        // An engine may name leases the same way in every group; then this one is the group's own.
        let own = broker.renew(&group("workers"), &Receipt(receipt.into()), DAY).await.is_ok();
        assert!(!own || receipt == foreign.0, "{receipt:?} is no receipt");
        if !own {
            assert_stale(&broker, &Receipt(receipt.into())).await;
        }
    }
    assert_conflict(broker.acknowledge(&group("nobody"), &foreign).await);
}

/// Of many concurrent settlements of one delivery exactly one succeeds.
pub async fn of_concurrent_settlements_one_succeeds(broker: Shared) {
    declare(&broker, &[("workers", &["video"])]).await;
    for _ in 0..5 {
        publish(&broker, "video", message("1")).await;
        let receipt = receive(&broker, "workers", DAY).await.receipt;
        let mut tasks = JoinSet::new();
        for task in 0..12 {
            let (broker, receipt) = (broker.clone(), receipt.clone());
            tasks.spawn(async move {
                let workers = group("workers");
                let result = match task % 3 {
                    0 => broker.acknowledge(&workers, &receipt).await,
                    1 => broker.retry(&workers, &receipt, DAY, "again").await,
                    _ => broker.bury(&workers, &receipt, "broken").await,
                };
                match result {
                    Ok(()) => 1,
                    Err(Error::Conflict) => 0,
                    Err(error) => panic!("{error:?}"),
                }
            });
        }
        assert_eq!(tasks.join_all().await.into_iter().sum::<u32>(), 1);
    }
    let depth = broker.depth(&group("workers")).await.unwrap();
    assert_eq!((depth.ready, depth.in_flight), (0, 0));
    assert!(depth.delayed + depth.dead <= 5);
}
