//! A server with TLS and a private authority: the suites over it, and what is said where it cannot be used.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tempfile::TempDir;
use tessera_backends::redis::{Config, Engine, check};
use tessera_capability::{Error, kv, queue};

use super::server::{Server, available};
use crate::authority::Authority;

const PASSWORD: &str = "s3cr3t-p4ssw0rd";
/// How long a look may take for each step. What is told by silence takes it twice.
const PATIENCE: Duration = Duration::from_secs(2);

/// A server that has a certificate for `localhost`, wants one of its clients, and a password; and files for clients.
struct Encrypted {
    server: Server,
    files: TempDir,
    /// Another server of the same kind, which asks for no certificate.
    open: Server,
    /// A directory with what the servers show.
    _shown: TempDir,
}

impl Encrypted {
    fn start() -> Self {
        let (authority, other, shown, files) =
            (Authority::new(), Authority::new(), TempDir::new().unwrap(), TempDir::new().unwrap());
        let write = |directory: &TempDir, name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (certificate, key) = authority.sign("localhost");
        let certificate = write(&shown, "server.pem", certificate);
        let key = write(&shown, "server.key", key.serialize_pem());
        let ca = write(&files, "ca.pem", authority.pem());
        write(&files, "other.pem", other.pem());
        write(&files, "text.pem", "no certificate".to_owned());
        for (name, authority) in [("client", &authority), ("stranger", &other)] {
            let (certificate, key) = authority.sign("client");
            write(&files, &format!("{name}.pem"), certificate);
            write(&files, &format!("{name}.key"), key.serialize_pem());
        }
        let options = |clients: &str| {
            let options = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
            let more = ["--tls-auth-clients", clients, "--requirepass", PASSWORD];
            options.into_iter().chain(more).map(str::to_owned).collect()
        };
        Self { server: Server::encrypted(options("yes")), open: Server::encrypted(options("no")), files, _shown: shown }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn url(&self, host: &str, password: &str) -> String {
        format!("rediss://:{password}@{host}:{}", self.server.port())
    }

    /// All that is needed.
    fn config(&self) -> Config {
        Config {
            root_certificates: Some(self.file("ca.pem")),
            identity: Some((self.file("client.pem"), self.file("client.key"))),
            ..Config::from(&*self.url("localhost", PASSWORD))
        }
    }
}

fn shared() -> Option<&'static Encrypted> {
    static SHARED: OnceLock<Option<Encrypted>> = OnceLock::new();
    SHARED.get_or_init(|| available().then(Encrypted::start)).as_ref()
}

async fn engine() -> Option<Engine> {
    let namespace = format!("test-{:016x}", rand::random::<u64>());
    Some(Engine::connect(&shared()?.config(), &namespace).await.unwrap())
}

mod kv_suite {
    async fn make() -> Option<(std::sync::Arc<dyn super::kv::Store>, ())> {
        Some((super::engine().await?.store("jobs"), ()))
    }

    tessera_capability::kv_suite!(make);
}

mod queue_suite {
    async fn make() -> Option<(std::sync::Arc<dyn super::queue::Broker>, ())> {
        Some((super::engine().await?.broker(), ()))
    }

    tessera_capability::queue_suite!(make);
}

/// What keeps a configuration from being used, as an engine says it and as a look says it.
async fn refusal(config: &Config) -> (String, String) {
    let error = Engine::connect(config, "test").await.unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    let trouble = check(config, PATIENCE).await.unwrap_err();
    let look = format!("{}: {}", trouble.what, trouble.fix);
    for text in [&text, &look, &format!("{config:?}")] {
        assert!(!text.contains(PASSWORD) && !text.contains("wrong-password"), "{text}");
    }
    (text, look)
}

#[tokio::test]
async fn whatever_is_wrong_is_said_with_what_to_do() {
    let (Some(encrypted), Some(plain)) = (shared(), super::server::shared()) else { return };
    let good = encrypted.config();
    assert_eq!(check(&good, PATIENCE).await, Ok(()));
    assert_eq!(check(&Config::from(plain), PATIENCE).await, Ok(()));
    let with = |change: &dyn Fn(&mut Config)| {
        let mut config = good.clone();
        change(&mut config);
        config
    };
    let identity = |name: &str| Some((encrypted.file(&format!("{name}.pem")), encrypted.file(&format!("{name}.key"))));
    // What both say, and what only the look says.
    for (config, both, look) in [
        (with(&|config| config.root_certificates = None), ["not trusted", "ca_file"], ""),
        (with(&|config| config.root_certificates = Some(encrypted.file("other.pem"))), ["not trusted", "ca_file"], ""),
        (
            with(&|config| config.url = encrypted.url("127.0.0.1", PASSWORD).into()),
            ["not for the name", "localhost"],
            "",
        ),
        (with(&|config| config.url = encrypted.url("localhost", "wrong-password").into()), ["password", "`url`"], ""),
        (
            with(&|config| config.url = format!("rediss://localhost:{}", encrypted.server.port()).into()),
            ["wants a password", "`url`"],
            "",
        ),
        (with(&|config| config.identity = None), ["certificate", "client_cert_file"], ""),
        (with(&|config| config.identity = identity("stranger")), ["certificate", "client_cert_file"], ""),
        (
            with(&|config| config.root_certificates = Some(encrypted.file("none.pem"))),
            ["none.pem", "cannot be read"],
            "",
        ),
        (with(&|config| config.root_certificates = Some(encrypted.file("text.pem"))), ["text.pem", "PEM"], ""),
        // The wrong kind of port.
        (with(&|config| config.url = plain.replace("redis://", "rediss://").into()), ["", ""], "redis://"),
        (Config::from(&*format!("redis://localhost:{}", encrypted.open.port())), ["", ""], "rediss://"),
    ] {
        let (engine, said) = refusal(&config).await;
        for word in both {
            assert!(engine.contains(word), "{word}: {engine}");
        }
        for word in both.into_iter().chain([look]) {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}

/// Without a certificate of its own, where the server does not ask for one.
#[tokio::test]
async fn a_private_authority_is_enough_where_the_server_asks_for_nothing() {
    let Some(encrypted) = shared() else { return };
    let url = format!("rediss://:{PASSWORD}@localhost:{}", encrypted.open.port());
    let config = Config { root_certificates: Some(encrypted.file("ca.pem")), ..Config::from(&*url) };
    assert_eq!(check(&config, PATIENCE).await, Ok(()));
    let engine = Engine::connect(&config, "test").await.unwrap();
    let key = kv::Key::new("key".to_owned()).unwrap();
    engine.store("jobs").get(&key).await.unwrap();
    let error = Engine::connect(&Config::from(&*url), "test").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let _: Arc<dyn queue::Broker> = engine.broker();
}
