//! The engines that an application's labels stand for. Each is opened once, and only if something
//! uses it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use secrecy::ExposeSecret as _;
use tessera_backends::{embedded, files, maildir, redis, smtp, sqlite};
use tessera_capability::outbox::Outbox;
use tessera_capability::queue::Broker;
use tessera_capability::time::{Clock, SystemClock};
use tessera_capability::{blob, kv, mail, sql};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, MailEngine};
use crate::manifest::Manifest;

/// How often publications that could not be passed on are tried again.
const RELAY: Duration = Duration::from_secs(2);

/// The label, impossible in a manifest, under which SMTP remembers what it has sent.
const SENT: &str = "@mail";

/// Every engine that the application uses.
pub(crate) struct Engines {
    stores: HashMap<String, Arc<dyn kv::Store>>,
    databases: HashMap<String, Arc<dyn sql::Database>>,
    blobs: HashMap<String, Arc<dyn blob::Store>>,
    broker: Arc<dyn Broker>,
    mail: Arc<dyn mail::Sender>,
    outbox: Option<Arc<dyn mail::Outbox>>,
    /// Where mail goes, for people.
    pub(crate) mail_to: String,
    /// What the operator says about outgoing connections.
    pub(crate) network: config::Network,
    process: Arc<Process>,
}

/// URL, certificates to trust, and what is shown to the server.
type RedisServer = (String, Option<PathBuf>, Option<(PathBuf, PathBuf)>);

/// What is open in this process, whatever the manifest and the configuration become.
struct Process {
    opened: tokio::sync::Mutex<Opened>,
    /// By label. Those of labels that are no longer used stay: messages may wait there.
    relays: std::sync::Mutex<BTreeMap<String, Arc<Outbox>>>,
}

