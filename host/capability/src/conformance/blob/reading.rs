//! What `get`, `read_at` and `head` answer.

use super::*;
use crate::blob::MAX_READ;

/// A missing key is `NotFound` for every way to read.
pub async fn a_missing_object_is_not_found(store: Shared) {
    let key = Space::new().key("a");
    assert_missing(&store, &key).await;
    assert!(matches!(store.get(&key, None).await.err(), Some(Error::NotFound(_))));
    assert!(matches!(store.get(&key, Some(Range { offset: 0, length: None })).await.err(), Some(Error::NotFound(_))));
    assert!(matches!(store.read_at(&key, 0, 1).await, Err(Error::NotFound(_))));
}

/// A range has exactly its bytes.
pub async fn a_range_is_those_bytes(store: Shared) {
    let key = Space::new().key("a");
    let content = content(1, 3_000_000);
    put(&store, &key, &content).await;
    for (start, end) in
        [(0, 1), (0, 3_000_000), (1, 2), (262_143, 262_145), (999_999, 2_500_000), (2_999_999, 3_000_000)]
    {
        let found = get_range(&store, &key, start as u64, Some((end - start) as u64)).await;
        assert!(found == content[start..end], "not bytes {start} to {end}");
    }
    assert!(get_range(&store, &key, 2_000_000, None).await == content[2_000_000..]);
    assert_eq!(get_range(&store, &key, 5, Some(0)).await, "");
}

/// A range reaching over the end stops there.
pub async fn a_range_over_the_end_stops_there(store: Shared) {
    let key = Space::new().key("a");
    put(&store, &key, &"0123456789".into()).await;
    assert_eq!(get_range(&store, &key, 8, Some(3)).await, "89");
    assert_eq!(get_range(&store, &key, 8, Some(u64::MAX)).await, "89");
}

/// A range may start at the end, and is empty then.
pub async fn a_range_at_the_end_is_empty(store: Shared) {
    let key = Space::new().key("a");
    put(&store, &key, &"0123456789".into()).await;
    assert_eq!(get_range(&store, &key, 10, None).await, "");
    assert_eq!(get_range(&store, &key, 10, Some(1)).await, "");
}

/// A range that starts behind the end is `Invalid`.
pub async fn a_range_behind_the_end_is_invalid(store: Shared) {
    let key = Space::new().key("a");
    put(&store, &key, &"0123456789".into()).await;
    for offset in [11, u64::MAX] {
        let result = store.get(&key, Some(Range { offset, length: Some(1) })).await;
        assert!(matches!(result.err(), Some(Error::Invalid(_))));
    }
}

/// With a range come the properties of the whole object.
pub async fn a_range_has_the_objects_properties(store: Shared) {
    let key = Space::new().key("a");
    let info = put(&store, &key, &"0123456789".into()).await;
    assert_eq!(store.get(&key, Some(Range { offset: 2, length: Some(3) })).await.unwrap().0, info);
}

/// `read_at` gives exactly its bytes.
pub async fn reading_at_an_offset_gives_those_bytes(store: Shared) {
    let key = Space::new().key("a");
    let content = content(1, MAX_READ + 1_000);
    put(&store, &key, &content).await;
    for (offset, length) in [(0, 1), (1, 10), (777, 100_000), (1_000, MAX_READ), (5, 0)] {
        let found = store.read_at(&key, offset as u64, length).await.unwrap();
        assert!(found == content[offset..offset + length], "not {length} bytes at {offset}");
    }
}

/// `read_at` gives fewer bytes only at the end, none behind it.
pub async fn reading_at_the_end_gives_fewer_bytes(store: Shared) {
    let key = Space::new().key("a");
    put(&store, &key, &"0123456789".into()).await;
    for (offset, expected) in [(8, "89"), (10, ""), (11, ""), (u64::MAX, "")] {
        assert_eq!(store.read_at(&key, offset, 5).await.unwrap(), expected, "at {offset}");
    }
}

/// `read_at` gives at most [`MAX_READ`] bytes.
pub async fn reading_more_than_the_limit_is_too_large(store: Shared) {
    let key = Space::new().key("a");
    put(&store, &key, &"0123456789".into()).await;
    assert!(matches!(store.read_at(&key, 0, MAX_READ + 1).await, Err(Error::TooLarge(_))));
    assert_eq!(store.read_at(&key, 0, MAX_READ).await.unwrap(), "0123456789");
}

/// Opens an object, changes it by `change`, and reads on.
async fn keeps<F: Future<Output = ()>>(store: Shared, change: impl FnOnce(Shared, Key) -> F) {
    let key = Space::new().key("a");
    let old = content(1, 4_000_000);
    let info = put(&store, &key, &old).await;
    let (opened, mut body) = store.get(&key, None).await.unwrap();
    let first = body.next().await.unwrap().unwrap();
    assert!(first.len() < old.len(), "read whole at once");
    change(store, key).await;
    let rest = drain(body).await.unwrap();
    assert_eq!(opened, info);
    assert!([first, rest].concat() == old, "not what was opened");
}

/// What was opened is read to its end after the object was replaced.
pub async fn a_reader_keeps_what_it_opened_when_replaced(store: Shared) {
    keeps(store, |store, key| async move {
        put(&store, &key, &"new".into()).await;
        assert_eq!(get(&store, &key).await, "new");
    })
    .await;
}

/// What was opened is read to its end after the object was deleted.
pub async fn a_reader_keeps_what_it_opened_when_deleted(store: Shared) {
    keeps(store, |store, key| async move {
        store.delete(&key).await.unwrap();
        assert_missing(&store, &key).await;
    })
    .await;
}

/// A body need not be read to its end.
pub async fn a_body_may_be_dropped_half_read(store: Shared) {
    let key = Space::new().key("a");
    let content = content(1, 4_000_000);
    put(&store, &key, &content).await;
    for _ in 0..20 {
        let (_, mut body) = store.get(&key, None).await.unwrap();
        body.next().await.unwrap().unwrap();
    }
    assert!(get(&store, &key).await == content);
}

/// Readers see one object or the next, with the properties that belong to it.
pub async fn readers_see_whole_objects_while_they_are_replaced(store: Shared) {
    let key = Space::new().key("a");
    let version = |seed: u64| content(seed, 300_000 + seed as usize);
    put(&store, &key, &version(0)).await;
    let writer = {
        let (store, key) = (store.clone(), key.clone());
        spawn(async move {
            for seed in 1..30 {
                put(&store, &key, &version(seed)).await;
            }
        })
    };
    let mut last = 0;
    while !writer.is_finished() {
        let (info, body) = store.get(&key, None).await.unwrap();
        let seed = info.size - 300_000;
        assert!(seed >= last, "an older object came back");
        assert!(drain(body).await.unwrap() == version(seed), "content and properties differ");
        let read = store.read_at(&key, 0, 100).await.unwrap();
        assert!((seed..30).any(|seed| read == version(seed)[..100]), "bytes of no object");
        last = seed;
    }
    writer.await.unwrap();
}

/// Other content has another entity tag.
pub async fn the_entity_tag_differs_if_the_content_differs(store: Shared) {
    let key = Space::new().key("a");
    let first = put(&store, &key, &"one".into()).await.etag;
    let second = put(&store, &key, &"two".into()).await.etag;
    assert_ne!(first, second);
    assert_eq!(store.head(&key).await.unwrap().etag, second);
}
