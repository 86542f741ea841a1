//! What ran before can run again, and what was done is known, after a restart too.

use serde_json::Value;

use super::{CONTENT, INITIAL, hash};
use crate::support::fixtures::Fixture;
use crate::support::operator::{json, refused, text};
use crate::support::server::Launch;

fn again(fixture: Fixture) -> Fixture {
    let Fixture { server, directory } = fixture;
    assert!(server.stop().success());
    let server = Launch::manifest(&directory.path().join("spin.toml")).start(directory.path());
    Fixture { server, directory }
}

#[tokio::test]
async fn rollbacks_go_further_back_each_time() {
    let mut fixture = Fixture::start(CONTENT);
    let mut hashes = Vec::new();
    for name in ["version-one", "version-two", "version-3rd"] {
        let answer = fixture.swap_to("probe", "probe", name, &[]);
        hashes.push(hash(&answer, "previous"));
    }
    for (name, to) in [("version-two", 2), ("version-one", 1), (INITIAL, 0)] {
        let answer = json(fixture.root(), &["rollback", "probe"]);
        assert_eq!(hash(&answer, "hash"), hashes[to]);
        assert_eq!(fixture.version().await, name);
        // What was rolled back to runs after a restart.
        fixture = again(fixture);
        assert_eq!(fixture.version().await, name);
    }
    assert!(refused(fixture.root(), &["rollback", "probe"]).contains("nothing to go back to"));
}

#[tokio::test]
async fn the_history_says_what_when_and_by_whom() {
    let fixture = Fixture::start(CONTENT);
    let swapped = fixture.swap_to("probe", "probe", "version-two", &[]);
    json(fixture.root(), &["rollback", "probe"]);
    fixture.swap_to("worker", "consumer", "version-two", &[]);
    let before = json(fixture.root(), &["history"]);
    let fixture = again(fixture);
    let after = json(fixture.root(), &["history"]);
    assert_eq!(before, after, "a restart that changes nothing adds nothing");
    let entries: Vec<&Value> = after["entries"].as_array().expect("a list").iter().collect();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().expect("an action")).collect();
    assert_eq!(actions, ["start", "start", "swap", "rollback", "swap"]);
    let (new, old) = (hash(&swapped, "hash"), hash(&swapped, "previous"));
    assert_eq!((hash(entries[2], "hash"), hash(entries[2], "previous")), (new.clone(), old.clone()));
    assert_eq!((hash(entries[3], "hash"), hash(entries[3], "previous")), (old, new.clone()));
    for entry in &entries {
        let at = entry["at"].as_str().expect("a time");
        assert!(at.starts_with("20") && at.ends_with('Z'), "{entry}");
        let by = entry["by"].as_str().expect("somebody");
        if entry["action"] == "start" {
            assert_eq!(by, "tessera up");
        } else {
            assert!(by.contains('@'), "user@host: {by}");
        }
    }
    let table = text(fixture.root(), &["history", "probe"]);
    for part in ["WHEN", "rollback", &new[..12]] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(!table.contains("worker"), "{table}");
}

#[tokio::test]
async fn a_file_that_was_changed_since_wins_over_a_swap() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = super::variant(directory.path(), "probe", "version-one");
    let content = CONTENT.replace("<probe>", source.to_str().expect("UTF-8"));
    let fixture = Fixture::start_in(directory, &content);
    fixture.swap_to("probe", "probe", "version-two", &[]);
    let fixture = again(fixture);
    assert_eq!(fixture.version().await, "version-two", "the swap survives");
    let newer = super::variant(fixture.root(), "probe", "version-3rd");
    std::fs::copy(newer, &source).expect("the file is replaced");
    let fixture = again(fixture);
    assert_eq!(fixture.version().await, "version-3rd");
    let last = json(fixture.root(), &["history"])["entries"].as_array().expect("a list").last().cloned();
    let last = last.expect("an entry");
    assert_eq!(
        (&last["action"], &last["note"]),
        (&"start".into(), &"the file that the manifest names has changed".into())
    );
    json(fixture.root(), &["rollback", "probe"]);
    assert_eq!(fixture.version().await, "version-two");
}
