//! Order, ranges, pages and cursors.

use bytes::Bytes;

use super::{Shared, Space, apply, delete, list, pages, set};
use crate::kv::{Key, MAX_PAGE_BYTES, MAX_VALUE, Range};

/// Names that sort differently as text, as signed bytes or with a terminator. In byte order.
const NAMES: [&[u8]; 15] = [
    b"\x00",
    b"\x00\x00",
    b"\x00\xfe",
    b"\x01",
    b"-",
    b"A",
    b"a",
    b"a\x00",
    b"a\x00b",
    b"aa",
    b"b",
    b"\x7f",
    b"\x80",
    b"\xc3\xa9",
    b"\xfe\xff",
];

type Names = &'static [&'static [u8]];

async fn fill(store: &Shared, space: &Space, names: &[&[u8]]) {
    // Not in order, and each in a commit of its own.
    for index in 0..names.len() {
        let name = names[(index * 7) % names.len()];
        apply(store, vec![set(&space.key(name), name.to_vec())]).await;
    }
}

fn names(names: &[&[u8]]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.to_vec()).collect()
}

/// Keys sort by their bytes as unsigned numbers, a prefix before what it starts.
pub async fn keys_sort_by_their_bytes(store: Shared) {
    let space = Space::new();
    fill(&store, &space, &NAMES).await;
    let page = list(&store, space.prefix(), 100, false, None).await;
    assert_eq!(space.names(&page), names(&NAMES));
    for (entry, name) in page.entries.iter().zip(NAMES) {
        assert_eq!(entry.value, name, "a value stands at the wrong key");
    }
}

/// `reverse` is the opposite order of the same entries.
pub async fn reverse_is_the_opposite_order(store: Shared) {
    let space = Space::new();
    fill(&store, &space, &NAMES).await;
    let mut ascending = list(&store, space.prefix(), 100, false, None).await.entries;
    let descending = list(&store, space.prefix(), 100, true, None).await.entries;
    ascending.reverse();
    assert_eq!(ascending.len(), NAMES.len());
    assert_eq!(ascending, descending);
    let last = list(&store, space.prefix(), 1, true, None).await;
    assert_eq!(space.names(&last), [NAMES[NAMES.len() - 1]]);
}

/// A range has the keys from `start`, included, to `end`, excluded, whether or not they exist.
pub async fn a_range_has_its_start_and_not_its_end(store: Shared) {
    let space = Space::new();
    fill(&store, &space, &NAMES).await;
    let bound = |name: &[u8]| Some(space.key(name).into_bytes());
    let cases: [(&[u8], &[u8], Names); 5] = [
        (b"a", b"b", &[b"a", b"a\x00", b"a\x00b", b"aa"]),
        (b"a\x00", b"aa", &[b"a\x00", b"a\x00b"]),
        (b"B", b"a\x00a", &[b"a", b"a\x00"]),
        (b"\x7f", b"\xc3", &[b"\x7f", b"\x80"]),
        (b"\x00", b"\x00\x00", &[b"\x00"]),
    ];
    for (start, end, expected) in cases {
        let range = Range { start: bound(start), end: bound(end) };
        let page = list(&store, range.clone(), 100, false, None).await;
        assert_eq!(space.names(&page), names(expected), "{range:?}");
        let mut reversed = space.names(&list(&store, range, 100, true, None).await);
        reversed.reverse();
        assert_eq!(reversed, names(expected));
    }
}

/// A prefix has the keys that begin with it, itself included, and narrows other bounds.
pub async fn a_prefix_is_what_keys_begin_with(store: Shared) {
    let space = Space::new();
    fill(&store, &space, &NAMES).await;
    let prefix = |name: &[u8]| Some(space.key(name).into_bytes());
    let page = list(&store, Range::new(prefix(b"a"), None, None), 100, false, None).await;
    assert_eq!(space.names(&page), names(&[b"a", b"a\x00", b"a\x00b", b"aa"]));
    let page = list(&store, Range::new(prefix(b"\xfe"), None, None), 100, false, None).await;
    assert_eq!(space.names(&page), names(&[b"\xfe\xff"]));
    let page = list(&store, Range::new(prefix(b"a"), prefix(b"a\x00b"), prefix(b"b")), 100, false, None).await;
    assert_eq!(space.names(&page), names(&[b"a\x00b", b"aa"]));
    let page = list(&store, Range::new(prefix(b"c"), None, None), 100, false, None).await;
    assert!(page.entries.is_empty() && page.cursor.is_none());
}

