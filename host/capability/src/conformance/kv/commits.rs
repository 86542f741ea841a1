//! Reading and committing.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{
    Shared, Space, add, apply, assert_conflict, assert_invalid, check, delete, list, pages, set, try_apply, value,
};
use crate::Error;
use crate::kv::{Commit, Entry, Key, MAX_COMMIT, MAX_KEY, MAX_PAGE, MAX_VALUE, Operation, Version};
use crate::queue::{Message, Publication};

/// `get` answers none for a missing key.
pub async fn a_missing_key_has_no_entry(store: Shared) {
    assert_eq!(store.get(&Space::new().key("a")).await.unwrap(), None);
}

/// `get` answers key, value and version as they were written.
pub async fn an_entry_is_what_was_written(store: Shared) {
    let key = Space::new().key("a");
    let version = apply(&store, vec![set(&key, "one")]).await;
    assert_eq!(store.get(&key).await.unwrap(), Some(Entry { key: key.clone(), value: "one".into(), version }));
    apply(&store, vec![delete(&key)]).await;
    assert_eq!(store.get(&key).await.unwrap(), None);
}

/// Values are any bytes, none included, up to the limit.
pub async fn values_are_any_bytes_up_to_the_limit(store: Shared) {
    let key = Space::new().key("a");
    let all: Vec<u8> = (0..=255).collect();
    let most: Vec<u8> = (0..MAX_VALUE).map(|index| (index % 251) as u8).collect();
    for written in [Bytes::new(), all.into(), Bytes::from_static(b"7:8:\r\n\0"), most.into()] {
        apply(&store, vec![set(&key, written.clone())]).await;
        assert!(value(&store, &key).await == Some(written.clone()), "{} bytes came back changed", written.len());
    }
}

/// Keys have up to 1024 bytes of any value.
pub async fn the_longest_key_is_a_key(store: Shared) {
    let space = Space::new();
    let rest: Vec<u8> = (0..MAX_KEY - space.0.len()).map(|index| (index % 256) as u8).collect();
    let key = space.key(rest);
    assert_eq!(key.as_bytes().len(), MAX_KEY);
    apply(&store, vec![set(&key, "v")]).await;
    assert_eq!(value(&store, &key).await.unwrap(), "v");
    assert_eq!(list(&store, space.prefix(), 10, false, None).await.entries[0].key, key);
}

/// Deleting a missing key is not an error.
pub async fn deleting_a_missing_key_is_no_error(store: Shared) {
    let space = Space::new();
    apply(&store, vec![delete(&space.key("a")), set(&space.key("b"), "v"), delete(&space.key("c"))]).await;
    assert_eq!(value(&store, &space.key("b")).await.unwrap(), "v");
}

/// A version changes with every write, also with one of the same value and with an `add`.
pub async fn every_write_changes_the_version(store: Shared) {
    let key = Space::new().key("a");
    let mut seen = HashSet::new();
    for operation in [set(&key, "1"), set(&key, "1"), add(&key, 0), set(&key, "2")] {
        apply(&store, vec![operation]).await;
        assert!(seen.insert(store.get(&key).await.unwrap().unwrap().version), "a version was used twice");
    }
    let before = store.get(&key).await.unwrap();
    apply(&store, vec![set(&Space::new().key("b"), "x")]).await;
    assert_eq!(store.get(&key).await.unwrap(), before, "a write of another key changed the entry");
}

/// A version is never used again for the same key, not even after the entry was deleted.
pub async fn versions_are_not_used_again_after_a_delete(store: Shared) {
    let key = Space::new().key("a");
    let mut seen = HashSet::new();
    for _ in 0..5 {
        let version = apply(&store, vec![set(&key, "same")]).await;
        assert!(seen.insert(version), "a version was used twice");
        apply(&store, vec![delete(&key)]).await;
        assert_conflict(try_apply(&store, vec![check(&key, Some(version))], vec![set(&key, "late")]).await);
    }
    assert_eq!(value(&store, &key).await, None);
}

/// `committed.version` is the version of every entry the commit wrote.
pub async fn a_commit_answers_the_version_of_what_it_wrote(store: Shared) {
    let space = Space::new();
    let (a, b) = (space.key("a"), space.key("b"));
    let version = apply(&store, vec![set(&a, "1"), add(&b, 1)]).await;
    for key in [a, b] {
        assert_eq!(store.get(&key).await.unwrap().unwrap().version, version);
    }
    for entry in list(&store, space.prefix(), 10, false, None).await.entries {
        assert_eq!(entry.version, version);
    }
}

