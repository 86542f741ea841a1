//! The queue suite: what every [`Broker`] does. Each case needs a broker of its own, because a
//! declaration is the whole set.

mod dead;
mod delivery;
mod lease;
mod ordering;
mod peek;
mod publish;
mod steer;
mod subscribe;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use dead::*;
pub use delivery::*;
pub use lease::*;
pub use ordering::*;
pub use peek::*;
pub use publish::*;
pub use steer::*;
pub use subscribe::*;

use super::DEADLINE;
use crate::queue::{Broker, DeadLetter, Delivery, Group, Message, MessageId, Publication, QueueName, Subscription};
use crate::{Error, Result};

/// The tests of a queue back-end: one for each case of this suite.
///
/// `$make` is an `async fn() -> Option<(Arc<dyn queue::Broker>, G)>` that makes a fresh broker each
/// time; `G` is kept until the case ended, and `None` skips the case because a service is missing.
/// Cases of what the broker's [`crate::queue::Capabilities`] lack pass without doing anything.
#[macro_export]
macro_rules! queue_suite {
    ($make:expr) => {
        $crate::queue_suite! { @cases $make;
            // subscribe
            publishing_to_nobody_is_not_found
            subscribed_is_true_for_queues_with_a_group
            every_group_receives_every_message
            a_pattern_receives_what_it_matches
            a_message_matched_twice_is_received_once
            a_new_group_receives_what_is_published_from_then_on
            declaring_again_changes_nothing
            a_withdrawn_group_receives_nothing_more_but_keeps_what_it_holds
            a_group_never_declared_is_not_found_by_receivers
            other_patterns_replace_a_groups_earlier_ones
            // publish
            a_message_is_delivered_unchanged
            the_largest_message_is_delivered
            messages_are_delivered_earliest_first
            a_full_group_refuses_for_all
            in_flight_messages_count_for_the_depth_limit
            concurrent_publishers_keep_the_depth_limit
            a_deduplication_id_is_accepted_once
            a_deduplication_id_belongs_to_its_queue
            a_refused_publication_is_not_remembered
            of_concurrent_duplicates_one_is_stored
            a_message_id_is_accepted_once
            a_duplicate_is_accepted_where_the_group_is_full
            // delivery
            at_most_the_maximum_is_received
            an_empty_group_receives_nothing_after_the_wait
            a_waiting_receiver_wakes_early
            every_waiting_receiver_wakes
            a_waiting_receiver_wakes_for_a_retry
            competing_receivers_handle_each_message_once
            a_dropped_receive_loses_nothing
            an_acknowledged_message_is_gone
            acknowledging_in_one_group_leaves_the_others
            a_message_is_not_delivered_before_its_time
            a_time_in_the_past_means_at_once
            a_retry_waits_its_delay_and_is_the_next_attempt
            a_retry_without_delay_is_delivered_at_once
            a_released_attempt_does_not_count
            depth_counts_what_a_group_holds
            the_oldest_is_the_first_accepted
            // lease
            a_leased_message_is_not_received_again
            an_expired_lease_is_the_next_attempt
            a_renewed_lease_holds
            a_renewed_lease_ends_after_its_new_time
            a_settled_receipt_is_a_conflict_for_every_verb
            an_expired_receipt_is_a_conflict_for_every_verb
            a_receipt_of_an_earlier_lease_is_a_conflict
            a_foreign_receipt_is_a_conflict
            of_concurrent_settlements_one_succeeds
            // ordering
            an_ordering_key_is_handled_one_after_another
            a_retry_holds_back_those_behind
            an_expired_lease_holds_back_those_behind
            a_released_message_stays_in_front
            a_message_waiting_for_its_time_holds_back_those_behind
            a_buried_message_lets_the_next_through
            other_ordering_keys_are_not_held_back
            competing_receivers_keep_an_ordering_key_in_order
            a_replayed_message_keeps_to_its_ordering_key
            // dead letters
            a_buried_message_is_a_dead_letter
            a_dead_letter_has_its_history
            the_history_keeps_the_latest_failures
            a_long_reason_is_clipped
            dead_letters_are_listed_oldest_death_first
            dead_letters_come_in_pages
            a_foreign_cursor_is_invalid
            a_replayed_letter_starts_again
            a_deleted_letter_is_gone
            an_unknown_letter_is_not_found
            dead_letters_do_not_count_for_the_depth_limit
            dead_letters_belong_to_their_group
            // peek
            a_peek_shows_a_message_whole
            a_peek_leases_nothing
            a_peek_says_what_a_message_waits_for
            a_peek_shows_one_part
            a_peek_comes_in_pages
            a_page_of_large_messages_is_short
            a_peeks_foreign_cursor_is_invalid
            groups_are_listed_by_name
            an_empty_group_of_the_past_is_not_listed
            // steer
            a_purge_deletes_what_waits
            a_purge_leaves_what_is_in_flight
            a_purge_leaves_other_groups
            a_purge_deletes_dead_letters_only
            a_purge_lets_an_ordering_key_go_on
            a_purge_makes_room
            a_large_group_is_purged_whole
            competing_receivers_and_a_purge_handle_each_message_once
            all_dead_letters_are_replayed
            a_paused_group_receives_nothing
            a_pause_leaves_deliveries_and_other_groups
            a_waiting_receiver_goes_on_when_its_group_is_resumed
            a_pause_outlives_declarations
            a_group_never_declared_is_not_found_by_operators
        }
    };
    (@cases $make:expr; $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let Some((broker, _guard)) = $make().await else { return };
            $crate::conformance::queue::$case(broker).await;
        }
    )*};
}

