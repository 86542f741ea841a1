//! Every binding, our own and Spin's, with values as extreme as a guest can make them: the host survives, its memory
//! stays within a bound, and what the guest reads is an outcome of the contract.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::fixtures::Fixture;
use crate::support::services::TcpRedis;

const CONTENT: &str = r##"
[[trigger.http]]
route = "/probe/..."
component = "probe"
[component.probe]
source = "<probe>"
key_value_stores = ["shelf"]
[component.probe.tool.tessera]
blob_stores = { box = "read-write" }
publish = ["work"]
mail = true
reuse = "never"
limits = { memory = "256MiB", timeout = "30s" }

[component.sink]
source = "<consumer>"
key_value_stores = ["attempts"]
[component.sink.tool.tessera]
consume = [{ queue = "work", max_attempts = 1 }]
"##;

/// What the probe can call.
const CALLS: &[&str] = &[
    "kv-label",
    "kv-get",
    "kv-list",
    "kv-commit",
    "kv-check",
    "kv-delete",
    "blob-label",
    "blob-head",
    "blob-get",
    "blob-read-at",
    "blob-list",
    "blob-copy",
    "blob-delete",
    "blob-put",
    "publish",
    "publish-name",
    "mail",
    "variable",
    "print",
    "resolve",
    "file",
    "fields",
    "fields-name",
    "random",
];

/// Lengths at the limits of the contracts, and far beyond.
const LENGTHS: &[usize] = &[
    0,
    1,
    128,
    129,
    255,
    256,
    998,
    1024,
    1025,
    65_536,
    262_144,
    262_145,
    1 << 20,
    (1 << 20) + 1,
    10 << 20,
    20 << 20,
    40 << 20,
];

/// Outcomes of the contracts, and sizes.
const OUTCOMES: &[&str] = &[
    "ok",
    "error",
    "NotFound",
    "Conflict",
    "TooLarge",
    "Denied",
    "Invalid",
    "InvalidName",
    "Undefined",
    "Incomplete",
    "Full",
    "Rejected",
    "Unavailable",
];

/// Grows by no more than one instance's memory, and what one call may hand over a few times.
const GROWTH: u64 = (256 + 4 * 24 + 100) << 20;

#[test]
fn no_value_harms_the_host() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let fixture = Fixture::start(CONTENT);
    let before = fixture.server.resident();
    let get = |path: String| {
        runtime.block_on(async {
            let url = format!("{}/probe/{path}", fixture.server.url);
            let response = reqwest::get(url).await.expect("an answer");
            (response.status().as_u16(), response.text().await.expect("text"))
        })
    };
    let counts = prop_oneof![Just(0_u32), Just(1), Just(1000), Just(1001), Just(100_000), Just(u32::MAX), any::<u32>()];
    let numbers = prop_oneof![Just(0_u64), Just(1), Just(u64::MAX), Just(u64::MAX >> 1), any::<u64>()];
    let values = (prop::sample::select(CALLS), prop::sample::select(LENGTHS), counts, numbers);
    let config = Config { cases: 130, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&values, |(call, length, count, number)| {
        let (status, text) = get(format!("extreme/{call}?{length},{count},{number}"));
        // A call with more than the host takes at once ends in a trap; everything else has an outcome.
        let outcome = OUTCOMES.contains(&text.as_str()) || text.parse::<u64>().is_ok();
        prop_assert!(status == 500 || (status == 200 && outcome), "{status}: {text}");
        let bytes = length.saturating_mul(count.max(1) as usize);
        prop_assert!(status == 200 || bytes > 1 << 20 || count > 1000, "such a small call has an outcome: {text}");
        let grown = fixture.server.resident().saturating_sub(before);
        prop_assert!(grown < GROWTH, "the host has {} MiB more", grown >> 20);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(get("kv-get/shelf".into()).1, "ok", "it still serves");
}

const SPINS: &str = r#"
[[trigger.http]]
route = "/7/..."
component = "seven"
[[trigger.http]]
route = "/6/..."
component = "six"
[[trigger.http]]
route = "/5/..."
component = "five"

[component.seven]
source = "<spin7>"
key_value_stores = ["default"]
sqlite_databases = ["default"]
allowed_outbound_hosts = ["redis://127.0.0.1:<port>"]

[component.six]
source = "<sdk6>"
key_value_stores = ["default"]
sqlite_databases = ["default"]
allowed_outbound_hosts = ["redis://127.0.0.1:<port>"]

[component.five]
source = "<spin5>"
key_value_stores = ["default"]
sqlite_databases = ["default"]
allowed_outbound_hosts = ["redis://127.0.0.1:<port>"]
"#;

/// Calls of Spin's interfaces; `*` is what gets long, in the path, the query or the body.
fn spins_calls(redis: &str) -> Vec<(String, &'static str)> {
    let mut calls = Vec::new();
    for interface in ["7/key-value", "6/key-value", "5/key-value", "5/key-value-1", "5/draft", "5/draft2"] {
        for (call, body) in [
            ("get/*/key", ""),
            ("get/default/*", ""),
            ("exists/default/*", ""),
            ("delete/default/*", ""),
            ("set/default/*", ""),
            ("set/default/key", "*"),
        ] {
            calls.push((format!("{interface}/{call}"), body));
        }
    }
    for interface in ["7/variables", "6/variables", "5/variables", "5/config-1", "5/config-draft", "5/config"] {
        calls.push((format!("{interface}/get/*"), ""));
    }
    for interface in ["7/sqlite", "6/sqlite", "5/sqlite", "5/sqlite-1", "5/sqlite-3"] {
        calls.push((format!("{interface}/execute/*"), "SELECT 1"));
        calls.push((format!("{interface}/execute/default"), "*"));
    }
    for interface in ["7/redis", "6/redis", "5/redis", "5/redis-1"] {
        calls.push((format!("{interface}/get/key?*"), ""));
        calls.push((format!("{interface}/set/*?{redis}"), "value"));
        calls.push((format!("{interface}/set/key?{redis}"), "*"));
    }
    calls
}

#[tokio::test]
async fn no_value_harms_the_host_through_spins_interfaces() {
    let Some(redis) = TcpRedis::start() else { return };
    let fixture = Fixture::start(&SPINS.replace("<port>", &redis.port.to_string()));
    let client = reqwest::Client::new();
    let before = fixture.server.resident();
    for (call, body) in spins_calls(&redis.url()) {
        for length in [0, 1025, 65_536, (1 << 20) + 1, 40 << 20] {
            let long = |text: &str| text.replace('*', &format!("*{length}"));
            let url = format!("{}/{}", fixture.server.url, long(&call));
            let answer = client.post(&url).body(long(body)).send().await.expect("an answer");
            let status = answer.status().as_u16();
            let text = answer.text().await.expect("text");
            // A call with more than the host takes at once ends in a trap; everything else has an outcome.
            assert!(status == 200 || (status == 500 && length > 1 << 20), "{call} {length}: {status} {text}");
            assert!(text != "no such call", "{call}");
            let grown = fixture.server.resident().saturating_sub(before);
            assert!(grown < GROWTH, "{call} {length}: the host has {} MiB more", grown >> 20);
        }
    }
    assert_eq!(fixture.probe("7/key-value/set/default/after", "all").await, "ok");
    assert_eq!(fixture.probe("5/draft2/get/default/after", "").await, "all", "it still serves");
}
