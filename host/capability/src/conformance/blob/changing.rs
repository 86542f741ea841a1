//! Replacing, deleting and copying; and what a key may be.

use super::*;
use crate::blob::MAX_KEY;

fn described(content_type: &str) -> PutOptions {
    PutOptions {
        content_type: Some(content_type.into()),
        metadata: vec![("of".into(), content_type.into())],
        ..PutOptions::default()
    }
}

/// A `put` replaces content, content type and metadata.
pub async fn replacing_replaces_everything(store: Shared) {
    let key = Space::new().key("a");
    put_with(&store, &key, &"a long content".into(), described("audio/mpeg")).await.unwrap();
    let info = put(&store, &key, &"short".into()).await;
    assert_eq!((info.content_type.as_str(), info.metadata.len()), ("application/octet-stream", 0));
    assert_eq!(store.head(&key).await.unwrap(), info);
    assert_eq!(get(&store, &key).await, "short");
}

/// A deleted object is gone, and no other.
pub async fn deleting_removes(store: Shared) {
    let space = Space::new();
    put(&store, &space.key("a"), &"x".into()).await;
    put(&store, &space.key("b"), &"y".into()).await;
    store.delete(&space.key("a")).await.unwrap();
    assert_missing(&store, &space.key("a")).await;
    assert_eq!(space.names(&list(&store, &space.0, None, 10).await), ["b"]);
    assert_eq!(get(&store, &space.key("b")).await, "y");
}

/// Deleting a missing object is not an error.
pub async fn deleting_a_missing_object_is_no_error(store: Shared) {
    let key = Space::new().key("a");
    store.delete(&key).await.unwrap();
    put(&store, &key, &"x".into()).await;
    store.delete(&key).await.unwrap();
    store.delete(&key).await.unwrap();
}

/// A deleted key is free.
pub async fn a_deleted_key_can_be_put_again(store: Shared) {
    let key = Space::new().key("a");
    put(&store, &key, &"old".into()).await;
    store.delete(&key).await.unwrap();
    put_with(
        &store,
        &key,
        &"new".into(),
        PutOptions { if_absent: store.capabilities().if_absent, ..PutOptions::default() },
    )
    .await
    .unwrap();
    assert_eq!(get(&store, &key).await, "new");
}

/// A copy has the content, content type and metadata of its source.
pub async fn a_copy_has_content_and_properties(store: Shared) {
    let space = Space::new();
    let (source, destination) = (space.key("a"), space.key("b"));
    let content = content(1, 2_000_000);
    let original = put_with(&store, &source, &content, described("audio/mpeg")).await.unwrap();
    let copy = store.copy(&source, &destination).await.unwrap();
    assert_eq!((&copy.key, copy.size, &copy.sha256), (&destination, original.size, &original.sha256));
    assert_eq!((&copy.content_type, &copy.metadata), (&original.content_type, &original.metadata));
    assert_eq!(store.head(&destination).await.unwrap(), copy);
    assert_eq!(store.head(&source).await.unwrap(), original);
    assert!(get(&store, &destination).await == content);
}

/// A copy replaces everything of its destination.
pub async fn a_copy_replaces_its_destination(store: Shared) {
    let space = Space::new();
    let (source, destination) = (space.key("a"), space.key("b"));
    put(&store, &source, &"new".into()).await;
    put_with(&store, &destination, &"old".into(), described("audio/mpeg")).await.unwrap();
    store.copy(&source, &destination).await.unwrap();
    assert_eq!(get(&store, &destination).await, "new");
    assert_eq!(store.head(&destination).await.unwrap().content_type, "application/octet-stream");
}

/// Source and copy do not depend on one another.
pub async fn a_copy_outlives_its_source(store: Shared) {
    let space = Space::new();
    let (source, destination) = (space.key("a"), space.key("b"));
    put(&store, &source, &"one".into()).await;
    store.copy(&source, &destination).await.unwrap();
    put(&store, &source, &"two".into()).await;
    assert_eq!(get(&store, &destination).await, "one");
    store.delete(&source).await.unwrap();
    assert_eq!(get(&store, &destination).await, "one");
    store.copy(&destination, &source).await.unwrap();
    store.delete(&destination).await.unwrap();
    assert_eq!(get(&store, &source).await, "one");
}

/// Copying a missing object is `NotFound` and changes nothing.
pub async fn copying_a_missing_object_is_not_found(store: Shared) {
    let space = Space::new();
    put(&store, &space.key("b"), &"x".into()).await;
    let result = store.copy(&space.key("a"), &space.key("b")).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    assert_eq!(get(&store, &space.key("b")).await, "x");
}

/// An object may be copied onto itself.
pub async fn copying_onto_itself_keeps_the_content(store: Shared) {
    let key = Space::new().key("a");
    put_with(&store, &key, &"content".into(), described("audio/mpeg")).await.unwrap();
    store.copy(&key, &key).await.unwrap();
    assert_eq!(get(&store, &key).await, "content");
    assert_eq!(store.head(&key).await.unwrap().content_type, "audio/mpeg");
}

/// `/` and `..` mean nothing in a key.
pub async fn keys_are_names_and_not_paths(store: Shared) {
    let space = Space::new();
    let names = [
        "../../../../etc/passwd",
        "/",
        "//",
        ".",
        "..",
        "a",
        "a/",
        "a/b",
        "a/../b",
        "a\\b",
        "con",
        "a b",
        "é%2f",
        "~",
        "'\"$(x)`",
    ];
    for name in names {
        put(&store, &space.key(name), &Bytes::from(name)).await;
    }
    for name in names {
        assert_eq!(get(&store, &space.key(name)).await, name);
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(space.names(&list(&store, &space.0, None, 100).await), sorted);
    for raw in ["..", "/", ".", "../x"] {
        // Without a prefix before it: nothing may escape, whether there is such an object or not.
        let key = Key::new(raw).unwrap();
        put(&store, &key, &"x".into()).await;
        assert_eq!(get(&store, &key).await, "x");
    }
}

/// Keys have up to 1024 bytes, and all of them count.
pub async fn the_longest_key_is_a_key(store: Shared) {
    let space = Space::new();
    for (fill, last) in [("x", "a"), ("x", "b"), ("/", "c")] {
        let name = format!("{}{last}", fill.repeat(MAX_KEY - 1 - space.0.len()));
        let key = space.key(&name);
        assert_eq!(key.as_str().len(), MAX_KEY);
        put(&store, &key, &Bytes::from(last)).await;
        assert_eq!(get(&store, &key).await, last);
        assert_eq!(store.head(&key).await.unwrap().key, key);
    }
    let first = list(&store, &space.0, None, 1).await;
    assert_eq!(list(&store, &space.0, first.cursor.as_deref(), 10).await.objects.len(), 2);
}

/// Keys are compared by their bytes.
pub async fn keys_that_differ_little_are_different(store: Shared) {
    let space = Space::new();
    // Case, Unicode normalisation, trailing dots and spaces.
    let names = ["a", "A", "a.", "a ", " a", "\u{e9}", "e\u{301}", "a\u{200b}"];
    for name in names {
        put(&store, &space.key(name), &Bytes::from(name)).await;
    }
    for name in names {
        assert_eq!(get(&store, &space.key(name)).await, name);
    }
    assert_eq!(list(&store, &space.0, None, 100).await.objects.len(), names.len());
}
