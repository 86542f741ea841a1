//! Times to live.

use std::time::{Duration, Instant};

use super::super::{DEADLINE, MARGIN};
use super::{Shared, Space, add, apply, assert_conflict, check, expiring, gone, list, pages, set, try_apply, value};
use crate::Error;

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(600);

/// From its time-to-live on an entry is missing for `get`, `list` and checks; before, it is there.
pub async fn an_expired_entry_is_not_there_for_anyone(store: Shared) {
    let space = Space::new();
    let (short, long) = (space.key("short"), space.key("long"));
    let start = Instant::now();
    let version = apply(&store, vec![expiring(&short, "1", SHORT), expiring(&long, "2", LONG)]).await;
    loop {
        let before = start.elapsed();
        let got = store.get(&short).await.unwrap();
        if got.is_none() {
            assert!(start.elapsed() + MARGIN >= SHORT, "expired after {:?} already", start.elapsed());
            break;
        }
        assert_eq!(got.unwrap().version, version);
        assert!(before < DEADLINE, "the entry did not expire");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(space.names(&list(&store, space.prefix(), 10, false, None).await), [b"long"]);
    assert_eq!(space.names(&list(&store, space.prefix(), 10, true, None).await), [b"long"]);
    assert_conflict(try_apply(&store, vec![check(&short, Some(version))], vec![]).await);
    let again = try_apply(&store, vec![check(&short, None)], vec![set(&short, "3")]).await.unwrap().version;
    assert_ne!(again, version, "a version was used twice");
    assert_eq!(value(&store, &short).await.unwrap(), "3");
    assert_eq!(value(&store, &long).await.unwrap(), "2");
}

/// A `set` replaces an earlier time-to-live: without one the entry stays, with one it goes.
pub async fn a_set_replaces_the_time_to_live(store: Shared) {
    let space = Space::new();
    let (stays, longer, goes, marker) =
        (space.key("stays"), space.key("longer"), space.key("goes"), space.key("marker"));
    apply(&store, vec![expiring(&stays, "1", SHORT), expiring(&longer, "1", SHORT), set(&goes, "1")]).await;
    apply(&store, vec![set(&stays, "2"), expiring(&longer, "2", LONG), expiring(&goes, "2", SHORT)]).await;
    // When this one is gone, the first time-to-live is over by the engine's own clock.
    apply(&store, vec![expiring(&marker, "", SHORT)]).await;
    gone(&store, &marker).await;
    assert_eq!(value(&store, &stays).await.unwrap(), "2");
    assert_eq!(value(&store, &longer).await.unwrap(), "2");
    assert_eq!(value(&store, &goes).await, None);
    assert_eq!(space.names(&list(&store, space.prefix(), 10, false, None).await), ["longer", "stays"].map(Vec::from));
}

/// An `add` keeps the entry's time-to-live.
pub async fn an_add_keeps_the_time_to_live(store: Shared) {
    let space = Space::new();
    let (counter, unlimited) = (space.key("counter"), space.key("unlimited"));
    let mut time_to_live = SHORT;
    loop {
        let version = apply(&store, vec![expiring(&counter, "1", time_to_live), set(&unlimited, "1")]).await;
        let operations = vec![add(&counter, 1), add(&unlimited, 1)];
        match try_apply(&store, vec![check(&counter, Some(version))], operations).await {
            Ok(_) => break,
            // The machine was too slow to add in time.
            Err(Error::Conflict) => time_to_live *= 2,
            Err(error) => panic!("{error:?}"),
        }
        assert!(time_to_live < DEADLINE, "the counter expires too early");
    }
    gone(&store, &counter).await;
    assert_eq!(value(&store, &unlimited).await.unwrap(), "2");
}

/// An expired counter counts as missing: it starts at 0 and stays.
pub async fn an_expired_counter_starts_at_zero(store: Shared) {
    let space = Space::new();
    let (counter, marker) = (space.key("counter"), space.key("marker"));
    apply(&store, vec![expiring(&counter, "41", SHORT)]).await;
    gone(&store, &counter).await;
    apply(&store, vec![add(&counter, 1), expiring(&marker, "", SHORT)]).await;
    gone(&store, &marker).await;
    assert_eq!(value(&store, &counter).await.unwrap(), "1");
}

/// Expired entries neither fill a page nor end a listing.
pub async fn an_expired_entry_does_not_end_a_page(store: Shared) {
    let space = Space::new();
    for batch in 0..3 {
        let keys = (0..100).map(|index| expiring(&space.key(format!("a{batch}{index:02}")), "", SHORT)).collect();
        apply(&store, keys).await;
    }
    apply(&store, vec![set(&space.key("b"), "1"), set(&space.key("Z"), "1"), set(&space.key("c"), "1")]).await;
    gone(&store, &space.key("a299")).await;
    let page = list(&store, space.prefix(), 2, false, None).await;
    assert_eq!(space.names(&page), [b"Z", b"b"]);
    for reverse in [false, true] {
        assert_eq!(pages(&store, &space.prefix(), 1, reverse).await.1.len(), 3);
    }
}
