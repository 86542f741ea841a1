//! The key-value suite: what every [`Store`] does. Cases touch only keys below a prefix of their
//! own, so they can share a store and run at the same time.

mod commits;
mod counters;
mod expiry;
mod listing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use commits::*;
pub use counters::*;
pub use expiry::*;
pub use listing::*;

use super::{DEADLINE, unique};
use crate::kv::{Check, Commit, Committed, Entry, Key, List, Operation, Page, Range, Store, Version};
use crate::{Error, Result};

/// The tests of a key-value back-end: one for each case of this suite.
///
/// `$make` is an `async fn() -> Option<(Arc<dyn kv::Store>, G)>`; `G` is kept until the case ended,
/// and `None` skips the case because a service is missing.
#[macro_export]
macro_rules! kv_suite {
    ($make:expr) => {
        $crate::kv_suite! { @cases $make;
            a_missing_key_has_no_entry
            an_entry_is_what_was_written
            values_are_any_bytes_up_to_the_limit
            the_longest_key_is_a_key
            deleting_a_missing_key_is_no_error
            every_write_changes_the_version
            versions_are_not_used_again_after_a_delete
            a_commit_answers_the_version_of_what_it_wrote
            a_check_holds_for_the_version_it_names
            a_check_for_absence_holds_for_missing_keys_only
            a_failed_check_changes_nothing
            an_empty_commit_applies_its_checks
            checks_see_the_state_before_the_operations
            of_competing_commits_exactly_one_wins
            optimistic_updates_lose_nothing
            a_commit_is_seen_whole
            callers_read_their_own_writes
            later_operations_see_earlier_ones
            a_commit_may_be_as_large_as_the_limits
            counters_start_at_zero_and_are_decimal_text
            counters_cover_64_bits_exactly
            a_counter_beyond_64_bits_is_invalid
            other_values_are_no_counters
            a_failed_counter_changes_nothing
            concurrent_additions_add_up
            keys_sort_by_their_bytes
            reverse_is_the_opposite_order
            a_range_has_its_start_and_not_its_end
            a_prefix_is_what_keys_begin_with
            an_empty_range_has_no_entries
            pages_are_limited_and_continue_at_the_cursor
            reverse_pages_continue_at_the_cursor
            a_page_ends_at_its_byte_limit
            a_cursor_survives_changes_around_it
            reserved_keys_sort_last
            an_expired_entry_is_not_there_for_anyone
            a_set_replaces_the_time_to_live
            an_add_keeps_the_time_to_live
            an_expired_counter_starts_at_zero
            an_expired_entry_does_not_end_a_page
            publishing_needs_the_capability
        }
    };
    (@cases $make:expr; $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let Some((store, _guard)) = $make().await else { return };
            $crate::conformance::kv::$case(store).await;
        }
    )*};
}

type Shared = Arc<dyn Store>;

/// A prefix of keys that no other case uses.
struct Space(String);

impl Space {
    fn new() -> Self {
        Self(format!("{}/", unique()))
    }

    fn key(&self, name: impl AsRef<[u8]>) -> Key {
        Key::new([self.0.as_bytes(), name.as_ref()].concat()).unwrap()
    }

    fn prefix(&self) -> Range {
        Range::prefix(self.0.clone())
    }

    /// The names of a page's entries, without the prefix.
    fn names(&self, page: &Page) -> Vec<Vec<u8>> {
        page.entries.iter().map(|entry| entry.key.as_bytes()[self.0.len()..].to_vec()).collect()
    }
}

fn set(key: &Key, value: impl Into<Bytes>) -> Operation {
    Operation::Set { key: key.clone(), value: value.into(), time_to_live: None }
}

fn expiring(key: &Key, value: &'static str, time_to_live: Duration) -> Operation {
    Operation::Set { key: key.clone(), value: value.into(), time_to_live: Some(time_to_live) }
}

fn delete(key: &Key) -> Operation {
    Operation::Delete { key: key.clone() }
}

fn add(key: &Key, delta: i64) -> Operation {
    Operation::Add { key: key.clone(), delta }
}

fn check(key: &Key, version: Option<Version>) -> Check {
    Check { key: key.clone(), version }
}

async fn try_apply(store: &Shared, checks: Vec<Check>, operations: Vec<Operation>) -> Result<Committed> {
    store.commit(Commit { checks, operations }).await
}

async fn apply(store: &Shared, operations: Vec<Operation>) -> Version {
    try_apply(store, vec![], operations).await.unwrap().version
}

async fn value(store: &Shared, key: &Key) -> Option<Bytes> {
    store.get(key).await.unwrap().map(|entry| entry.value)
}

async fn list(store: &Shared, range: Range, limit: usize, reverse: bool, cursor: Option<Bytes>) -> Page {
    store.list(List { range, limit, reverse, cursor }).await.unwrap()
}

/// Every page of a range, and the entries of all.
async fn pages(store: &Shared, range: &Range, limit: usize, reverse: bool) -> (Vec<Page>, Vec<Entry>) {
    let (mut pages, mut entries, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let page = list(store, range.clone(), limit, reverse, cursor).await;
        cursor = page.cursor.clone();
        entries.extend(page.entries.clone());
        pages.push(page);
        if cursor.is_none() {
            return (pages, entries);
        }
        assert!(pages.len() < 10_000, "the listing does not end");
    }
}

/// Waits until an entry is gone.
async fn gone(store: &Shared, key: &Key) {
    let start = Instant::now();
    while store.get(key).await.unwrap().is_some() {
        assert!(start.elapsed() < DEADLINE, "the entry did not expire");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn assert_conflict<T: std::fmt::Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Conflict)), "not a conflict: {result:?}");
}

fn assert_invalid<T: std::fmt::Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Invalid(_))), "not invalid: {result:?}");
}
