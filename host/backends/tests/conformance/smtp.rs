//! SMTP: the suite against a real server, over STARTTLS with a login, and the other ways to
//! connect.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::KeyPair;
use secrecy::SecretString;
use serde::Deserialize;
use tempfile::TempDir;
use tessera_backends::embedded;
use tessera_backends::smtp::{Config, Sender, Tls, check};
use tessera_capability::conformance::mail::{Delivered, Refuses, Service};
use tessera_capability::mail::Sender as _;
use tessera_capability::time::SystemClock;
use tessera_capability::{Error, kv, mail};

use super::authority::Authority;
use super::maildir::message;

const USER: &str = "application";
const PASSWORD: &str = "correct horse battery staple";

/// A Python that has aiosmtpd: `TESSERA_TEST_PYTHON`, the virtual environment of `cargo xtask
/// test`, or the system's.
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let candidates = [
        env::var_os("TESSERA_TEST_PYTHON").map(PathBuf::from),
        Some(root.join("target/test-venv/bin/python")),
        Some(PathBuf::from("python3")),
    ];
    let found = candidates.into_iter().flatten().find(|python| {
        let import = Command::new(python).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        let hint = "no Python with aiosmtpd: run `cargo xtask test`, or set TESSERA_TEST_PYTHON";
        assert!(env::var("REQUIRE_SERVICES").as_deref() != Ok("1"), "{hint}");
        eprintln!("SKIPPED: {hint}");
    }
    found
}

/// A running server; it ends with this.
struct Server {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its standard input closes with it, should this fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message as the server writes it down.
#[derive(Deserialize)]
struct Taken {
    recipients: Vec<String>,
    encrypted: bool,
    authenticated: bool,
    raw: String,
}

impl Server {
    fn start(tls: Tls, login: bool) -> Option<Self> {
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self::start_as(&certificate.cert.pem(), &certificate.signing_key, tls, login)
    }

    /// One that shows this certificate.
    fn start_as(certificate: &str, key: &KeyPair, tls: Tls, login: bool) -> Option<Self> {
        let python = python()?;
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("cert.pem"), certificate).unwrap();
        fs::write(directory.path().join("key.pem"), key.serialize_pem()).unwrap();
        let mut command = Command::new(python);
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/smtp_server.py"))
            .arg("--directory")
            .arg(directory.path())
            .args([
                "--tls",
                match tls {
                    Tls::StartTls => "starttls",
                    Tls::Tls => "tls",
                    Tls::None => "none",
                },
            ])
            .arg("--certificate")
            .arg(directory.path().join("cert.pem"))
            .arg("--key")
            .arg(directory.path().join("key.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if login {
            command.args(["--user", USER, "--password", PASSWORD]);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the server says its port");
        Some(Self { child, port, directory })
    }

    fn config(&self, tls: Tls, login: bool) -> Config {
        Config {
            host: "localhost".into(),
            port: self.port,
            tls,
            credentials: login.then(|| (USER.to_owned(), SecretString::from(PASSWORD))),
            from: "Application <app@example.org>".into(),
            timeout: Duration::from_secs(20),
            root_certificates: Some(self.directory.path().join("cert.pem")),
        }
    }

    fn taken(&self) -> Vec<Taken> {
        fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
            .collect()
    }
}

struct Smtp {
    server: Server,
    store: Arc<dyn kv::Store>,
    sender: Arc<Sender>,
}

fn connect(config: &Config, store: &Arc<dyn kv::Store>) -> Arc<Sender> {
    Arc::new(Sender::connect(config, Arc::clone(store), Arc::new(SystemClock)).unwrap())
}

fn store(dir: &Path) -> Arc<dyn kv::Store> {
    embedded::Engine::open(dir, Arc::new(SystemClock)).unwrap().store("host")
}

#[async_trait]
impl Service for Smtp {
    fn sender(&self) -> Arc<dyn mail::Sender> {
        self.sender.clone()
    }

