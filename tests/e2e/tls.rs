//! HTTPS: protocols, certificates that change, the way from HTTP, and clients that cost too much.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::eventually;
use crate::support::fixtures::manifest;
use crate::support::server::{Launch, Server};

const PROBE: &str =
    "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"<probe>\"\n";

/// Writes a new certificate for `localhost` and its key, and answers whom a client has to trust.
pub(crate) fn certify(directory: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    // As tools that renew certificates do: never half a file under the name.
    for (name, text) in [("cert.pem", cert.pem()), ("key.pem", signing_key.serialize_pem())] {
        let unfinished = directory.join(format!("{name}.new"));
        fs::write(&unfinished, text).unwrap();
        fs::rename(unfinished, directory.join(name)).unwrap();
    }
    cert.der().clone()
}

fn start(directory: &TempDir, arguments: &[&str]) -> Server {
    let path = manifest(directory.path(), PROBE);
    let launch = arguments.iter().fold(Launch::manifest(&path), |launch, argument| launch.argument(argument));
    launch.start(directory.path())
}

pub(crate) async fn connect(
    address: &str,
    trusted: &CertificateDer<'static>,
    protocol: &str,
) -> Option<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
}

/// What is answered to a GET by HTTP/1.1.
async fn get<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut stream: S, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that just closes the connection has answered all the same.
    _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn https_by_http_1_and_2() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = certify(directory.path());
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let server = start(&directory, &["--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")]);
    let address = server.url.strip_prefix("https://").expect("it says that it serves HTTPS");

    let stream = connect(address, &trusted, "http/1.1").await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let answer = get(stream, "/x/uri/-").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("https://localhost/x/uri/-"), "the component sees the scheme: {answer}");

    let stream = connect(address, &trusted, "h2").await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/x/print/-").body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");

    // Without TLS nothing is answered.
    let answer = get(TcpStream::connect(address).await.unwrap(), "/x/print/-").await;
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_at_once_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let first = certify(directory.path());
    let config = directory.path().join("runtime-config.toml");
    fs::write(&config, "[tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\nredirect = \"127.0.0.1:0\"\n")
        .unwrap();
    let server = start(&directory, &["--runtime-config-file", config.to_str().unwrap()]);
    let address = server.url.strip_prefix("https://").expect("it says that it serves HTTPS").to_owned();
    assert!(connect(&address, &first, "http/1.1").await.is_some());

    let line = server.output.line_with(&["Redirecting http://"]);
    let plain: SocketAddr = line.trim_start_matches("Redirecting http://").parse().unwrap();
    let answer = get(TcpStream::connect(plain).await.unwrap(), "/a?b=c").await;
    let port = address.rsplit(':').next().unwrap();
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(answer.to_lowercase().contains(&format!("location: https://localhost:{port}/a?b=c\r\n")), "{answer}");

    let second = certify(directory.path());
    eventually("the new certificate is served", async || connect(&address, &second, "http/1.1").await).await;
    assert!(connect(&address, &first, "http/1.1").await.is_none(), "the old one is gone");

    fs::write(directory.path().join("cert.pem"), "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    server.log.line_with(&["the TLS certificate stays as it was"]);
    assert!(connect(&address, &second, "http/1.1").await.is_some());

    // Told to look, it looks.
    let third = certify(directory.path());
    server.signal(rustix::process::Signal::HUP);
    eventually("the third certificate is served", async || connect(&address, &third, "http/1.1").await).await;
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_at_start() {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path());
    let path = manifest(directory.path(), PROBE);
    let refused = |certificate: &str, key: &str| {
        let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let launch = Launch::manifest(&path).argument("--tls-cert").argument(&file(certificate));
        launch.argument("--tls-key").argument(&file(key)).refused(directory.path())
    };
    assert!(refused("nowhere.pem", "key.pem").contains("nowhere.pem"));
    assert!(refused("cert.pem", "cert.pem").contains("cert.pem"));
    fs::write(directory.path().join("empty.pem"), "").unwrap();
    assert!(refused("empty.pem", "key.pem").contains("BEGIN CERTIFICATE"));
    let other = tempfile::tempdir().unwrap();
    certify(other.path());
    fs::copy(other.path().join("key.pem"), directory.path().join("other.pem")).unwrap();
    let refusal = refused("cert.pem", "other.pem");
    assert!(refusal.contains("cannot be used together"), "{refusal}");
    let launch = Launch::manifest(&path).argument("--tls-cert").argument("cert.pem");
    assert!(launch.refused(directory.path()).contains("--tls-key"));
}
