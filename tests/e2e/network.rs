//! Outgoing connections: what `allowed_outbound_hosts` grants works, over HTTP and sockets of WASI
//! 0.2 and 0.3, and addresses are checked after names are resolved.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use crate::support::fixtures::{Fixture, manifest};
use crate::support::server::Launch;

/// A server of HTTP/1.1 on a free port, and how many connections it got.
async fn serve() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while matches!(connection.read(&mut request).await, Ok(1..)) {
                    _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
                }
            });
        }
    });
    (port, connections)
}

/// The probe and the component of WASI 0.2, with these hosts granted.
fn content(hosts: &str) -> String {
    format!(
        "[[trigger.http]]\nroute = \"/new/...\"\ncomponent = \"new\"\n[[trigger.http]]\nroute = \"/old/...\"\ncomponent = \"old\"\n\
         [component.new]\nsource = \"<probe>\"\nallowed_outbound_hosts = [{hosts}]\n\
         [component.old]\nsource = \"<wasi02>\"\nallowed_outbound_hosts = [{hosts}]\n"
    )
}

async fn get(fixture: &Fixture, url: &str) -> [String; 2] {
    let new = fixture.probe(&format!("new/get/-?{url}"), "").await;
    [new, fixture.probe(&format!("old/x?get={url}"), "").await]
}

