//! What the manifest does not grant is denied; what it grants works.

use tokio::net::TcpListener;

use crate::support::fixtures::Fixture;
use crate::support::operator::metric_of;
use crate::support::{eventually, mail};

/// Twice the same component: once with everything, once with nothing.
const CONTENT: &str = r##"
[[trigger.http]]
route = "/granted/..."
component = "granted"

[[trigger.http]]
route = "/bare/..."
component = "bare"

[component.bare]
source = "<probe>"

[component.granted]
source = "<probe>"
key_value_stores = ["shelf"]
allowed_outbound_hosts = ["http://127.0.0.1:<port>"]
environment = { COLOUR = "blue" }
variables = { answer = "42" }
files = [{ source = "public.txt", destination = "/public.txt" }]
[component.granted.tool.tessera]
blob_stores = { box = "read-write", glass = "read" }
publish = ["work", "events.*"]
mail = { from = ["shop@example.org"] }

[component.sink]
source = "<consumer>"
key_value_stores = ["attempts"]
[component.sink.tool.tessera]
consume = [{ queue = "#" }]
"##;

/// The application, and a server that the granted component may call.
async fn start() -> (Fixture, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            _ = connection.read(&mut request).await;
            _ = connection.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("public.txt"), "for everybody").expect("room");
    std::fs::write(directory.path().join("secret.txt"), "for nobody").expect("room");
    let fixture = Fixture::start_in(directory, &CONTENT.replace("<port>", &port.to_string()));
    (fixture, port)
}

#[tokio::test]
async fn without_a_grant_everything_is_denied() {
    let (fixture, port) = start().await;
    for path in [
        "kv-get/shelf",
        "kv-get/default",
        "kv-set/shelf",
        "kv-list/shelf",
        "kv-publish/shelf?work",
        "blob-head/box",
        "blob-put/box",
        "blob-list/box",
        "blob-delete/box",
        "publish/work",
        "publish/events.made",
        "mail/-?ada@example.org",
        "mail-as/shop@example.org?ada@example.org",
    ] {
        assert_eq!(fixture.probe(&format!("bare/{path}"), "x").await, "Denied", "{path}");
    }
    let fetched = fixture.probe(&format!("bare/http/-?http://127.0.0.1:{port}/"), "").await;
    assert!(fetched.contains("HttpRequestDenied"), "{fetched}");
    for file in ["/public.txt", "public.txt", "/etc/passwd", "../secret.txt", "spin.toml"] {
        let read = fixture.probe(&format!("bare/file/-?{file}"), "").await;
        assert!(read.starts_with("error:"), "{file}: {read}");
        let written = fixture.probe(&format!("bare/write-file/-?{file}"), "x").await;
        assert!(written.starts_with("error:"), "{file}: {written}");
    }
    assert_eq!(fixture.probe("bare/environment/-", "").await, "");
    assert_eq!(fixture.probe("bare/variable/answer", "").await, "Undefined");
    // Whoever forgot the grant finds it in the log.
    fixture.server.log.line_with(&["denied", "shelf", "key_value_stores", "bare"]);
    fixture.server.log.line_with(&["denied", "box", "tool.tessera.blob_stores", "bare"]);
    fixture.server.log.line_with(&["denied", "work", "tool.tessera.publish", "bare"]);
    fixture.server.log.line_with(&["denied", "mail", "tool.tessera.mail", "bare"]);
    fixture.server.log.line_with(&["denied", "127.0.0.1", "allowed_outbound_hosts", "bare"]);
    fixture.server.log.line_with(&["denied: variable `answer` is not granted by `variables`", "bare"]);
    assert!(mail::outbox(fixture.directory.path()).is_empty());
}

#[tokio::test]
async fn what_is_granted_works() {
    let (fixture, port) = start().await;
    for (path, outcome) in [
        ("kv-set/shelf", "ok"),
        ("kv-get/shelf", "ok"),
        ("kv-list/shelf", "probe\n"),
        ("kv-publish/shelf?work", "ok"),
        ("blob-head/box", "NotFound"),
        ("blob-put/box", "ok"),
        ("blob-head/box", "ok"),
        ("blob-list/box", "ok"),
        ("blob-head/glass", "NotFound"),
        ("blob-delete/box", "ok"),
        ("publish/work", "ok"),
        ("publish/events.made", "ok"),
        ("mail/-?ada@example.org", "ok"),
        ("mail-as/shop@example.org?ada@example.org", "ok"),
        ("variable/answer", "42"),
        ("environment/-", "COLOUR=blue\n"),
        ("file/-?/public.txt", "for everybody"),
    ] {
        assert_eq!(fixture.probe(&format!("granted/{path}"), "x").await, outcome, "{path}");
    }
    let fetched = fixture.probe(&format!("granted/http/-?http://127.0.0.1:{port}/"), "").await;
    assert!(fetched.starts_with("204"), "{fetched}");
    let mut senders: Vec<_> = mail::outbox(fixture.directory.path()).into_iter().map(|mail| mail.from).collect();
    senders.sort();
    assert_eq!(senders, ["shop@example.org", "tessera@localhost"]);
}