type Shared = Arc<dyn Broker>;

/// A lease or delay that no case outlives.
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// How long a receiver waits for what must come.
pub(super) const WAIT: Duration = DEADLINE;
/// A lease or delay that is to end.
const SHORT: Duration = Duration::from_millis(300);
/// A lease that is to hold until the next call, also on a slow machine.
const MEDIUM: Duration = Duration::from_secs(5);
/// How long to look at what must not come.
const QUIET: Duration = Duration::from_millis(150);

pub(super) fn name(queue: &str) -> QueueName {
    queue.parse().unwrap()
}

pub(super) fn group(group: &str) -> Group {
    group.parse().unwrap()
}

pub(super) fn message(body: &str) -> Message {
    Message { body: body.to_owned().into(), ..Message::default() }
}

fn keyed(body: &str, ordering_key: &str) -> Message {
    Message { ordering_key: Some(ordering_key.into()), ..message(body) }
}

fn subscription(group: &str, patterns: &[&str], max_depth: u64) -> Subscription {
    let patterns = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
    Subscription { group: group.parse().unwrap(), patterns, max_depth }
}

/// Declares groups by their patterns, without a depth limit that matters.
pub(super) async fn declare(broker: &Shared, groups: &[(&str, &[&str])]) {
    let set: Vec<_> = groups.iter().map(|(group, patterns)| subscription(group, patterns, 1_000_000)).collect();
    broker.declare(&set).await.unwrap();
}

async fn try_publish(broker: &Shared, queue: &str, message: Message) -> Result<MessageId> {
    broker.publish(Publication { queue: name(queue), message, id: None }).await
}

async fn publish(broker: &Shared, queue: &str, message: Message) -> MessageId {
    try_publish(broker, queue, message).await.unwrap()
}

/// Leases one message, waiting for it.
async fn receive(broker: &Shared, from: &str, lease: Duration) -> Delivery {
    let mut received = broker.receive(&group(from), 1, lease, WAIT).await.unwrap();
    assert_eq!(received.len(), 1, "one message was expected in `{from}`");
    received.remove(0)
}

/// Checks that a group has nothing to deliver now.
async fn assert_none(broker: &Shared, from: &str) {
    let received = broker.receive(&group(from), 10, DAY, QUIET).await.unwrap();
    assert!(received.is_empty(), "nothing was expected in `{from}`: {received:?}");
}

/// Receives and acknowledges exactly `count` messages.
pub(super) async fn drain(broker: &Shared, from: &str, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    let start = Instant::now();
    while all.len() < count {
        assert!(start.elapsed() < DEADLINE, "{} of {count} messages came in `{from}`", all.len());
        for delivery in broker.receive(&group(from), 10, DAY, WAIT).await.unwrap() {
            broker.acknowledge(&group(from), &delivery.receipt).await.unwrap();
            all.push(delivery);
        }
    }
    assert_none(broker, from).await;
    assert_eq!(all.len(), count);
    all
}

/// Waits until a group has something that can be delivered, without taking it.
async fn ready(broker: &Shared, in_group: &str) {
    let start = Instant::now();
    while broker.depth(&group(in_group)).await.unwrap().ready == 0 {
        assert!(start.elapsed() < DEADLINE, "nothing became ready in `{in_group}`");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn bury(broker: &Shared, from: &str, reason: &str) -> Delivery {
    let delivery = receive(broker, from, DAY).await;
    broker.bury(&group(from), &delivery.receipt, reason).await.unwrap();
    delivery
}

async fn letters(broker: &Shared, of: &str) -> Vec<DeadLetter> {
    let page = broker.dead_letters(&group(of), None, 100).await.unwrap();
    assert_eq!(page.cursor, None);
    page.letters
}

fn body(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.message.body).unwrap()
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(body).collect()
}

fn assert_conflict<T: std::fmt::Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Conflict)), "not a conflict: {result:?}");
}

fn assert_full<T: std::fmt::Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Full(_))), "not full: {result:?}");
}

fn assert_not_found<T: std::fmt::Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::NotFound(_))), "not `not found`: {result:?}");
}