/// A check holds if the entry has the version it names.
pub async fn a_check_holds_for_the_version_it_names(store: Shared) {
    let key = Space::new().key("a");
    let first = apply(&store, vec![set(&key, "1")]).await;
    let second = try_apply(&store, vec![check(&key, Some(first))], vec![set(&key, "2")]).await.unwrap().version;
    assert_conflict(try_apply(&store, vec![check(&key, Some(first))], vec![set(&key, "3")]).await);
    try_apply(&store, vec![check(&key, Some(second))], vec![delete(&key)]).await.unwrap();
    assert_conflict(try_apply(&store, vec![check(&key, Some(second))], vec![set(&key, "4")]).await);
    assert_eq!(value(&store, &key).await, None);
}

/// A check without a version holds if there is no entry.
pub async fn a_check_for_absence_holds_for_missing_keys_only(store: Shared) {
    let key = Space::new().key("a");
    try_apply(&store, vec![check(&key, None)], vec![set(&key, "")]).await.unwrap();
    assert_conflict(try_apply(&store, vec![check(&key, None)], vec![set(&key, "2")]).await);
    assert_eq!(value(&store, &key).await.unwrap(), "");
    apply(&store, vec![delete(&key)]).await;
    try_apply(&store, vec![check(&key, None)], vec![set(&key, "3")]).await.unwrap();
}

/// If one check of many does not hold, nothing is applied.
pub async fn a_failed_check_changes_nothing(store: Shared) {
    let space = Space::new();
    let (kept, counter, new) = (space.key("kept"), space.key("counter"), space.key("new"));
    let version = apply(&store, vec![set(&kept, "v"), set(&counter, "5")]).await;
    let before = list(&store, space.prefix(), 10, false, None).await.entries;
    let operations = vec![delete(&kept), add(&counter, 1), set(&new, "x")];
    let checks = vec![check(&kept, Some(version)), check(&new, None), check(&counter, None)];
    assert_conflict(try_apply(&store, checks, operations).await);
    assert_eq!(list(&store, space.prefix(), 10, false, None).await.entries, before);
}

/// An empty commit is allowed and applies its checks.
pub async fn an_empty_commit_applies_its_checks(store: Shared) {
    let key = Space::new().key("a");
    try_apply(&store, vec![], vec![]).await.unwrap();
    let version = apply(&store, vec![set(&key, "1")]).await;
    try_apply(&store, vec![check(&key, Some(version))], vec![]).await.unwrap();
    assert_conflict(try_apply(&store, vec![check(&key, None)], vec![]).await);
    assert_eq!(store.get(&key).await.unwrap().unwrap().version, version);
}

/// Checks are conditions on what was there before the commit.
pub async fn checks_see_the_state_before_the_operations(store: Shared) {
    let space = Space::new();
    let (a, b) = (space.key("a"), space.key("b"));
    try_apply(&store, vec![check(&a, None), check(&b, None)], vec![set(&a, "1"), set(&b, "1")]).await.unwrap();
    assert_conflict(try_apply(&store, vec![check(&a, None)], vec![delete(&a), set(&a, "2")]).await);
    assert_eq!(value(&store, &a).await.unwrap(), "1");
}

/// Of many commits that check for the same state, exactly one is applied.
pub async fn of_competing_commits_exactly_one_wins(store: Shared) {
    let key = Space::new().key("a");
    for round in 0..5 {
        let version = store.get(&key).await.unwrap().map(|entry| entry.version);
        let mut tasks = JoinSet::new();
        for task in 0..20 {
            let (store, key) = (store.clone(), key.clone());
            tasks.spawn(async move {
                let mine = format!("{round}/{task}");
                match try_apply(&store, vec![check(&key, version)], vec![set(&key, mine.clone())]).await {
                    Ok(_) => Some(mine),
                    Err(Error::Conflict) => None,
                    Err(error) => panic!("{error:?}"),
                }
            });
        }
        let winners: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(value(&store, &key).await.unwrap(), winners[0]);
    }
}

