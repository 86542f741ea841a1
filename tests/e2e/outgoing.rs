//! Outgoing HTTPS: whom a component trusts, as whom it comes, how long it waits, and how many
//! connections it may have.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::fixtures::{Fixture, manifest};
use crate::support::operator::metric_of;
use crate::support::server::Launch;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// An authority that nobody knows.
fn authority() -> Issuer {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate by it, and its key.
fn issue(authority: &Issuer, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, authority).unwrap(), key)
}

/// An HTTPS server for `localhost` that says who came, `known` or `anybody`, and thinks so long about
/// its part of the handshake.
async fn serve(authority: &Issuer, clients: Option<&Issuer>, handshake: Duration) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = match clients {
        None => builder.unwrap().with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(verifier)
        }
    };
    let (certificate, key) = issue(authority, "localhost");
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                tokio::time::sleep(handshake).await;
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let who = if stream.get_ref().1.peer_certificates().is_some() { "known" } else { "anybody" };
                _ = stream.read(&mut [0; 4096]).await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", who.len());
                _ = stream.write_all(format!("{head}{who}").as_bytes()).await;
                _ = stream.shutdown().await;
            });
        }
    });
    port
}

/// A component of WASI 0.3 at `/new/…` and one of 0.2 at `/old/…`, with these hosts granted and this
/// runtime configuration.
fn start(hosts: &str, limits: &str, config: &str, files: &[(&str, String)]) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    std::fs::write(directory.path().join("runtime-config.toml"), config).unwrap();
    let content = format!(
        "[[trigger.http]]\nroute = \"/new/...\"\ncomponent = \"new\"\n[[trigger.http]]\nroute = \"/old/...\"\ncomponent = \"old\"\n\
         [component.new]\nsource = \"<probe>\"\nallowed_outbound_hosts = [{hosts}]\n[component.new.tool.tessera]\n{limits}\n\
         [component.old]\nsource = \"<wasi02>\"\nallowed_outbound_hosts = [{hosts}]\n"
    );
    let launch = Launch::manifest(&manifest(directory.path(), &content)).argument("--runtime-config-file");
    let launch = launch.argument(directory.path().join("runtime-config.toml").to_str().unwrap());
    Fixture { server: launch.start(directory.path()), directory }
}

#[tokio::test]
async fn an_operator_names_authorities_and_client_certificates() {
    let (servers, clients) = (authority(), authority());
    let (open, closed) =
        (serve(&servers, None, Duration::ZERO).await, serve(&servers, Some(&clients), Duration::ZERO).await);
    let (certificate, key) = issue(&clients, "shop");
    let files = [("ca.pem", servers.pem()), ("shop.pem", certificate.pem()), ("shop.key", key.serialize_pem())];
    let trust =
        "[[client_tls]]\ncomponent_ids = [\"new\", \"old\"]\nhosts = [\"localhost\"]\nca_roots_file = \"ca.pem\"\n";
    let identity = "client_cert_file = \"shop.pem\"\nclient_private_key_file = \"shop.key\"\n";
    let other = trust.replace("[\"new\", \"old\"]", "[\"somebody\"]");
    let hosts = format!("\"https://localhost:{open}\", \"https://localhost:{closed}\"");
    for (config, at_open, at_closed) in [
        (String::new(), None, None),
        (trust.to_owned(), Some("200 anybody"), None),
        (format!("{trust}{identity}"), Some("200 anybody"), Some("200 known")),
        (other, None, None),
    ] {
        let fixture = start(&hosts, "", &config, &files);
        for (port, wanted) in [(open, at_open), (closed, at_closed)] {
            let url = format!("https://localhost:{port}/");
            for path in [format!("new/get/-?{url}"), format!("old/x?get={url}")] {
                let answer = fixture.probe(&path, "").await;
                match wanted {
                    Some(wanted) => assert_eq!(answer, wanted, "{path} with {config}"),
                    None => assert!(!answer.contains("200"), "{path} with {config}: {answer}"),
                }
                if at_open.is_none() {
                    assert!(answer.to_lowercase().contains("certificate"), "{path} with {config}: {answer}");
                }
            }
        }
    }
}

/// A server that reads a request, sends `beginning` and no more.
async fn stall(beginning: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                // An answer that comes before its request is a fault of its own.
                _ = stream.read(&mut [0; 4096]).await;
                _ = stream.write_all(beginning).await;
                _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_request_waits_no_longer_than_it_says() {
    let silent = stall(b"").await;
    let half = stall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let hosts = format!("\"*://127.0.0.1:{silent}\", \"*://127.0.0.1:{half}\"");
    let fixture = start(&hosts, "", "", &[]);
    for (limit, url, new, old) in [
        // A handshake is a part of connecting.
        ("connect-300", format!("https://127.0.0.1:{silent}/"), "ConnectionTimeout", "ConnectionTimeout"),
        ("first-300", format!("http://127.0.0.1:{silent}/"), "ConnectionReadTimeout", "ConnectionReadTimeout"),
        (
            "between-300",
            format!("http://127.0.0.1:{half}/"),
            "half\": ErrorCode::ConnectionReadTimeout",
            "half and then",
        ),
    ] {
        for (path, wanted) in
            [(format!("new/get-within/{limit}?{url}"), new), (format!("old/x?within={limit}&get={url}"), old)]
        {
            let begin = Instant::now();
            let answer = fixture.probe(&path, "").await;
            assert!(answer.contains(wanted), "{path}: {answer}");
            let took = begin.elapsed();
            // Less than the 30 seconds that connecting may take if nobody says otherwise.
            assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(20), "{path}: {took:?}");
        }
    }
}

#[tokio::test]
async fn the_first_byte_is_waited_for_from_the_connection_on() {
    let servers = authority();
    let port = serve(&servers, None, Duration::from_secs(4)).await;
    let config =
        "[[client_tls]]\ncomponent_ids = [\"new\", \"old\"]\nhosts = [\"localhost\"]\nca_roots_file = \"ca.pem\"\n";
    let fixture = start(&format!("\"https://localhost:{port}\""), "", config, &[("ca.pem", servers.pem())]);
    let url = format!("https://localhost:{port}/");
    for path in [format!("new/get-within/first-3000?{url}"), format!("old/x?within=first-3000&get={url}")] {
        let begin = Instant::now();
        let answer = fixture.probe(&path, "").await;
        assert!(answer.contains("anybody"), "{path}: {answer}");
        assert!(begin.elapsed() >= Duration::from_secs(4), "{path}: {:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn sockets_count_as_connections() {
    let port = stall(b"").await;
    let hosts = format!("\"*://127.0.0.1:{port}\"");
    let places = vec![format!("127.0.0.1:{port}"); 6].join(",");
    for (limits, config, most) in [
        ("limits = { connections = 4 }", "", "4"),
        ("", "[outbound_networking]\nmax_socket_connections = 3\n", "3"),
        ("", "[outbound_networking]\nmax_total_connections = 2\n", "2"),
        ("", "[outbound_http]\nmax_connections = 0\n", "6"),
    ] {
        let fixture = start(&hosts, limits, config, &[]);
        // What was closed is free again.
        for _ in 0..3 {
            assert_eq!(fixture.probe(&format!("new/hold/-?{places}"), "").await, most, "{limits}{config}");
        }
        if most != "6" {
            let exceeded = metric_of(fixture.directory.path(), "tessera_connections_exceeded_total", "new").await;
            assert!(exceeded >= 3.0, "{exceeded} with {limits}{config}");
            fixture.server.log.line_with(&["too many connections", "limits.connections"]);
        }
    }
}
