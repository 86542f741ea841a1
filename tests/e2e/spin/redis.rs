//! Outgoing Redis and the Redis trigger, with a real server.

use crate::support::eventually;
use crate::support::fixtures::{Fixture, manifest};
use crate::support::server::Launch;
use crate::support::services::TcpRedis;

const OUTGOING: &str = r#"
[[trigger.http]]
route = "/5/..."
component = "five"

[[trigger.http]]
route = "/6/..."
component = "six"

[[trigger.http]]
route = "/7/..."
component = "seven"

[component.five]
source = "<spin5>"
allowed_outbound_hosts = ["redis://127.0.0.1:<port>"]

[component.six]
source = "<sdk6>"
allowed_outbound_hosts = ["redis://127.0.0.1:<port>"]

[component.seven]
source = "<spin7>"
allowed_outbound_hosts = ["redis://127.0.0.1:<port>"]
"#;

#[tokio::test]
async fn components_use_the_servers_that_the_manifest_names() {
    let Some(redis) = TcpRedis::start() else { return };
    let app = Fixture::start(&OUTGOING.replace("<port>", &redis.port.to_string()));
    let at = redis.url();
    for interface in ["7/redis", "6/redis", "5/redis", "5/redis-1"] {
        let call = async |what: &str, body: &str| app.probe(&format!("{interface}/{what}?{at}"), body).await;
        assert_eq!(call("set/key", "value").await, "ok", "{interface}");
        assert_eq!(call("get/key", "").await, "value");
        assert_eq!(redis.ask(&["GET", "key"]), "value");
        assert_eq!(call("incr/counter", "").await, "1");
        assert_eq!(call("incr/counter", "").await, "2");
        assert_eq!(call("del/counter", "").await, "1");
        assert_eq!(call("del/counter", "").await, "0");
        assert_eq!(call("publish/channel", "hello").await, "ok");
    }
    for interface in ["7/redis", "6/redis", "5/redis"] {
        let call = async |what: &str, body: &str| app.probe(&format!("{interface}/{what}?{at}"), body).await;
        assert_eq!(call("get/missing", "").await, "none", "{interface}");
        assert_eq!(call("sadd/set", "a b").await, "2");
        assert_eq!(call("sadd/set", "b c").await, "1");
        assert_eq!(call("smembers/set", "").await, "a,b,c");
        assert_eq!(call("srem/set", "a x").await, "1");
        assert_eq!(call("del/set", "").await, "1");
        // Of another kind.
        assert_eq!(call("incr/key", "").await, "Error::TypeError");
        assert_eq!(call("sadd/key", "a").await, "Error::TypeError");
        // Any command.
        assert_eq!(call("execute/append", "key ish").await, "[RedisResult::Int64(8)]");
        assert_eq!(call("execute/rpush", "list 1 two").await, "[RedisResult::Int64(2)]");
        let list = call("execute/lrange", "list 0 -1").await;
        assert_eq!(list, "[RedisResult::Binary([49]), RedisResult::Binary([116, 119, 111])]");
        assert_eq!(call("execute/set", "a b").await, "[RedisResult::Status(\"OK\")]");
        assert_eq!(call("execute/get", "nothing").await, "[RedisResult::Nil]");
        let wrong = call("execute/nonsense", "").await;
        assert!(wrong.starts_with("Error::Other(") && wrong.contains("unknown command"), "{wrong}");
        assert_eq!(call("execute/del", "list").await, "[RedisResult::Int64(1)]");
        assert_eq!(call("set/key", "value").await, "ok");
    }
}

#[tokio::test]
async fn other_servers_are_invalid_addresses() {
    let Some(redis) = TcpRedis::start() else { return };
    let app = Fixture::start(&OUTGOING.replace("<port>", &redis.port.to_string()));
    for address in [
        "redis://127.0.0.1:1".to_owned(),
        format!("redis://localhost:{}", redis.port),
        format!("rediss://127.0.0.1:{}", redis.port),
        format!("http://127.0.0.1:{}", redis.port),
        "unix:///tmp/redis.sock".to_owned(),
        "redis+unix:///tmp/redis.sock".to_owned(),
        "nonsense".to_owned(),
        String::new(),
    ] {
        for interface in ["7/redis", "6/redis", "5/redis"] {
            let answer = app.probe(&format!("{interface}/get/key?{address}"), "").await;
            assert_eq!(answer, "Error::InvalidAddress", "{address}");
        }
        let answer = app.probe(&format!("5/redis-1/get/key?{address}"), "").await;
        assert!(answer.starts_with("Error") && answer.contains("\"error\""), "{address}: {answer}");
    }
    app.server.log.line_with(&["denied", "redis://127.0.0.1:1", "allowed_outbound_hosts", "seven"]);
}

