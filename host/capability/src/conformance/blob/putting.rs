//! What `put` stores, and when.

use super::*;

/// An object has the content that was put, and its size, hash and time.
pub async fn an_object_is_what_was_put(store: Shared) {
    let key = Space::new().key("a");
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let info = put(&store, &key, &"hello".into()).await;
    assert_eq!((&info.key, info.size), (&key, 5));
    assert!(info.created.0 + 60_000 > before && info.created.0 < before + 60_000, "created: {:?}", info.created);
    assert!(!info.etag.is_empty() && !info.etag.contains('"'));
    if store.capabilities().sha256 {
        assert_eq!(info.sha256, Some(sha256(b"hello")));
    }
    assert_eq!(get(&store, &key).await, "hello");
    assert_eq!(store.head(&key).await.unwrap(), info);
    assert_eq!(store.get(&key, None).await.unwrap().0, info);
}

/// An object has every byte in order, however its body was cut.
pub async fn an_object_of_many_chunks_is_whole(store: Shared) {
    let space = Space::new();
    for (index, chunk) in [1_000, 65_536, 3_000_001].into_iter().enumerate() {
        let content = content(index as u64, 5_000_000);
        let key = space.key(&index.to_string());
        let info = store.put(&key, PutOptions::default(), body(&content, chunk)).await.unwrap();
        assert_eq!(info.size, 5_000_000);
        assert_eq!(info.sha256.unwrap_or_else(|| sha256(&content)), sha256(&content));
        assert!(get(&store, &key).await == content, "the content differs with chunks of {chunk}");
    }
}

/// A body may end without a byte.
pub async fn an_empty_object_is_an_object(store: Shared) {
    let key = Space::new().key("a");
    let info = store.put(&key, PutOptions::default(), stream::empty().boxed()).await.unwrap();
    assert_eq!(info.size, 0);
    assert_eq!(info.sha256.unwrap_or_else(|| sha256(b"")), sha256(b""));
    assert_eq!(get(&store, &key).await, "");
    assert_eq!(store.head(&key).await.unwrap().size, 0);
}

/// Empty chunks are no end and no bytes.
pub async fn empty_chunks_add_nothing(store: Shared) {
    let key = Space::new().key("a");
    let chunks = ["", "a", "", "", "b", ""].map(|chunk| Ok(Bytes::from(chunk)));
    let info = store.put(&key, PutOptions::default(), stream::iter(chunks).boxed()).await.unwrap();
    assert_eq!(info.size, 2);
    assert_eq!(get(&store, &key).await, "ab");
}

/// The default content type is `application/octet-stream`.
pub async fn without_a_content_type_it_is_octets(store: Shared) {
    let key = Space::new().key("a");
    put(&store, &key, &"x".into()).await;
    assert_eq!(store.head(&key).await.unwrap().content_type, "application/octet-stream");
}

/// Content type and metadata come back as they were given.
pub async fn content_type_and_metadata_are_kept(store: Shared) {
    let key = Space::new().key("a");
    let metadata = vec![("title".to_owned(), "Ünïcode \u{1F3B5}".to_owned()), ("empty".to_owned(), String::new())];
    let options = PutOptions {
        content_type: Some("audio/mpeg; q=\"1\"".into()),
        metadata: metadata.clone(),
        ..PutOptions::default()
    };
    put_with(&store, &key, &"x".into(), options).await.unwrap();
    let info = store.head(&key).await.unwrap();
    assert_eq!((info.content_type.as_str(), info.metadata), ("audio/mpeg; q=\"1\"", metadata));
}

/// Metadata has at most 32 pairs and 2 KiB, a content type no control characters.
pub async fn options_beyond_the_limits_are_refused(store: Shared) {
    let key = Space::new().key("a");
    let with = |content_type, metadata| PutOptions { content_type, metadata, ..PutOptions::default() };
    let pair = |value: &str| ("name".to_owned(), value.to_owned());
    for options in [with(None, vec![pair("x"); 33]), with(None, vec![pair(&"x".repeat(2045))])] {
        let result = put_with(&store, &key, &"x".into(), options).await;
        assert!(matches!(result, Err(Error::TooLarge(_))), "{result:?}");
    }
    let result = put_with(&store, &key, &"x".into(), with(Some("a/b\r\nc".into()), vec![])).await;
    assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    assert_missing(&store, &key).await;
    put_with(&store, &key, &"x".into(), with(None, vec![pair("x"); 32])).await.unwrap();
    put_with(&store, &key, &"x".into(), with(None, vec![pair(&"x".repeat(2044))])).await.unwrap();
}

