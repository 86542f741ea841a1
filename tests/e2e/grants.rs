//! What the manifest does not grant is denied; what it grants works.

use tokio::net::TcpListener;

use crate::support::fixtures::Fixture;
use crate::support::mail;

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
    let connected = fixture.probe(&format!("bare/socket/-?127.0.0.1:{port}"), "").await;
    assert!(connected.starts_with("error:"), "{connected}");
    let resolved = fixture.probe("bare/resolve/-?localhost", "").await;
    assert!(resolved.starts_with("error:"), "{resolved}");
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