#[tokio::test]
async fn a_connection_is_used_again_but_not_what_was_done_to_it() {
    let Some(redis) = TcpRedis::start() else { return };
    let app = Fixture::start(&OUTGOING.replace("<port>", &redis.port.to_string()));
    let at = redis.url();
    let connections = || -> u32 {
        let info = redis.ask(&["INFO", "stats"]);
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:")).expect("a number");
        line.trim().parse().expect("a number")
    };
    assert_eq!(app.probe(&format!("7/redis/set/key?{at}"), "zero").await, "ok");
    let before = connections();
    for _ in 0..10 {
        assert_eq!(app.probe(&format!("7/redis/get/key?{at}"), "").await, "zero");
    }
    // Only those of `redis-cli`, which this test asks with.
    assert!(connections() <= before + 1, "{} after {before}", connections());
    assert_eq!(app.probe(&format!("7/redis/execute/select?{at}"), "5").await, "[RedisResult::Status(\"OK\")]");
    assert_eq!(app.probe(&format!("7/redis/get/key?{at}"), "").await, "zero");
    // A server that was started anew is found again.
    let redis = redis.restarted();
    assert_eq!(app.probe(&format!("7/redis/set/key?{at}"), "one").await, "ok");
    assert_eq!(redis.ask(&["GET", "key"]), "one");
}

const SUBSCRIBERS: &str = r#"
[application.trigger.redis]
address = "redis://127.0.0.1:{{ port }}"

[variables]
port = { required = true }
room = { default = "lobby" }

[[trigger.redis]]
channel = "{{ room }}"
component = "seven"

[[trigger.redis]]
channel = "both"
component = "seven"

[[trigger.redis]]
channel = "both"
component = "six"

[[trigger.redis]]
channel = "both"
component = "five"
address = "redis://127.0.0.1:{{ port }}/0"

[[trigger.http]]
route = "/7/..."
component = "seven"

[component.six]
source = "<sdk6>"
key_value_stores = ["default"]

[component.five]
source = "<spin5>"
key_value_stores = ["default"]

[component.seven]
source = "<spin7>"
key_value_stores = ["default"]
"#;

#[tokio::test]
async fn messages_of_a_channel_call_its_components() {
    let Some(redis) = TcpRedis::start() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let server = Launch::manifest(&manifest(directory.path(), SUBSCRIBERS))
        .variable("port", &redis.port.to_string())
        .start(directory.path());
    let app = Fixture { server, directory };
    let subscribers = async |channel: &str, count: &str| {
        eventually("everybody listens", async || {
            redis.ask(&["PUBSUB", "NUMSUB", channel]).ends_with(count).then_some(())
        })
        .await;
    };
    let got = async |key: &str| {
        eventually("the message was handled", async || {
            (app.probe(&format!("7/key-value/get/default/{key}"), "").await != "none").then_some(())
        })
        .await;
    };
    subscribers("lobby", "1").await;
    subscribers("both", "2").await;
    redis.ask(&["PUBLISH", "lobby", "hello"]);
    got("message-hello").await;
    redis.ask(&["PUBLISH", "both", "all"]);
    got("message-all").await;
    got("message-6-all").await;
    got("legacy-all").await;
    // A message that fails, or traps, costs no other.
    redis.ask(&["PUBLISH", "lobby", "fail"]);
    app.server.log.line_with(&["Redis handler failed", "failed on purpose"]);
    redis.ask(&["PUBLISH", "lobby", "trap"]);
    app.server.log.line_with(&["Redis handler trapped"]);
    // What the component said itself belongs to the same piece of work as what is said of it.
    let said = app.server.log.line_with(&["trapped on purpose", " request_id=", " trace_id="]);
    let ids = said.rsplit_once(" request_id=").expect("the ids").1;
    let all = app.server.log.text();
    assert!(all.lines().filter(|line| line.ends_with(ids)).count() > 1, "{ids} in {all}");
    let failed = app.server.log.line_with(&["failed on purpose", " request_id="]);
    assert!(!failed.ends_with(ids), "{failed}");
    redis.ask(&["PUBLISH", "elsewhere", "unheard"]);
    // After the server went away and came back, messages come again.
    let redis = redis.restarted();
    app.server.log.line_with(&["subscription to Redis broke"]);
    eventually("it subscribes again", async || redis.ask(&["PUBSUB", "NUMSUB", "lobby"]).ends_with('1').then_some(()))
        .await;
    redis.ask(&["PUBLISH", "lobby", "again"]);
    got("message-again").await;
    assert_eq!(app.probe("7/key-value/get/default/message-unheard", "").await, "none");
    assert!(app.server.stop().success());
}

#[tokio::test]
async fn a_component_without_a_handler_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let content = "[[trigger.redis]]\naddress = \"redis://127.0.0.1:1\"\nchannel = \"a\"\ncomponent = \"probe\"\n\
                   [component.probe]\nsource = \"<probe>\"\n";
    let refused = Launch::manifest(&manifest(directory.path(), content)).refused(directory.path());
    assert!(refused.contains("probe") && refused.contains("inbound-redis"), "{refused}");
}