/// Until `put` returns, readers see what was there before.
pub async fn an_object_is_not_visible_before_its_end(store: Shared) {
    let key = Space::new().key("a");
    let (sender, body) = open_body();
    let putting = {
        let (store, key) = (store.clone(), key.clone());
        spawn(async move { store.put(&key, PutOptions::default(), body).await })
    };
    for seed in 0..64 {
        sender.send(Ok(content(seed, 64 << 10))).await.unwrap();
    }
    assert_missing(&store, &key).await;
    drop(sender);
    assert_eq!(putting.await.unwrap().unwrap().size, 64 * (64 << 10));
    assert_eq!(store.head(&key).await.unwrap().size, 64 * (64 << 10));
}

/// A body that fails stores nothing, and its error is the answer.
pub async fn a_failed_body_leaves_nothing(store: Shared) {
    let space = Space::new();
    for length in [0, 10, 3_000_000] {
        let key = space.key("a");
        let result = store.put(&key, PutOptions::default(), failing(&content(1, length))).await;
        assert!(matches!(result, Err(Error::Incomplete(_))), "not the body's own error: {result:?}");
        assert_missing(&store, &key).await;
    }
    assert!(list(&store, &space.0, None, 10).await.objects.is_empty());
}

/// A failed `put` does not touch the object it would have replaced.
pub async fn a_failed_body_leaves_what_was_there(store: Shared) {
    let key = Space::new().key("a");
    let info = put(&store, &key, &"old".into()).await;
    store.put(&key, PutOptions::default(), failing(&content(1, 3_000_000))).await.unwrap_err();
    assert_eq!(store.head(&key).await.unwrap(), info);
    assert_eq!(get(&store, &key).await, "old");
}

/// Dropping the call stores nothing.
pub async fn a_dropped_put_leaves_nothing(store: Shared) {
    let space = Space::new();
    let key = space.key("a");
    for chunks in [0_u64, 1, 40] {
        let (sender, body) = open_body();
        let putting = {
            let (store, key) = (store.clone(), key.clone());
            spawn(async move { store.put(&key, PutOptions::default(), body).await })
        };
        for seed in 0..chunks {
            sender.send(Ok(content(seed, 64 << 10))).await.unwrap();
        }
        putting.abort();
        assert!(putting.await.unwrap_err().is_cancelled());
        assert_missing(&store, &key).await;
    }
    assert!(list(&store, &space.0, None, 10).await.objects.is_empty());
}

/// More bytes than `max_size` are `TooLarge` and store nothing.
pub async fn a_body_over_the_maximum_is_too_large(store: Shared) {
    let key = Space::new().key("a");
    put(&store, &key, &"old".into()).await;
    for length in [1_001, 5_000_000] {
        let options = PutOptions { max_size: Some(1_000), ..PutOptions::default() };
        let result = put_with(&store, &key, &content(1, length), options).await;
        assert!(matches!(result, Err(Error::TooLarge(_))), "{result:?}");
    }
    assert_eq!(get(&store, &key).await, "old");
}

/// `TooLarge` is the answer as soon as the body has more bytes.
pub async fn a_body_over_the_maximum_is_not_read_to_its_end(store: Shared) {
    let key = Space::new().key("a");
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[7; 1000]))).boxed();
    let (taken, body) = counted(endless);
    let options = PutOptions { max_size: Some(10_000), ..PutOptions::default() };
    let result = store.put(&key, options, body).await;
    assert!(matches!(result, Err(Error::TooLarge(_))), "{result:?}");
    assert!(taken.load(Ordering::Relaxed) < 100, "it read on");
    assert_missing(&store, &key).await;
}

/// Exactly `max_size` bytes are stored.
pub async fn a_body_of_the_maximum_is_not_too_large(store: Shared) {
    let key = Space::new().key("a");
    let options = PutOptions { max_size: Some(1_000), ..PutOptions::default() };
    assert_eq!(put_with(&store, &key, &content(1, 1_000), options).await.unwrap().size, 1_000);
}

fn if_absent() -> PutOptions {
    PutOptions { if_absent: true, ..PutOptions::default() }
}

/// `if_absent` stores what does not exist.
pub async fn if_absent_stores_a_new_object(store: Shared) {
    if !store.capabilities().if_absent {
        return;
    }
    let key = Space::new().key("a");
    put_with(&store, &key, &"new".into(), if_absent()).await.unwrap();
    assert_eq!(get(&store, &key).await, "new");
}