/// Concurrent read-check-write loops serialise: no update is lost.
pub async fn optimistic_updates_lose_nothing(store: Shared) {
    let key = Space::new().key("a");
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (store, key) = (store.clone(), key.clone());
        tasks.spawn(async move {
            for _ in 0..5 {
                loop {
                    let entry = store.get(&key).await.unwrap();
                    let count = entry.as_ref().map_or(0, |entry| entry.value.len());
                    let checks = vec![check(&key, entry.map(|entry| entry.version))];
                    match try_apply(&store, checks, vec![set(&key, "x".repeat(count + 1))]).await {
                        Ok(_) => break,
                        Err(Error::Conflict) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(value(&store, &key).await.unwrap().len(), 40);
}

/// A page is a consistent snapshot: it never shows half of a commit.
pub async fn a_commit_is_seen_whole(store: Shared) {
    let space = Space::new();
    let keys: Vec<Key> = (0..10).map(|index| space.key(format!("{index}"))).collect();
    let writer = tokio::spawn({
        let (store, keys) = (store.clone(), keys.clone());
        async move {
            for round in 0..30 {
                apply(&store, keys.iter().map(|key| set(key, format!("{round}"))).collect()).await;
            }
        }
    });
    loop {
        let last = writer.is_finished();
        let page = list(&store, space.prefix(), 100, false, None).await;
        let versions: HashSet<Version> = page.entries.iter().map(|entry| entry.version).collect();
        let values: HashSet<Bytes> = page.entries.iter().map(|entry| entry.value.clone()).collect();
        assert!(versions.len() <= 1 && values.len() <= 1, "a page shows parts of two commits");
        assert!(page.entries.is_empty() || page.entries.len() == keys.len(), "a page shows half a commit");
        if last {
            assert_eq!(values.into_iter().next().unwrap(), "29");
            break;
        }
    }
    writer.await.unwrap();
}

/// A caller reads its own writes, by `get` and by `list`, while others write too.
pub async fn callers_read_their_own_writes(store: Shared) {
    let space = Arc::new(Space::new());
    let mut tasks = JoinSet::new();
    for task in 0..10 {
        let (store, space) = (store.clone(), space.clone());
        tasks.spawn(async move {
            let key = space.key(format!("{task}"));
            for round in 0..10 {
                let version = apply(&store, vec![set(&key, format!("{round}"))]).await;
                let expected = Entry { key: key.clone(), value: format!("{round}").into(), version };
                assert_eq!(store.get(&key).await.unwrap().as_ref(), Some(&expected));
                assert!(list(&store, space.prefix(), 100, false, None).await.entries.contains(&expected));
            }
            apply(&store, vec![delete(&key)]).await;
            assert_eq!(value(&store, &key).await, None);
        });
    }
    tasks.join_all().await;
}

/// Operations apply in order, and later ones see what earlier ones did.
pub async fn later_operations_see_earlier_ones(store: Shared) {
    let space = Space::new();
    let (a, b, c) = (space.key("a"), space.key("b"), space.key("c"));
    apply(&store, vec![set(&b, "old"), set(&c, "1")]).await;
    let operations =
        vec![set(&a, "40"), add(&a, 1), add(&a, 1), delete(&b), add(&b, 7), set(&c, "2"), add(&c, 1), delete(&c)];
    apply(&store, operations).await;
    assert_eq!(value(&store, &a).await.unwrap(), "42");
    assert_eq!(value(&store, &b).await.unwrap(), "7");
    assert_eq!(value(&store, &c).await, None);
    assert_eq!(space.names(&list(&store, space.prefix(), 10, false, None).await), [b"a", b"b"]);
}

/// 128 checks, 128 operations and 8 MiB are not too much.
pub async fn a_commit_may_be_as_large_as_the_limits(store: Shared) {
    let space = Space::new();
    let keys: Vec<Key> = (0..MAX_COMMIT).map(|index| space.key(format!("{index:03}"))).collect();
    let checks = || keys.iter().map(|key| check(key, None)).collect();
    let operations = keys.iter().map(|key| set(key, vec![b'v'; 65_000])).collect();
    let commit = Commit { checks: checks(), operations };
    commit.validate(MAX_VALUE).unwrap();
    store.commit(commit).await.unwrap();
    assert_eq!(pages(&store, &space.prefix(), MAX_PAGE, false).await.1.len(), MAX_COMMIT);
    assert_conflict(try_apply(&store, checks(), vec![]).await);
}

/// An engine that cannot publish says so in its capabilities and refuses to, applying nothing.
pub async fn publishing_needs_the_capability(store: Shared) {
    if store.capabilities().publish {
        return;
    }
    let key = Space::new().key("a");
    let publication = Publication { queue: "video".parse().unwrap(), message: Message::default(), id: None };
    assert_invalid(try_apply(&store, vec![], vec![set(&key, "1"), Operation::Publish(publication)]).await);
    assert_eq!(value(&store, &key).await, None);
}
