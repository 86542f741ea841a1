//! Where the administration is reached, by whom, and what happens if it cannot be there.

use std::net::TcpListener;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::fixtures::{Fixture, manifest};
use crate::support::operator::{api, json, token};
use crate::support::server::Launch;
use crate::tls::{certify, connect};

const CONTENT: &str =
    "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"<probe>\"\n";

/// What is answered to a GET, with this header or none.
async fn get<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, path: &str, header: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that just closes the connection has answered all the same.
    _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn an_address_that_is_taken_or_open_to_all_is_refused() {
    let fixture = Fixture::start(CONTENT);
    let other = tempfile::tempdir().unwrap();
    let path = manifest(other.path(), CONTENT);
    let taken = api(fixture.directory.path()).trim_start_matches("http://").to_owned();
    let refusal = Launch::manifest(&path).admin(&taken).refused(other.path());
    assert!(refusal.contains(&format!("{taken} is in use")) && refusal.contains("--admin"), "{refusal}");
    for open in ["0.0.0.0:0", "[::]:0"] {
        let refusal = Launch::manifest(&path).admin(open).refused(other.path());
        for part in [open, "without TLS", "--tls-cert", "--tls-key", "loopback"] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
        assert!(!other.path().join("admin.json").exists());
    }
}

#[tokio::test]
async fn other_machines_reach_it_by_https_and_with_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    let trusted = certify(state);
    let file = |name: &str| state.join(name).to_str().unwrap().to_owned();
    let launch = Launch::manifest(&manifest(state, CONTENT)).admin("0.0.0.0:0");
    let launch = ["--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")]
        .iter()
        .fold(launch, |launch, argument| launch.argument(argument));
    let server = launch.start(state);
    let line = server.output.line_with(&["Administration at https://0.0.0.0:"]);
    let port = line.split("0.0.0.0:").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
    let address = format!("127.0.0.1:{port}");
    let (good, bad) = (token(state), "x".repeat(64));
    for (path, token, wanted) in [
        ("/v1/components", Some(&good), "200"),
        ("/v1/components", Some(&bad), "401"),
        ("/v1/components", None, "401"),
        // Only this machine reads them without.
        ("/metrics", None, "401"),
        ("/metrics", Some(&good), "200"),
    ] {
        let stream = connect(&address, &trusted, "http/1.1").await.expect("a handshake");
        let header = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let answer = get(stream, path, &header).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {wanted}")), "{path} {token:?}: {answer}");
    }
    let answer = get(TcpStream::connect(&address).await.unwrap(), "/v1/components", "").await;
    assert!(!answer.contains("probe"), "not without TLS: {answer}");
    // The verbs need to trust no certificate: they have a loopback port of their own.
    assert_ne!(api(state), format!("http://{address}"));
    assert!(api(state).starts_with("http://127.0.0.1:"));
    assert_eq!(json(state, &["ps"])["components"][0]["id"], "probe");
}

#[test]
fn without_a_named_address_it_gives_way() {
    // If this fails, somebody else has it, which is as good.
    let _taken = TcpListener::bind("127.0.0.1:3001");
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    let server = Launch::manifest(&manifest(state, CONTENT)).default_admin().start(state);
    server.log.line_with(&["127.0.0.1:3001 is in use, so the administration is at", &api(state)]);
    assert_ne!(api(state), "http://127.0.0.1:3001");
    assert_eq!(json(state, &["ps"])["components"][0]["id"], "probe");
}