/// `if_absent` conflicts with an object and leaves it alone.
pub async fn if_absent_conflicts_with_an_object(store: Shared) {
    if !store.capabilities().if_absent {
        return;
    }
    let key = Space::new().key("a");
    let info = put(&store, &key, &"old".into()).await;
    let result = put_with(&store, &key, &"new".into(), if_absent()).await;
    assert!(matches!(result, Err(Error::Conflict)), "{result:?}");
    assert_eq!(store.head(&key).await.unwrap(), info);
    assert_eq!(get(&store, &key).await, "old");
}

/// `if_absent` looks when the object is complete, not when the call begins.
pub async fn if_absent_counts_when_the_object_is_complete(store: Shared) {
    if !store.capabilities().if_absent {
        return;
    }
    let space = Space::new();
    for (name, present_at_first) in [("appears", false), ("goes", true)] {
        let key = space.key(name);
        if present_at_first {
            put(&store, &key, &"other".into()).await;
        }
        let (sender, body) = open_body();
        let putting = {
            let (store, key) = (store.clone(), key.clone());
            spawn(async move { store.put(&key, if_absent(), body).await })
        };
        // The second send returns when the first chunk was taken: the call is under way.
        sender.send(Ok("new".into())).await.unwrap();
        sender.send(Ok("er".into())).await.unwrap();
        if present_at_first {
            store.delete(&key).await.unwrap();
        } else {
            put(&store, &key, &"other".into()).await;
        }
        drop(sender);
        let result = putting.await.unwrap();
        if present_at_first {
            assert_eq!(result.unwrap().size, 5);
        } else {
            assert!(matches!(result, Err(Error::Conflict)), "{result:?}");
            assert_eq!(get(&store, &key).await, "other");
        }
    }
}

/// `if_absent` is atomic.
pub async fn of_competing_if_absent_puts_exactly_one_wins(store: Shared) {
    if !store.capabilities().if_absent {
        return;
    }
    let key = Space::new().key("a");
    let puts = (0..16).map(|index| {
        let (store, key) = (store.clone(), key.clone());
        spawn(async move { put_with(&store, &key, &format!("content {index}").into(), if_absent()).await })
    });
    let mut winner = None;
    for (index, put) in puts.collect::<Vec<_>>().into_iter().enumerate() {
        match put.await.unwrap() {
            Ok(_) => assert!(winner.replace(index).is_none(), "two have won"),
            Err(error) => assert!(matches!(error, Error::Conflict), "{error:?}"),
        }
    }
    assert_eq!(get(&store, &key).await, format!("content {}", winner.expect("one wins")));
}

/// Of two writers to one key the last to finish wins, not the last to begin.
pub async fn the_last_to_finish_wins(store: Shared) {
    let key = Space::new().key("a");
    let (sender, body) = open_body();
    let slow = {
        let (store, key) = (store.clone(), key.clone());
        spawn(async move { store.put(&key, PutOptions::default(), body).await })
    };
    sender.send(Ok("slow".into())).await.unwrap();
    put(&store, &key, &"quick".into()).await;
    assert_eq!(get(&store, &key).await, "quick");
    drop(sender);
    slow.await.unwrap().unwrap();
    assert_eq!(get(&store, &key).await, "slow");
}

/// Concurrent writers leave the object of one of them.
pub async fn concurrent_puts_to_a_key_do_not_mix(store: Shared) {
    let key = Space::new().key("a");
    let length = |seed: u64| 100_000 + seed as usize;
    let puts: Vec<_> = (0..8)
        .map(|seed| {
            let (store, key) = (store.clone(), key.clone());
            spawn(async move { put(&store, &key, &content(seed, length(seed))).await })
        })
        .collect();
    for put in puts {
        put.await.unwrap();
    }
    let (info, body) = store.get(&key, None).await.unwrap();
    let found = drain(body).await.unwrap();
    assert_eq!(info.size, found.len() as u64);
    assert!((0..8).any(|seed| found == content(seed, length(seed))), "the content is nobody's");
}

/// A body may come slowly, and is read as it comes.
pub async fn a_put_waits_for_its_body(store: Shared) {
    let key = Space::new().key("a");
    let (sender, body) = open_body();
    let (taken, body) = counted(body);
    let putting = {
        let (store, key) = (store.clone(), key.clone());
        spawn(async move { store.put(&key, PutOptions::default(), body).await })
    };
    for seed in 0..200 {
        // The channel holds one chunk, so the store is never more than two behind.
        sender.send(Ok(content(seed, 1_000))).await.unwrap();
        assert!(taken.load(Ordering::Relaxed) + 2 >= seed as usize);
    }
    drop(sender);
    assert_eq!(putting.await.unwrap().unwrap().size, 200_000);
}
