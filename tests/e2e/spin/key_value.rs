//! One store behind six interfaces, called by three SDKs.

use crate::support::fixtures::Fixture;

const CONTENT: &str = r#"
[[trigger.http]]
route = "/5/..."
component = "five"

[[trigger.http]]
route = "/6/..."
component = "six"

[[trigger.http]]
route = "/7/..."
component = "seven"

[[trigger.http]]
route = "/probe/..."
component = "probe"

[component.five]
source = "<spin5>"
key_value_stores = ["default", "shelf"]

[component.six]
source = "<sdk6>"
key_value_stores = ["default", "shelf"]

[component.seven]
source = "<spin7>"
key_value_stores = ["default", "shelf"]

[component.probe]
source = "<probe>"
key_value_stores = ["shelf"]
"#;

/// Every interface but our own.
const INTERFACES: [&str; 6] = ["7/key-value", "6/key-value", "5/key-value", "5/key-value-1", "5/draft", "5/draft2"];

#[tokio::test]
async fn what_is_written_through_one_interface_is_read_through_every_other() {
    let app = Fixture::start(CONTENT);
    for writer in INTERFACES {
        assert_eq!(app.probe(&format!("{writer}/set/shelf/probe"), writer).await, "ok");
        for reader in INTERFACES {
            assert_eq!(app.probe(&format!("{reader}/get/shelf/probe"), "").await, writer, "{reader}");
            assert_eq!(app.probe(&format!("{reader}/exists/shelf/probe"), "").await, "true", "{reader}");
            assert_eq!(app.probe(&format!("{reader}/keys/shelf/-"), "").await, "probe", "{reader}");
            assert_eq!(app.probe(&format!("{reader}/keys/default/-"), "").await, "", "{reader}");
        }
        assert_eq!(app.probe("probe/kv-list/shelf", "").await, "probe\n");
        for _ in 0..2 {
            assert_eq!(app.probe(&format!("{writer}/delete/shelf/probe"), "").await, "ok");
        }
        for reader in INTERFACES {
            let missing = if reader == "5/key-value-1" { "Error::NoSuchKey" } else { "none" };
            assert_eq!(app.probe(&format!("{reader}/get/shelf/probe"), "").await, missing);
            assert_eq!(app.probe(&format!("{reader}/exists/shelf/probe"), "").await, "false");
        }
    }
    assert_eq!(app.probe("probe/kv-set/shelf", "ours").await, "ok");
    for reader in INTERFACES {
        assert_eq!(app.probe(&format!("{reader}/get/shelf/probe"), "").await, "ours", "{reader}");
    }
}

#[tokio::test]
async fn a_store_that_the_manifest_does_not_name_is_denied() {
    let app = Fixture::start(CONTENT);
    for interface in INTERFACES {
        let answer = app.probe(&format!("{interface}/get/forbidden/key"), "").await;
        assert!(answer.ends_with("Error::AccessDenied"), "{interface}: {answer}");
    }
    app.server.log.line_with(&["denied", "forbidden", "key_value_stores", "seven"]);
}

#[tokio::test]
async fn what_a_store_cannot_hold_is_an_error_with_a_text() {
    let app = Fixture::start(CONTENT);
    let large = "y".repeat((1 << 20) + 1);
    for interface in INTERFACES {
        let empty = app.probe(&format!("{interface}/set/default/"), "x").await;
        assert!(empty.contains("a key has at least 1 byte"), "{interface}: {empty}");
        let long = app.probe(&format!("{interface}/set/default/{}", "k".repeat(1025)), "x").await;
        assert!(long.contains("a key has at most 1024 bytes"), "{interface}: {long}");
        let big = app.probe(&format!("{interface}/set/default/key"), &large).await;
        assert!(big.contains("a value has at most 1048576 bytes"), "{interface}: {big}");
        assert_eq!(app.probe(&format!("{interface}/set/default/key"), &large[1..]).await, "ok");
    }
}