#[tokio::test]
async fn names_addresses_and_networks_are_granted() {
    let (port, _) = serve().await;
    let before = port - 1;
    for (hosts, granted) in [
        (format!("\"http://127.0.0.1:{port}\""), vec!["127.0.0.1"]),
        (format!("\"*://127.0.0.0/8:{port}\""), vec!["127.0.0.1", "127.0.0.9"]),
        (format!("\"http://localhost:{before}..65535\""), vec!["localhost"]),
        // The wildcard allows the name, and the other entry its address.
        (format!("\"*://*:*\", \"http://127.0.0.1:{port}\""), vec!["127.0.0.1", "localhost"]),
    ] {
        let fixture = Fixture::start(&content(&hosts));
        for host in ["127.0.0.1", "127.0.0.9", "localhost"] {
            for answer in get(&fixture, &format!("http://{host}:{port}/")).await {
                let refused = answer.contains("HttpRequestDenied") || answer.contains("DestinationIpProhibited");
                assert_eq!(!refused, granted.contains(&host), "{host} with {hosts}: {answer}");
                // Nobody listens at 127.0.0.9.
                assert!(refused || host == "127.0.0.9" || answer == "200 hello", "{host} with {hosts}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn a_wildcard_reaches_nothing_that_is_not_public() {
    let (port, connections) = serve().await;
    let fixture = Fixture::start(&content("\"*://*:*\""));
    // All of these lead to this machine, some only once they are resolved.
    for host in
        ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"]
    {
        for answer in get(&fixture, &format!("http://{host}:{port}/")).await {
            assert!(
                answer.contains("DestinationIpProhibited") || answer.contains("destination-IP"),
                "{host}: {answer}"
            );
        }
    }
    let line = fixture.server.log.line_with(&["denied", "http://127.1:", "127.0.0.1, which is not public", "new"]);
    assert!(line.contains("allowed_outbound_hosts"), "{line}");
    for socket in ["socket", "socket3", "udp", "udp3"] {
        let answer = fixture.probe(&format!("new/{socket}/-?127.0.0.1:{port}"), "").await;
        assert!(answer.starts_with("error:"), "{socket}: {answer}");
    }
    let answer = fixture.probe(&format!("new/socket/-?localhost:{port}"), "").await;
    assert!(answer.starts_with("error:"), "{answer}");
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_refused_request_of_wasi_02_fails_at_once() {
    let fixture = Fixture::start(&content("\"https://example.com\""));
    let answer = fixture.probe("old/x?get=http://127.0.0.1:9/", "").await;
    assert_eq!(answer, "at once: ErrorCode::HttpRequestDenied");
    fixture.server.log.line_with(&["denied", "http://127.0.0.1:9", "allowed_outbound_hosts", "old"]);
    assert_eq!(fixture.server.log.text().matches("denied: ").count(), 1, "{}", fixture.server.log.text());
}

#[tokio::test]
async fn connections_are_kept_for_the_next_request_of_the_same_component() {
    let (port, connections) = serve().await;
    let fixture = Fixture::start(&content(&format!("\"http://127.0.0.1:{port}\"")));
    for _ in 0..3 {
        assert_eq!(get(&fixture, &format!("http://127.0.0.1:{port}/")).await, ["200 hello", "200 hello"]);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2, "one for each component");
}

#[tokio::test]
async fn sockets_connect_send_and_look_up_as_granted() {
    let (port, _) = serve().await;
    let receiver = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let udp = receiver.local_addr().expect("an address").port();
    let hosts = format!("\"*://127.0.0.0/24:{port}\", \"udp://127.0.0.1:{udp}\", \"tcp://localhost:{port}\"");
    let fixture = Fixture::start(&content(&hosts));
    for (path, outcome) in [
        (format!("socket/-?127.0.0.1:{port}"), "ok"),
        (format!("socket3/-?127.0.0.1:{port}"), "ok"),
        (format!("socket/-?localhost:{port}"), "ok"),
        (format!("udp/-?127.0.0.1:{udp}"), "ok"),
        (format!("udp3/-?127.0.0.1:{udp}"), "ok"),
        ("resolve3/-?localhost".to_owned(), "ok"),
        (format!("socket/-?127.0.0.1:{udp}"), "error:"),
        (format!("socket3/-?127.0.1.1:{port}"), "error:"),
        ("resolve3/-?example.com".to_owned(), "error:"),
        (format!("listen/-?127.0.0.1:{udp}"), "error:"),
    ] {
        let answer = fixture.probe(&format!("new/{path}"), "").await;
        assert!(answer.starts_with(outcome), "{path}: {answer}");
    }
    for _ in 0..2 {
        let mut datagram = [0; 8];
        let received = tokio::time::timeout(crate::support::DEADLINE, receiver.recv(&mut datagram)).await;
        assert_eq!(received.expect("it comes").expect("it arrives"), 1);
    }
}

#[tokio::test]
async fn a_name_that_was_looked_up_is_connected_to_by_its_address() {
    let (port, _) = serve().await;
    let fixture = Fixture::start(&content(&format!("\"*://localhost:{port}\"")));
    assert_eq!(fixture.probe(&format!("new/socket/-?localhost:{port}"), "").await, "ok");
    let other = fixture.probe(&format!("new/socket/-?localhost:{}", port - 1), "").await;
    assert!(other.starts_with("error:"), "{other}");
}

#[tokio::test]
async fn the_operator_blocks_networks_whatever_is_granted() {
    let (port, connections) = serve().await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = manifest(directory.path(), &content(&format!("\"*://127.0.0.1:{port}\"")));
    for networks in ["private", "127.0.0.0/8"] {
        let config = directory.path().join("runtime-config.toml");
        std::fs::write(&config, format!("[outbound_networking]\nblock_networks = [\"{networks}\"]\n")).expect("room");
        let state = tempfile::tempdir().expect("a directory");
        let launch =
            Launch::manifest(&path).argument("--runtime-config-file").argument(config.to_str().expect("UTF-8"));
        let fixture = Fixture { server: launch.start(state.path()), directory: state };
        for answer in get(&fixture, &format!("http://127.0.0.1:{port}/")).await {
            assert!(answer.contains("DestinationIpProhibited"), "{answer}");
        }
        let answer = fixture.probe(&format!("new/socket3/-?127.0.0.1:{port}"), "").await;
        assert!(answer.contains("AccessDenied"), "{answer}");
        fixture.server.log.line_with(&["denied", "block_networks", "new"]);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}