#[tokio::test]
async fn a_grant_is_for_what_it_names() {
    let (fixture, port) = start().await;
    for path in [
        "kv-get/attempts",
        "kv-get/default",
        "kv-publish/shelf?other",
        "blob-put/glass",
        "blob-delete/glass",
        "blob-head/crate",
        "publish/other",
        "publish/events",
        "publish/events.a.b",
        "mail-as/king@example.org?ada@example.org",
    ] {
        assert_eq!(fixture.probe(&format!("granted/{path}"), "x").await, "Denied", "{path}");
    }
    for url in
        [format!("http://localhost:{port}/"), "http://127.0.0.1:1/".to_owned(), format!("https://127.0.0.1:{port}/")]
    {
        let fetched = fixture.probe(&format!("granted/http/-?{url}"), "").await;
        assert!(fetched.contains("HttpRequestDenied"), "{url}: {fetched}");
    }
    for file in ["/secret.txt", "/etc/passwd", "../secret.txt", "/../secret.txt"] {
        let read = fixture.probe(&format!("granted/file/-?{file}"), "").await;
        assert!(read.starts_with("error:"), "{file}: {read}");
    }
    let written = fixture.probe("granted/write-file/-?/public.txt", "mine").await;
    assert!(written.starts_with("error:"), "{written}");
    assert_eq!(fixture.probe("granted/file/-?/public.txt", "").await, "for everybody");
}

/// Every door, what is tried at it, and what the log says about it: once.
const DOORS: &[(&str, &str, &[&str])] = &[
    ("kv-get/shelf", "Denied", &["key-value store `shelf`", "`key_value_stores`"]),
    ("kv-set/shelf", "Denied", &["key-value store `shelf`", "`key_value_stores`"]),
    ("kv-list/shelf", "Denied", &["key-value store `shelf`", "`key_value_stores`"]),
    ("kv-publish/shelf?work", "Denied", &["key-value store `shelf`", "`key_value_stores`"]),
    ("blob-head/box", "Denied", &["blob store `box`", "`tool.tessera.blob_stores`"]),
    ("blob-put/glass", "Denied", &["blob store `glass`", "`tool.tessera.blob_stores`"]),
    ("blob-delete/glass", "Denied", &["writing to blob store `glass`", "`tool.tessera.blob_stores`"]),
    ("publish/work", "Denied", &["publishing to queue `work`", "`tool.tessera.publish`"]),
    ("mail/-?ada@example.org", "Denied", &["`tool.tessera.mail`"]),
    ("http/-?http://example.com/", "HttpRequestDenied", &["`http://example.com`", "`allowed_outbound_hosts`"]),
    ("http/-?http://127.0.0.1:9/", "HttpRequestDenied", &["`http://127.0.0.1:9`", "`allowed_outbound_hosts`"]),
    ("http/-?http://other.spin.internal/", "HttpRequestDenied", &["other.spin.internal", "`allowed_outbound_hosts`"]),
    ("http/-?http://self.alt/", "HttpRequestDenied", &["self.alt", "`allowed_outbound_hosts`"]),
    ("socket/-?127.0.0.1:9", "error:", &["`tcp://127.0.0.1:9`", "`allowed_outbound_hosts`"]),
    ("socket/-?1.1.1.1:53", "error:", &["`tcp://1.1.1.1:53`", "`allowed_outbound_hosts`"]),
    ("socket/-?name.example:80", "error:", &["looking up `name.example`", "`allowed_outbound_hosts`"]),
    ("socket3/-?127.0.0.1:9", "AccessDenied", &["`tcp://127.0.0.1:9`", "`allowed_outbound_hosts`"]),
    ("udp/-?127.0.0.1:9", "error:", &["`udp://127.0.0.1:9`", "`allowed_outbound_hosts`"]),
    ("udp3/-?1.1.1.1:53", "AccessDenied", &["`udp://1.1.1.1:53`", "`allowed_outbound_hosts`"]),
    ("listen/-?127.0.0.1:0", "error:", &["listening on `127.0.0.1:0`"]),
    ("listen/-?0.0.0.0:0", "error:", &["listening on `0.0.0.0:"]),
    ("listen3/-", "AccessDenied", &["listening on"]),
    ("resolve/-?localhost", "error:", &["looking up `localhost`", "`allowed_outbound_hosts`"]),
    ("resolve3/-?secret.evil.example", "AccessDenied", &["`secret.evil.example`", "`allowed_outbound_hosts`"]),
];