/// A range that no key can be in has no entries.
pub async fn an_empty_range_has_no_entries(store: Shared) {
    let space = Space::new();
    fill(&store, &space, &[b"a", b"b", b"c"]).await;
    for (start, end) in [("b", "b"), ("c", "a")] {
        let range = Range { start: Some(space.key(start).into_bytes()), end: Some(space.key(end).into_bytes()) };
        for reverse in [false, true] {
            let page = list(&store, range.clone(), 10, reverse, None).await;
            assert!(page.entries.is_empty() && page.cursor.is_none(), "{range:?}");
        }
    }
}

async fn pages_add_up(store: &Shared, reverse: bool) {
    let space = Space::new();
    fill(store, &space, &NAMES).await;
    let (_, all) = pages(store, &space.prefix(), 100, reverse).await;
    assert_eq!(all.len(), NAMES.len());
    for limit in [1, 2, 4, NAMES.len() - 1, NAMES.len(), NAMES.len() + 1] {
        let (pages, entries) = pages(store, &space.prefix(), limit, reverse).await;
        assert_eq!(entries, all, "pages of {limit}");
        for page in &pages {
            assert!(page.entries.len() <= limit, "a page of {} where {limit} was the limit", page.entries.len());
            if let Some(cursor) = &page.cursor {
                assert_eq!(cursor, page.entries.last().unwrap().key.as_bytes());
                assert_eq!(page.entries.len(), limit, "a page ends early without a reason");
            }
        }
    }
}

/// A page has at most `limit` entries; its cursor continues after them.
pub async fn pages_are_limited_and_continue_at_the_cursor(store: Shared) {
    pages_add_up(&store, false).await;
}

/// A cursor continues in the direction of its page.
pub async fn reverse_pages_continue_at_the_cursor(store: Shared) {
    pages_add_up(&store, true).await;
}

/// A page ends when it has reached 4 MiB, but has an entry if there is one.
pub async fn a_page_ends_at_its_byte_limit(store: Shared) {
    let space = Space::new();
    for index in 0..7 {
        apply(&store, vec![set(&space.key(format!("{index}")), vec![index; MAX_VALUE])]).await;
    }
    for reverse in [false, true] {
        let (pages, entries) = pages(&store, &space.prefix(), 100, reverse).await;
        assert_eq!(entries.len(), 7);
        assert!(pages.len() > 1, "7 MiB came in one page");
        for page in pages {
            let all_but_last = page.entries.iter().rev().skip(1);
            let bytes: usize = all_but_last.map(|entry| entry.key.as_bytes().len() + entry.value.len()).sum();
            assert!(bytes < MAX_PAGE_BYTES, "a page went on after {bytes} bytes");
            assert!(page.cursor.is_none() || page.entries.len() >= 3, "a page ended long before its limit");
        }
    }
}

/// A cursor stays good while entries come and go, its own too: what stays is seen exactly once.
pub async fn a_cursor_survives_changes_around_it(store: Shared) {
    for reverse in [false, true] {
        let space = Space::new();
        fill(&store, &space, &[b"b", b"d", b"f", b"h"]).await;
        let first = list(&store, space.prefix(), 2, reverse, None).await;
        let (last, passed, ahead, kept): (&[u8], &[u8], &[u8], &[u8]) =
            if reverse { (b"f", b"g", b"c", b"b") } else { (b"d", b"a", b"e", b"h") };
        let gone: &[u8] = if reverse { b"d" } else { b"f" };
        apply(
            &store,
            vec![
                delete(&space.key(last)),
                delete(&space.key(gone)),
                set(&space.key(passed), "new"),
                set(&space.key(ahead), "new"),
            ],
        )
        .await;
        let rest = list(&store, space.prefix(), 10, reverse, first.cursor.clone()).await;
        assert_eq!(space.names(&rest), [ahead, kept]);
        assert_eq!(rest.cursor, None);
    }
}

/// The host's own keys, which begin with 0xFF, sort last; a range without them does not show them.
pub async fn reserved_keys_sort_last(store: Shared) {
    let space = Space::new();
    let plain = space.key("a");
    let reserved = Key::any([&[0xFF], plain.as_bytes()].concat()).unwrap();
    apply(&store, vec![set(&reserved, "host"), set(&plain, "guest")]).await;
    assert_eq!(store.get(&reserved).await.unwrap().unwrap().value, "host");
    let own: Bytes = reserved.as_bytes().to_vec().into();
    assert_eq!(list(&store, Range::prefix(own.clone()), 10, false, None).await.entries[0].key, reserved);
    let (_, ascending) = pages(&store, &Range::default(), 100, false).await;
    let place = |key: &Key| ascending.iter().position(|entry| entry.key == *key).unwrap();
    assert!(place(&plain) < place(&reserved));
    let (_, visible) = pages(&store, &Range::default().without_reserved(), 100, false).await;
    assert!(visible.iter().any(|entry| entry.key == plain));
    assert!(visible.iter().all(|entry| entry.key.as_bytes()[0] != 0xFF));
    apply(&store, vec![delete(&reserved)]).await;
}
