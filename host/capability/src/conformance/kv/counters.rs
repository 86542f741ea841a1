//! Counters: signed 64-bit numbers in decimal text.

use tokio::task::JoinSet;

use super::{Shared, Space, add, apply, assert_invalid, delete, list, set, try_apply, value};

/// A missing entry counts as 0; `get` reads a counter as decimal text, and `set` can start it.
pub async fn counters_start_at_zero_and_are_decimal_text(store: Shared) {
    let key = Space::new().key("a");
    apply(&store, vec![add(&key, -3)]).await;
    assert_eq!(value(&store, &key).await.unwrap(), "-3");
    apply(&store, vec![add(&key, 3)]).await;
    assert_eq!(value(&store, &key).await.unwrap(), "0");
    apply(&store, vec![set(&key, "99"), add(&key, 1)]).await;
    assert_eq!(value(&store, &key).await.unwrap(), "100");
    apply(&store, vec![delete(&key)]).await;
    apply(&store, vec![add(&key, 1)]).await;
    assert_eq!(value(&store, &key).await.unwrap(), "1");
}

/// Sums are exact over all of 64 bits, also where a double is not.
pub async fn counters_cover_64_bits_exactly(store: Shared) {
    let key = Space::new().key("a");
    let sums = [
        (0, i64::MAX, i64::MAX),
        (0, i64::MIN, i64::MIN),
        (i64::MIN, i64::MAX, -1),
        (i64::MAX, i64::MIN, -1),
        ((1 << 53) + 1, 2, (1 << 53) + 3),
        (i64::MAX - 1, 1, i64::MAX),
        (i64::MIN + 1, -1, i64::MIN),
        (-9_007_199_254_740_993, -2, -9_007_199_254_740_995),
    ];
    for (start, delta, sum) in sums {
        apply(&store, vec![set(&key, start.to_string()), add(&key, delta)]).await;
        assert_eq!(value(&store, &key).await.unwrap(), sum.to_string(), "{start} + {delta}");
    }
}

/// A sum outside 64 bits makes the commit invalid.
pub async fn a_counter_beyond_64_bits_is_invalid(store: Shared) {
    let key = Space::new().key("a");
    for (start, delta) in [(i64::MAX, 1), (i64::MIN, -1), (i64::MIN, i64::MIN), (i64::MAX, i64::MAX), (-2, i64::MIN)] {
        apply(&store, vec![set(&key, start.to_string())]).await;
        assert_invalid(try_apply(&store, vec![], vec![add(&key, delta)]).await);
        assert_eq!(value(&store, &key).await.unwrap(), start.to_string());
    }
}

/// Adding to a value that is not a decimal 64-bit number makes the commit invalid.
pub async fn other_values_are_no_counters(store: Shared) {
    let key = Space::new().key("a");
    let others: [&[u8]; 12] = [
        b"",
        b"forty",
        b" 1",
        b"1 ",
        b"1\n",
        b"1.0",
        b"1e3",
        b"0x10",
        b"-",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"\xff1",
    ];
    for other in others {
        apply(&store, vec![set(&key, other)]).await;
        assert_invalid(try_apply(&store, vec![], vec![add(&key, 0)]).await);
        assert_eq!(value(&store, &key).await.unwrap(), other);
    }
}

/// A counter that cannot be added to leaves the whole commit unapplied.
pub async fn a_failed_counter_changes_nothing(store: Shared) {
    let space = Space::new();
    let (good, bad, new) = (space.key("good"), space.key("bad"), space.key("new"));
    apply(&store, vec![set(&good, "1"), set(&bad, "bad")]).await;
    let before = list(&store, space.prefix(), 10, false, None).await.entries;
    let operations = vec![add(&good, 1), set(&new, "x"), add(&bad, 1), delete(&good)];
    assert_invalid(try_apply(&store, vec![], operations).await);
    // The value that an earlier operation of the same commit wrote is no counter either.
    assert_invalid(try_apply(&store, vec![], vec![delete(&bad), set(&good, "x"), add(&good, 1)]).await);
    assert_eq!(list(&store, space.prefix(), 10, false, None).await.entries, before);
}

/// Additions need no check: of 50 concurrent adders none is lost.
pub async fn concurrent_additions_add_up(store: Shared) {
    let key = Space::new().key("a");
    let mut tasks = JoinSet::new();
    for task in 0..50_i64 {
        let (store, key) = (store.clone(), key.clone());
        tasks.spawn(async move {
            for _ in 0..4 {
                apply(&store, vec![add(&key, task), add(&key, 1)]).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(value(&store, &key).await.unwrap(), (4 * (49 * 50 / 2 + 50)).to_string());
}