#[tokio::test]
async fn an_instance_opens_256_stores_and_no_more() {
    let app = Fixture::start(CONTENT);
    assert_eq!(app.probe("5/key-value/open/default/-", "").await, "256 Error::StoreTableFull");
    assert_eq!(app.probe("7/key-value/open/default/-", "").await, "256 Error::StoreTableFull");
}

#[tokio::test]
async fn a_number_that_is_no_open_store_is_invalid() {
    let app = Fixture::start(CONTENT);
    assert_eq!(app.probe("5/key-value-1/get/99/key", "").await, "Error::InvalidStore");
}

#[tokio::test]
async fn all_keys_are_listed_however_many() {
    let app = Fixture::start(CONTENT);
    assert_eq!(app.probe("5/draft/set-many/default/-", "2500").await, "ok");
    for interface in ["7/key-value", "6/key-value", "5/key-value"] {
        assert_eq!(app.probe(&format!("{interface}/count/default/-"), "").await, "2500", "{interface}");
    }
    for interface in INTERFACES {
        let keys = app.probe(&format!("{interface}/keys/default/-"), "").await;
        assert_eq!(keys.split(',').count(), 2500, "{interface}");
        assert!(keys.ends_with("many-2499"), "{interface}");
    }
    assert_eq!(app.probe("5/draft/keys-after/default/-", "2498").await, "many-2498,many-2499");
    assert_eq!(app.probe("5/draft2/keys-after/default/-", "after:many-2497").await, "many-2498,many-2499");
    let cursor = app.probe("5/draft2/keys-after/default/-", "0").await;
    assert!(cursor.contains("Error::Other") && cursor.contains("cursor"), "{cursor}");
    assert_eq!(app.probe("5/draft2/delete-many/default/-", "2500").await, "ok");
    assert_eq!(app.probe("7/key-value/count/default/-", "").await, "0");
}

#[tokio::test]
async fn batches_tell_what_is_missing() {
    let app = Fixture::start(CONTENT);
    assert_eq!(app.probe("5/draft/set/default/key", "v").await, "ok");
    assert_eq!(app.probe("5/draft/get-many/default/key", "").await, r#"[Some(("key", [118])), None]"#);
    let found = app.probe("5/draft2/get-many/default/key", "").await;
    assert_eq!(found, r#"[("key", Some([118])), ("missing", None)]"#);
    let much = app.probe("5/draft2/get-too-much/default/-", "").await;
    assert!(much.contains("query result exceeds limit"), "{much}");
}

#[tokio::test]
async fn counters_are_the_same_and_nobody_loses_an_increment() {
    let app = Fixture::start(CONTENT);
    assert_eq!(app.probe("5/draft2/increment/default/counter", "10").await, "10");
    assert_eq!(app.probe("5/draft/increment/default/counter", "5").await, "15");
    assert_eq!(app.probe("5/draft2/increment/default/counter", "-3").await, "12");
    assert_eq!(app.probe("7/key-value/get/default/counter", "").await, "12");
    let increments = (0..40).map(|_| app.probe("5/draft2/increment/default/many", "1"));
    let mut seen: Vec<u32> =
        futures::future::join_all(increments).await.iter().map(|text| text.parse().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
    assert_eq!(app.probe("7/key-value/set/default/word", "forty").await, "ok");
    let word = app.probe("5/draft2/increment/default/word", "1").await;
    assert!(word.contains("not a counter"), "{word}");
    assert_eq!(app.probe("7/key-value/set/default/max", &i64::MAX.to_string()).await, "ok");
    let over = app.probe("5/draft2/increment/default/max", "1").await;
    assert!(over.contains("64 bits"), "{over}");
}

#[tokio::test]
async fn a_swap_fails_if_somebody_wrote_in_between_and_can_go_on() {
    let app = Fixture::start(CONTENT);
    // On a missing key, then on one that is there.
    assert_eq!(app.probe("5/draft2/swap/default/key", "").await, "false Some(\"theirs\")");
    assert_eq!(app.probe("5/draft2/get/default/key", "").await, "second");
    assert_eq!(app.probe("5/draft2/swap/default/key", "").await, "true Some(\"theirs\")");
    assert_eq!(app.probe("7/key-value/get/default/key", "").await, "second");
}