    async fn delivered(&self) -> Vec<Delivered> {
        let decode =
            |taken: Taken| Delivered { recipients: taken.recipients, raw: BASE64_STANDARD.decode(taken.raw).unwrap() };
        self.server.taken().into_iter().map(decode).collect()
    }

    async fn restarted(&self) -> Arc<dyn mail::Sender> {
        connect(&self.server.config(Tls::StartTls, true), &self.store)
    }

    fn refuses(&self) -> Option<Refuses> {
        Some(Refuses { permanently: "refused@example.net".into(), temporarily: "later@example.net".into() })
    }

    fn outbox(&self) -> Option<Arc<dyn mail::Outbox>> {
        None
    }
}

async fn make() -> Option<(Arc<dyn Service>, TempDir)> {
    let server = Server::start(Tls::StartTls, true)?;
    let dir = TempDir::new().unwrap();
    let store = store(dir.path());
    let sender = connect(&server.config(Tls::StartTls, true), &store);
    Some((Arc::new(Smtp { server, store, sender }), dir))
}

tessera_capability::mail_suite!(make);

#[tokio::test]
async fn a_connection_is_as_safe_as_configured() {
    for (tls, login) in
        [(Tls::None, false), (Tls::None, true), (Tls::StartTls, false), (Tls::Tls, false), (Tls::Tls, true)]
    {
        let Some(server) = Server::start(tls, login) else { return };
        let dir = TempDir::new().unwrap();
        let sender = connect(&server.config(tls, login), &store(dir.path()));
        sender.send("component", message(None)).await.unwrap();
        let taken = server.taken().pop().unwrap();
        assert_eq!((taken.encrypted, taken.authenticated), (tls != Tls::None, login), "{tls:?}");
    }
}

#[tokio::test]
async fn an_unknown_certificate_is_not_trusted() {
    for tls in [Tls::StartTls, Tls::Tls] {
        let Some(server) = Server::start(tls, true) else { return };
        let dir = TempDir::new().unwrap();
        let config = Config { root_certificates: None, ..server.config(tls, true) };
        let error = connect(&config, &store(dir.path())).send("component", message(None)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("not trusted") && said.contains("ca_file"), "{tls:?}: {said}");
        assert!(server.taken().is_empty());
    }
}

#[tokio::test]
async fn a_private_authority_vouches_for_its_servers_by_name() {
    let (ours, other) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.sign("localhost");
    for tls in [Tls::StartTls, Tls::Tls] {
        let Some(server) = Server::start_as(&certificate, &key, tls, true) else { return };
        let dir = TempDir::new().unwrap();
        let store = store(dir.path());
        let file = dir.path().join("ca.pem");
        for (authorities, host, fault) in [
            (ours.pem(), "localhost", None),
            // A file may hold several.
            (other.pem() + &ours.pem(), "localhost", None),
            (other.pem(), "localhost", Some("not trusted")),
            // The same server by a name that its certificate does not have.
            (ours.pem(), "127.0.0.1", Some("not for the name")),
        ] {
            fs::write(&file, &authorities).unwrap();
            let config =
                Config { host: host.into(), root_certificates: Some(file.clone()), ..server.config(tls, true) };
            let before = server.taken().len();
            let sent = connect(&config, &store).send("component", message(None)).await;
            let taken = server.taken();
            let Some(fault) = fault else {
                sent.unwrap();
                assert_eq!(taken.len(), before + 1, "{tls:?} {host}");
                assert!(taken.iter().all(|taken| taken.encrypted && taken.authenticated), "{tls:?} {host}");
                continue;
            };
            let error = sent.unwrap_err();
            assert!(matches!(error, Error::Unavailable { .. }), "{tls:?} {host}: {error:?}");
            assert!(error.to_string().contains(fault), "{tls:?} {host}: {error}");
            assert_eq!(taken.len(), before, "{tls:?} {host}");
        }
    }
}

/// What a look at a server finds wrong, and it sends nothing.
#[tokio::test]
async fn whatever_is_wrong_is_said_with_what_to_do() {
    let patience = Duration::from_secs(2);
    let start = |tls| Some((tls, Server::start(tls, tls != Tls::None)?));
    let Some(servers) = [Tls::StartTls, Tls::Tls, Tls::None].into_iter().map(start).collect::<Option<Vec<_>>>() else {
        return;
    };
    let secret = "a wrong password";
    for (tls, server) in &servers {
        let good = server.config(*tls, *tls != Tls::None);
        assert_eq!(check(&good, patience).await, Ok(()), "{tls:?}");
        let mut wrong = Vec::new();
        for other in [Tls::StartTls, Tls::Tls, Tls::None].into_iter().filter(|other| other != tls) {
            wrong.push((Config { tls: other, ..good.clone() }, "tls"));
        }
        if *tls != Tls::None {
            wrong.push((Config { root_certificates: None, ..good.clone() }, "ca_file"));
            wrong.push((Config { host: "127.0.0.1".into(), ..good.clone() }, "name"));
            let credentials = Some((USER.to_owned(), SecretString::from(secret)));
            wrong.push((Config { credentials, ..good.clone() }, "password"));
        }
        for (config, word) in wrong {
            let trouble = check(&config, patience).await.unwrap_err();
            assert!(trouble.fix.contains(word), "{tls:?} as {:?}: {trouble:?}", config.tls);
            assert!(!format!("{trouble:?}").contains(secret));
        }
        assert!(server.taken().is_empty());
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_nothing() {
    let Some(server) = Server::start(Tls::None, false) else { return };
    let dir = TempDir::new().unwrap();
    let sender = connect(&server.config(Tls::StartTls, false), &store(dir.path()));
    let error = sender.send("component", message(None)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(server.taken().is_empty());
}

#[tokio::test]
async fn wrong_credentials_are_the_hosts_fault_and_stay_secret() {
    let Some(server) = Server::start(Tls::StartTls, true) else { return };
    let dir = TempDir::new().unwrap();
    let secret = "a wrong password";
    let config = Config {
        credentials: Some((USER.to_owned(), SecretString::from(secret))),
        ..server.config(Tls::StartTls, true)
    };
    assert!(!format!("{config:?}").contains(secret));
    let error = connect(&config, &store(dir.path())).send("component", message(None)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let told = BASE64_STANDARD.encode(format!("\0{USER}\0{secret}"));
    assert!(![secret, told.as_str()].iter().any(|word| format!("{error:?} {error}").contains(word)), "{error:?}");
}

#[tokio::test]
async fn a_server_out_of_reach_is_unavailable_and_the_key_stays_free() {
    let Some(server) = Server::start(Tls::StartTls, true) else { return };
    let dir = TempDir::new().unwrap();
    let store = store(dir.path());
    // A port that nobody listens on: it was ours a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = Config { port: free, ..server.config(Tls::StartTls, true) };
    let error = connect(&config, &store).send("component", message(Some("key"))).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let sender = connect(&server.config(Tls::StartTls, true), &store);
    assert!(sender.send("component", message(Some("key"))).await.unwrap().sent);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_make_a_second_message() {
    let Some(server) = Server::start(Tls::StartTls, true) else { return };
    let dir = TempDir::new().unwrap();
    let sender = connect(&server.config(Tls::StartTls, true), &store(dir.path()));
    for pause in [0, 1, 3, 10, 30] {
        let key = format!("key {pause}");
        let call = sender.send("component", message(Some(&key)));
        // Dropped wherever it is by then.
        let _ = tokio::time::timeout(Duration::from_millis(pause), call).await;
        sender.send("component", message(Some(&key))).await.unwrap();
    }
    assert_eq!(server.taken().len(), 5);
}
