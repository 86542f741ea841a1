//! What `list` answers.

use super::*;

async fn put_all(store: &Shared, space: &Space, names: &[&str]) {
    for name in names {
        put(store, &space.key(name), &"x".into()).await;
    }
}

/// Every page, checking limits and that the listing ends.
async fn pages(store: &Shared, space: &Space, prefix: &str, limit: usize) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = list(store, prefix, cursor.as_deref(), limit).await;
        assert!(page.objects.len() <= limit);
        pages.push(space.names(&page));
        cursor = page.cursor;
        if cursor.is_none() {
            return pages;
        }
        assert!(pages.len() < 1_000, "the listing does not end");
    }
}

/// A listing is in byte order of the keys.
pub async fn keys_list_in_byte_order(store: Shared) {
    let space = Space::new();
    put_all(&store, &space, &["b", "a/z", "é", "B", "a", "a0", "a/", "ab", "\u{10000}", "\u{ffee}"]).await;
    let names = space.names(&list(&store, &space.0, None, 100).await);
    assert_eq!(names, ["B", "a", "a/", "a/z", "a0", "ab", "b", "é", "\u{ffee}", "\u{10000}"]);
}

/// A listing has every property.
pub async fn a_listing_has_the_properties(store: Shared) {
    let space = Space::new();
    let options = PutOptions {
        content_type: Some("audio/mpeg".into()),
        metadata: vec![("a".into(), "b".into())],
        ..PutOptions::default()
    };
    let info = put_with(&store, &space.key("a"), &"hello".into(), options).await.unwrap();
    assert_eq!(list(&store, &space.0, None, 10).await.objects, [info]);
}

/// A listing has the objects whose keys begin with the prefix.
pub async fn a_prefix_is_what_keys_begin_with(store: Shared) {
    let space = Space::new();
    put_all(&store, &space, &["a", "a/1", "a/2", "a0", "ab", "b", "\u{10ffff}", "\u{10ffff}z"]).await;
    let under = |prefix: &str| format!("{}{prefix}", space.0);
    for (prefix, expected) in [
        ("a/", &["a/1", "a/2"][..]),
        ("a", &["a", "a/1", "a/2", "a0", "ab"]),
        ("a/1", &["a/1"]),
        ("c", &[]),
        ("\u{10ffff}", &["\u{10ffff}", "\u{10ffff}z"]),
    ] {
        assert_eq!(space.names(&list(&store, &under(prefix), None, 100).await), expected, "under {prefix}");
    }
    let all = list(&store, "", None, 1000).await;
    assert!(!all.objects.is_empty());
}

/// A page has at most its limit, and the next begins where it ended.
pub async fn pages_are_limited_and_continue_at_the_cursor(store: Shared) {
    let space = Space::new();
    let names: Vec<String> = (0..25).map(|index| format!("{index:02}")).collect();
    put_all(&store, &space, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for limit in [1, 7, 24, 26, 1000] {
        assert_eq!(pages(&store, &space, &space.0, limit).await.concat(), names, "pages of {limit}");
    }
    assert_eq!(list(&store, &space.0, None, 7).await.objects.len(), 7);
}

/// A cursor says that there may be more, not that there is.
pub async fn a_page_that_ends_at_the_last_key_is_the_last_or_followed_by_an_empty_one(store: Shared) {
    let space = Space::new();
    put_all(&store, &space, &["a", "b"]).await;
    put(&store, &Key::new(format!("{}~", &space.0[..space.0.len() - 1])).unwrap(), &"x".into()).await;
    assert_eq!(pages(&store, &space, &space.0, 2).await.concat(), ["a", "b"]);
}

/// A listing goes on behind the last key, whether or not that still exists.
pub async fn a_cursor_survives_changes_around_it(store: Shared) {
    let space = Space::new();
    put_all(&store, &space, &["a", "b", "c", "d"]).await;
    let first = list(&store, &space.0, None, 2).await;
    // The key that the page ended with goes, one comes before it and one behind it.
    store.delete(&space.key("b")).await.unwrap();
    put_all(&store, &space, &["aa", "bb"]).await;
    let second = list(&store, &space.0, first.cursor.as_deref(), 10).await;
    assert_eq!(space.names(&second), ["bb", "c", "d"]);
}

/// What is being put is not listed.
pub async fn a_listing_has_no_unfinished_objects(store: Shared) {
    let space = Space::new();
    put_all(&store, &space, &["a"]).await;
    let (sender, body) = open_body();
    let putting = {
        let (store, key) = (store.clone(), space.key("b"));
        spawn(async move { store.put(&key, PutOptions::default(), body).await })
    };
    sender.send(Ok(content(1, 2_000_000))).await.unwrap();
    sender.send(Ok(content(2, 2_000_000))).await.unwrap();
    assert_eq!(space.names(&list(&store, &space.0, None, 10).await), ["a"]);
    drop(sender);
    putting.await.unwrap().unwrap();
    assert_eq!(space.names(&list(&store, &space.0, None, 10).await), ["a", "b"]);
}

/// A limit is 1 to 1000.
pub async fn a_limit_out_of_bounds_is_invalid(store: Shared) {
    for limit in [0, 1001, usize::MAX] {
        assert!(matches!(store.list("", None, limit).await, Err(Error::Invalid(_))), "a limit of {limit}");
    }
    assert!(store.list("", None, 1000).await.is_ok());
}

/// A cursor that no listing gave is `Invalid`.
pub async fn a_foreign_cursor_is_invalid(store: Shared) {
    let result = store.list("", Some("no cursor of this store"), 10).await;
    assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
}