/// The doors that components of Spin's SDKs know.
const SPINS_DOORS: &[(&str, &str, &[&str])] = &[
    ("7/key-value/get/shelf/key", "AccessDenied", &["key-value store `shelf`", "`key_value_stores`", "seven"]),
    ("6/key-value/set/shelf/key", "AccessDenied", &["key-value store `shelf`", "`key_value_stores`", "six"]),
    ("5/key-value/get/shelf/key", "AccessDenied", &["key-value store `shelf`", "`key_value_stores`", "five"]),
    ("5/key-value-1/get/shelf/key", "AccessDenied", &["key-value store `shelf`", "`key_value_stores`", "five"]),
    ("5/draft/get/shelf/key", "AccessDenied", &["key-value store `shelf`", "`key_value_stores`", "five"]),
    ("5/draft2/get/shelf/key", "AccessDenied", &["key-value store `shelf`", "`key_value_stores`", "five"]),
    ("7/sqlite/execute/ledger", "AccessDenied", &["SQLite database `ledger`", "`sqlite_databases`", "seven"]),
    ("6/sqlite/execute/ledger", "AccessDenied", &["SQLite database `ledger`", "`sqlite_databases`", "six"]),
    ("5/sqlite/execute/ledger", "AccessDenied", &["SQLite database `ledger`", "`sqlite_databases`", "five"]),
    ("5/sqlite-1/execute/ledger", "AccessDenied", &["SQLite database `ledger`", "`sqlite_databases`", "five"]),
    (
        "7/redis/get/key?redis://127.0.0.1:9",
        "InvalidAddress",
        &["`redis://127.0.0.1:9`", "`allowed_outbound_hosts`", "seven"],
    ),
    (
        "6/redis/get/key?redis://127.0.0.1:9",
        "InvalidAddress",
        &["`redis://127.0.0.1:9`", "`allowed_outbound_hosts`", "six"],
    ),
    (
        "5/redis/get/key?redis://127.0.0.1:9",
        "InvalidAddress",
        &["`redis://127.0.0.1:9`", "`allowed_outbound_hosts`", "five"],
    ),
    ("5/redis-1/get/key?redis://127.0.0.1:9", "Error", &["`redis://127.0.0.1:9`", "`allowed_outbound_hosts`", "five"]),
];

#[tokio::test]
async fn spins_doors_are_shut_too_and_logged_once() {
    let mut content = String::new();
    for (id, route, source) in
        [("seven", "7", "spin7"), ("six", "6", "sdk6"), ("five", "5", "spin5"), ("mark", "mark", "probe")]
    {
        content += &format!(
            "[[trigger.http]]\nroute = \"/{route}/...\"\ncomponent = \"{id}\"\n[component.{id}]\nsource = \"<{source}>\"\n"
        );
    }
    let fixture = Fixture::start(&content);
    for (number, (path, outcome, said)) in SPINS_DOORS.iter().enumerate() {
        let before = denials(&fixture).len();
        let answer = fixture.probe(path, "SELECT 1").await;
        assert!(answer.contains(outcome), "{path}: {answer}");
        // What is logged after it comes after all that the attempt logs.
        fixture.probe(&format!("mark/print/-?marker-{number}"), "").await;
        fixture.server.log.line_with(&[&format!("marker-{number} to stderr")]);
        let new = denials(&fixture).split_off(before);
        assert_eq!(new.len(), 1, "{path}: {new:#?}");
        assert!(said.iter().all(|said| new[0].contains(said)), "{path}: {}", new[0]);
    }
}