impl Engines {
    /// Opens what `manifest` uses, as `config` says, with embedded state under `dir`.
    ///
    /// # Errors
    /// Names the engine that cannot be opened.
    pub(crate) async fn open(manifest: &Manifest, config: &Config, dir: &Path) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let opened = Opened {
            dir: dir.to_owned(),
            namespace: manifest.name.clone(),
            clock,
            embedded: HashMap::new(),
            files: HashMap::new(),
            redis: HashMap::new(),
            outbox: None,
        };
        let process = Process { opened: tokio::sync::Mutex::new(opened), relays: std::sync::Mutex::default() };
        Self::bind(Arc::new(process), manifest, config, None, true).await
    }

    /// The engines of the same application as `manifest` and `config` are now. What has the same
    /// label stays as it is, and so do the queues; mail is set up anew if `new_mail`.
    ///
    /// # Errors
    /// Names the engine that cannot be opened.
    pub(crate) async fn again(&self, manifest: &Manifest, config: &Config, new_mail: bool) -> Result<Self> {
        Self::bind(Arc::clone(&self.process), manifest, config, Some(self), new_mail).await
    }

    async fn bind(
        process: Arc<Process>,
        manifest: &Manifest,
        config: &Config,
        before: Option<&Self>,
        new_mail: bool,
    ) -> Result<Self> {
        let mut opened = process.opened.lock().await;
        let components = manifest.components.values();
        let labels: BTreeSet<&String> = components.clone().flat_map(|component| &component.key_value_stores).collect();
        let blob_labels: BTreeSet<&String> = components.flat_map(|component| component.blob_stores.keys()).collect();

        let broker = match (&config.queue, before) {
            (_, Some(before)) => before.broker(),
            (config::Queue::Embedded, None) => opened.embedded(None).await?.broker(),
            (config::Queue::Redis(redis), None) => opened.redis(redis).await?.broker(),
        };
        let mut stores = HashMap::new();
        for label in labels {
            if let Some(store) = before.and_then(|before| before.stores.get(label)) {
                stores.insert(label.clone(), Arc::clone(store));
                continue;
            }
            let store = opened.store(label, config).await?;
            // The embedded store and the embedded queues share transactions; everything else
            // publishes through an outbox in the store.
            let shared = matches!(config.key_value(label), config::KeyValue::Embedded { path: None })
                && matches!(config.queue, config::Queue::Embedded);
            let store = if shared && store.capabilities().publish {
                store
            } else {
                let outbox = Arc::new(Outbox::new(store, Arc::clone(&broker), Arc::clone(&opened.clock)));
                process.relays().insert(label.clone(), Arc::clone(&outbox));
                outbox
            };
            stores.insert(label.clone(), store);
        }
        let mut blobs = HashMap::new();
        for label in blob_labels {
            if let Some(store) = before.and_then(|before| before.blobs.get(label)) {
                blobs.insert(label.clone(), Arc::clone(store));
                continue;
            }
            let config::Blob::Embedded { path } = config.blob(label);
            let path = path.unwrap_or_else(|| opened.dir.join("blobs"));
            blobs.insert(label.clone(), opened.files(path).await?.store(label));
        }
        let mut databases: HashMap<_, Arc<dyn sql::Database>> = HashMap::new();
        for label in manifest.components.values().flat_map(|component| &component.sqlite_databases) {
            if let Some(database) = before.and_then(|before| before.databases.get(label)) {
                databases.insert(label.clone(), Arc::clone(database));
            } else if !databases.contains_key(label) {
                databases.insert(label.clone(), Arc::new(opened.database(label, config).await?));
            }
        }
        let (mail, outbox, mail_to) = match before {
            Some(before) if !new_mail => (before.mail(), before.outbox.clone(), before.mail_to.clone()),
            _ => opened.mail(config).await?,
        };
        drop(opened);
        let network = config.network.clone();
        Ok(Self { stores, databases, blobs, broker, mail, outbox, mail_to, network, process })
    }

    pub(crate) fn key_value(&self, label: &str) -> Result<Arc<dyn kv::Store>> {
        self.stores.get(label).cloned().context("every label of the manifest was opened")
    }

    pub(crate) fn database(&self, label: &str) -> Result<Arc<dyn sql::Database>> {
        self.databases.get(label).cloned().context("every label of the manifest was opened")
    }

    /// The way to Redis servers, for one component: none shares connections with another.
    pub(crate) fn redis_client(&self) -> Arc<dyn tessera_capability::redis::Client> {
        Arc::new(redis::Client::new())
    }

    pub(crate) fn blob(&self, label: &str) -> Result<Arc<dyn blob::Store>> {
        self.blobs.get(label).cloned().context("every label of the manifest was opened")
    }

    pub(crate) fn broker(&self) -> Arc<dyn Broker> {
        Arc::clone(&self.broker)
    }

    pub(crate) fn mail(&self) -> Arc<dyn mail::Sender> {
        Arc::clone(&self.mail)
    }

    /// Where mail is kept for people to look at, if it is.
    pub(crate) fn outbox(&self) -> Option<Arc<dyn mail::Outbox>> {
        self.outbox.clone()
    }

    /// Passes on, until `shutdown`, what commits have published but could not pass on themselves.
    pub(crate) async fn relay(&self, shutdown: CancellationToken) {
        loop {
            let relays: Vec<_> = self.process.relays().values().cloned().collect();
            for outbox in relays {
                if let Err(error) = outbox.relay().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "published messages wait in the store");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RELAY) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}

