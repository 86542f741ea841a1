//! The blob suite: what every [`Store`] does. Cases touch only keys below a prefix of their own,
//! so they can share a store and run at the same time.

mod changing;
mod listing;
mod putting;
mod reading;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use sha2::{Digest, Sha256};

pub use changing::*;
pub use listing::*;
pub use putting::*;
pub use reading::*;

use super::unique;
use crate::blob::{Body, Info, Key, Page, PutOptions, Range, Store};
use crate::{Error, Result};

/// The tests of a blob back-end: one for each case of this suite.
///
/// `$make` is an `async fn() -> Option<(Arc<dyn blob::Store>, G)>`; `G` is kept until the case
/// ended, and `None` skips the case because a service is missing.
#[macro_export]
macro_rules! blob_suite {
    ($make:expr) => {
        $crate::blob_suite! { @cases $make;
            an_object_is_what_was_put
            an_object_of_many_chunks_is_whole
            an_empty_object_is_an_object
            empty_chunks_add_nothing
            without_a_content_type_it_is_octets
            content_type_and_metadata_are_kept
            options_beyond_the_limits_are_refused
            an_object_is_not_visible_before_its_end
            a_failed_body_leaves_nothing
            a_failed_body_leaves_what_was_there
            a_dropped_put_leaves_nothing
            a_body_over_the_maximum_is_too_large
            a_body_over_the_maximum_is_not_read_to_its_end
            a_body_of_the_maximum_is_not_too_large
            if_absent_stores_a_new_object
            if_absent_conflicts_with_an_object
            if_absent_counts_when_the_object_is_complete
            of_competing_if_absent_puts_exactly_one_wins
            the_last_to_finish_wins
            concurrent_puts_to_a_key_do_not_mix
            a_put_waits_for_its_body
            a_missing_object_is_not_found
            a_range_is_those_bytes
            a_range_over_the_end_stops_there
            a_range_at_the_end_is_empty
            a_range_behind_the_end_is_invalid
            a_range_has_the_objects_properties
            reading_at_an_offset_gives_those_bytes
            reading_at_the_end_gives_fewer_bytes
            reading_more_than_the_limit_is_too_large
            a_reader_keeps_what_it_opened_when_replaced
            a_reader_keeps_what_it_opened_when_deleted
            a_body_may_be_dropped_half_read
            readers_see_whole_objects_while_they_are_replaced
            the_entity_tag_differs_if_the_content_differs
            replacing_replaces_everything
            deleting_removes
            deleting_a_missing_object_is_no_error
            a_deleted_key_can_be_put_again
            a_copy_has_content_and_properties
            a_copy_replaces_its_destination
            a_copy_outlives_its_source
            copying_a_missing_object_is_not_found
            copying_onto_itself_keeps_the_content
            keys_are_names_and_not_paths
            the_longest_key_is_a_key
            keys_that_differ_little_are_different
            keys_list_in_byte_order
            a_listing_has_the_properties
            a_prefix_is_what_keys_begin_with
            pages_are_limited_and_continue_at_the_cursor
            a_page_that_ends_at_the_last_key_is_the_last_or_followed_by_an_empty_one
            a_cursor_survives_changes_around_it
            a_listing_has_no_unfinished_objects
            a_limit_out_of_bounds_is_invalid
            a_foreign_cursor_is_invalid
        }
    };
    (@cases $make:expr; $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let Some((store, _guard)) = $make().await else { return };
            $crate::conformance::blob::$case(store).await;
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

    fn key(&self, name: &str) -> Key {
        Key::new(format!("{}{name}", self.0)).unwrap()
    }

    /// The names of a page's objects, without the prefix.
    fn names(&self, page: &Page) -> Vec<String> {
        page.objects.iter().map(|info| info.key.as_str()[self.0.len()..].to_owned()).collect()
    }
}

/// Bytes that look random, the same for the same seed.
fn content(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A body in chunks of this size.
fn body(content: &Bytes, chunk: usize) -> Body<'static> {
    let chunks: Vec<Result<Bytes>> = content.chunks(chunk).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks).boxed()
}

/// A body that fails after `content`.
fn failing(content: &Bytes) -> Body<'static> {
    let end = stream::iter([Err(Error::Incomplete("the writer went away".into()))]);
    body(content, 64 << 10).chain(end).boxed()
}

/// A body that stays open until the sender is dropped or has sent all chunks.
fn open_body() -> (tokio::sync::mpsc::Sender<Result<Bytes>>, Body<'static>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let body = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    (sender, body.boxed())
}

async fn put(store: &Shared, key: &Key, content: &Bytes) -> Info {
    put_with(store, key, content, PutOptions::default()).await.unwrap()
}

async fn put_with(store: &Shared, key: &Key, content: &Bytes, options: PutOptions) -> Result<Info> {
    store.put(key, options, body(content, 64 << 10)).await
}

async fn drain(mut body: Body<'_>) -> Result<Bytes> {
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all.into())
}

async fn get(store: &Shared, key: &Key) -> Bytes {
    drain(store.get(key, None).await.unwrap().1).await.unwrap()
}

async fn get_range(store: &Shared, key: &Key, offset: u64, length: Option<u64>) -> Bytes {
    let (_, body) = store.get(key, Some(Range { offset, length })).await.unwrap();
    drain(body).await.unwrap()
}

async fn list(store: &Shared, prefix: &str, cursor: Option<&str>, limit: usize) -> Page {
    store.list(prefix, cursor, limit).await.unwrap()
}

/// Runs a future on the runtime, so that it goes on while the case does something else.
fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(future)
}

async fn assert_missing(store: &Shared, key: &Key) {
    let result = store.head(key).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "not missing: {result:?}");
}

/// Counts the chunks that were taken from a body.
fn counted(body: Body<'static>) -> (Arc<AtomicUsize>, Body<'static>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let body = body.inspect(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    (taken, body.boxed())
}