#[tokio::test]
async fn every_door_is_shut_and_every_attempt_is_logged_once() {
    let fixture = Fixture::start(
        "[[trigger.http]]\nroute = \"/escape/...\"\ncomponent = \"escape\"\n\
         [component.escape]\nsource = \"<probe>\"\ntool.tessera.blob_stores = { glass = \"read\" }\n\
         [[trigger.http]]\nroute = { private = true }\ncomponent = \"other\"\n\
         [component.other]\nsource = \"<probe>\"\nkey_value_stores = [\"shelf\"]\n\
         tool.tessera.blob_stores = { box = \"read\" }\nvariables = { secret = \"x\" }\nenvironment = { SECRET = \"x\" }\n\
         [component.sink]\nsource = \"<consumer>\"\nkey_value_stores = [\"attempts\"]\n\
         tool.tessera.consume = [{ queue = \"work\" }]\n",
    );
    for (number, (path, outcome, said)) in DOORS.iter().enumerate() {
        let before = denials(&fixture);
        let answer = fixture.probe(&format!("escape/{path}"), "x").await;
        assert!(answer.contains(outcome), "{path}: {answer}");
        // What the next attempt logs comes after all that this one does.
        let marker = format!("marker {number}");
        fixture.probe(&format!("escape/print/-?{}", marker.replace(' ', "+")), "").await;
        fixture.server.log.line_with(&[&marker.replace(' ', "+"), "stderr"]);
        let new = denials(&fixture).split_off(before.len());
        assert_eq!(new.len(), 1, "{path}: {new:#?}");
        for said in said.iter().chain(&["escape"]) {
            assert!(new[0].contains(said), "{path}: {said} is not in {}", new[0]);
        }
    }
    assert_eq!(fixture.probe("escape/environment/-", "").await, "");
    assert_eq!(fixture.probe("escape/variable/secret", "").await, "Undefined");
}

/// The lines of the log that tell of a missing grant.
fn denials(fixture: &Fixture) -> Vec<String> {
    fixture.server.log.text().lines().filter(|line| line.contains("denied: ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn files_are_reached_only_through_mounts() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(directory.path().join("site/deep")).expect("room");
    std::fs::write(directory.path().join("site/index.html"), "for everybody").expect("room");
    std::fs::write(directory.path().join("secret.txt"), "for nobody").expect("room");
    for (target, link) in [("../secret.txt", "site/out"), ("/etc", "site/etc"), ("index.html", "site/in")] {
        std::os::unix::fs::symlink(target, directory.path().join(link)).expect("room");
    }
    let fixture = Fixture::start_in(
        directory,
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"a\"\n[component.a]\nsource = \"<probe>\"\n\
         files = [{ source = \"site\", destination = \"/site\" }]\n",
    );
    for inside in ["/site/index.html", "/site/deep/../index.html", "/site/in"] {
        assert_eq!(fixture.probe(&format!("a/file/-?{inside}"), "").await, "for everybody", "{inside}");
    }
    for outside in [
        "/site/out",
        "/site/etc/passwd",
        "/site/../secret.txt",
        "/site/deep/../../secret.txt",
        "/secret.txt",
        "/etc/passwd",
        "/proc/self/environ",
        "secret.txt",
    ] {
        let read = fixture.probe(&format!("a/file/-?{outside}"), "").await;
        assert!(read.starts_with("error:"), "{outside}: {read}");
    }
    for file in ["/site/index.html", "/site/new.txt", "/site/out", "/new.txt"] {
        let written = fixture.probe(&format!("a/write-file/-?{file}"), "mine").await;
        assert!(written.starts_with("error:"), "{file}: {written}");
    }
    for (change, path) in [
        ("create", "created"),
        ("link", "in"),
        ("remove", "deep/../in"),
        ("remove-directory", "deep"),
        ("rename", "deep/../index.html"),
        ("stat", "../above"),
    ] {
        let changed = fixture.probe(&format!("a/change-file/{change}?/site/{path}"), "").await;
        assert!(changed.starts_with("error:"), "{change}: {changed}");
        fixture.server.log.line_with(&[&format!("denied: the file `{path}` is not granted by `files`")]);
    }
    let left = |path: &str| fixture.directory.path().join("site").join(path).exists();
    assert!(left("in") && left("deep") && left("index.html") && !left("created") && !left("in-link"));
    // Once each, but for what the guest's C library does not ask the host for.
    for (path, times) in [("out", 2), ("etc/passwd", 1), ("../secret.txt", 1), ("index.html", 1), ("new.txt", 1)] {
        let line = format!("denied: the file `{path}` is not granted by `files`");
        eventually(path, async || (fixture.server.log.text().matches(&line).count() == times).then_some(())).await;
    }
}

#[tokio::test]
async fn denials_do_not_flood_the_log() {
    let fixture = Fixture::start(
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"a\"\n[component.a]\nsource = \"<probe>\"\n\
         [component.a.tool.tessera]\nlimits = { log_rate = 1 }\n",
    );
    for _ in 0..20 {
        assert_eq!(fixture.probe("a/kv-get/default", "").await, "Denied");
    }
    let left_out = metric_of(fixture.directory.path(), "tessera_log_lines_suppressed_total", "a").await;
    assert!(left_out > 0.0, "{:?}", denials(&fixture));
    eventually("the others are logged", async || (denials(&fixture).len() as f64 == 20.0 - left_out).then_some(()))
        .await;
}