impl Process {
    fn relays(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Outbox>>> {
        self.relays.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What sends mail, what keeps it, and where it goes, for people.
type Post = (Arc<dyn mail::Sender>, Option<Arc<dyn mail::Outbox>>, String);

/// The engines opened so far.
struct Opened {
    dir: PathBuf,
    namespace: String,
    clock: Arc<dyn Clock>,
    embedded: HashMap<PathBuf, embedded::Engine>,
    files: HashMap<PathBuf, files::Engine>,
    redis: HashMap<RedisServer, redis::Engine>,
    /// Open for one process at a time, so it stays open when mail goes elsewhere.
    outbox: Option<Arc<maildir::Outbox>>,
}

impl Opened {
    /// The embedded engine in a directory; without one that of the state directory, which has the
    /// queues too.
    async fn embedded(&mut self, dir: Option<PathBuf>) -> Result<&embedded::Engine> {
        let dir = dir.unwrap_or_else(|| self.dir.join("data"));
        if !self.embedded.contains_key(&dir) {
            let (path, clock) = (dir.clone(), Arc::clone(&self.clock));
            let engine = tokio::task::spawn_blocking(move || embedded::Engine::open(&path, clock)).await?;
            let engine = engine.with_context(|| format!("open the embedded engine in {}", dir.display()))?;
            self.embedded.insert(dir.clone(), engine);
        }
        self.embedded.get(&dir).context("it was just opened")
    }

    async fn files(&mut self, dir: PathBuf) -> Result<&files::Engine> {
        if !self.files.contains_key(&dir) {
            let (path, clock) = (dir.clone(), Arc::clone(&self.clock));
            let engine = tokio::task::spawn_blocking(move || files::Engine::open(&path, clock)).await?;
            let engine = engine.with_context(|| format!("open the blob directory {}", dir.display()))?;
            self.files.insert(dir.clone(), engine);
        }
        self.files.get(&dir).context("it was just opened")
    }

    async fn database(&mut self, label: &str, config: &Config) -> Result<sqlite::Database> {
        let file = config.sqlite(label).path.unwrap_or_else(|| self.dir.join("sqlite").join(format!("{label}.db")));
        let shown = file.display().to_string();
        let database = tokio::task::spawn_blocking(move || sqlite::Database::open(&file)).await?;
        database.with_context(|| format!("open the SQLite database `{label}` in {shown}"))
    }

    async fn redis(&mut self, server: &config::Redis) -> Result<&redis::Engine> {
        let key = (server.url.expose_secret().to_owned(), server.root_certificates.clone(), server.identity.clone());
        if !self.redis.contains_key(&key) {
            let engine = redis::Engine::connect(&redis_config(server), &self.namespace).await;
            self.redis.insert(key.clone(), engine.context("connect to Redis")?);
        }
        self.redis.get(&key).context("it was just connected")
    }

    async fn store(&mut self, label: &str, config: &Config) -> Result<Arc<dyn kv::Store>> {
        match &config.key_value(label) {
            config::KeyValue::Embedded { path } => Ok(self.embedded(path.clone()).await?.store(label)),
            config::KeyValue::Redis(redis) => Ok(self.redis(redis).await?.store(label)),
        }
    }

    async fn mail(&mut self, config: &Config) -> Result<Post> {
        let from = &config.mail.from;
        match &config.mail.engine {
            MailEngine::Outbox => {
                let dir = self.dir.join("mail");
                let outbox = match &self.outbox {
                    Some(outbox) => outbox.with_sender(from),
                    None => maildir::Outbox::open(&dir, from, Arc::clone(&self.clock)),
                };
                let outbox = Arc::new(outbox.context("open the outbox for mail")?);
                self.outbox = Some(Arc::clone(&outbox));
                Ok((Arc::<maildir::Outbox>::clone(&outbox), Some(outbox), format!("the outbox {}", dir.display())))
            }
            MailEngine::Smtp(server) => {
                let to = format!("{}:{} by SMTP", server.host, server.port);
                let sent = self.embedded(None).await?.store(SENT);
                let sender = smtp::Sender::connect(&smtp_config(server, from), sent, Arc::clone(&self.clock))
                    .context("set up SMTP")?;
                Ok((Arc::new(sender), None, to))
            }
        }
    }
}

pub(super) fn redis_config(server: &config::Redis) -> redis::Config {
    let config::Redis { url, root_certificates, identity } = server.clone();
    redis::Config { url, root_certificates, identity }
}

pub(super) fn smtp_config(server: &config::Smtp, from: &str) -> smtp::Config {
    smtp::Config {
        host: server.host.clone(),
        port: server.port,
        tls: match server.tls {
            config::Tls::StartTls => smtp::Tls::StartTls,
            config::Tls::Tls => smtp::Tls::Tls,
            config::Tls::None => smtp::Tls::None,
        },
        credentials: server.credentials.clone(),
        from: from.to_owned(),
        timeout: server.timeout,
        root_certificates: server.root_certificates.clone(),
    }
}
