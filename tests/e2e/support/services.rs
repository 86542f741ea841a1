//! Servers that the application can be told to use. They end with the test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tempfile::TempDir;

use super::mail::Mail;
use super::{DEADLINE, workspace};

/// Tells that a test cannot run here; fails it where everything is installed.
fn missing(what: &str) {
    let hint = format!("{what}: run `cargo xtask test`");
    assert!(std::env::var("REQUIRE_SERVICES").as_deref() != Ok("1"), "{hint}");
    eprintln!("SKIPPED: {hint}");
}

/// Ends a process with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// A Redis server, without any port.
pub(crate) struct Redis {
    _process: Process,
    directory: TempDir,
}

impl Redis {
    /// None, visibly, where there is no Redis.
    pub(crate) fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            missing("no redis-server");
            return None;
        };
        let redis = Self { _process: Process(child), directory };
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(start.elapsed() < DEADLINE, "Redis does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(redis)
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.directory.path().join("socket").display())
    }

    /// What `redis-cli` answers.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let socket = self.directory.path().join("socket");
        let output = Command::new("redis-cli").arg("-s").arg(socket).args(arguments).output().expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// A server's certificate for `localhost`, by an authority that nobody else knows; in files.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let named = |name: &str| {
            let mut parameters = CertificateParams::default();
            parameters.distinguished_name.push(DnType::CommonName, name);
            parameters
        };
        let mut authority = named("authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");
        let (mut server, key) = (named("server"), KeyPair::generate().expect("a key"));
        server.subject_alt_names = vec![SanType::DnsName("localhost".try_into().expect("a name"))];
        let certificate = server.signed_by(&key, &authority).expect("a certificate");
        for (name, text) in
            [("ca.pem", authority.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
        {
            fs::write(directory.path().join(name), text).expect("room for a file");
        }
        Self(directory)
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// The authority's own.
    pub(crate) fn ca(&self) -> String {
        self.file("ca.pem")
    }
}

/// A Redis server on a port.
pub(crate) struct TcpRedis {
    process: Option<Process>,
    directory: TempDir,
    pub(crate) port: u16,
    /// Options of a server with TLS; without them it has none.
    tls: Option<Vec<String>>,
}

impl TcpRedis {
    /// None, visibly, where there is no Redis.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// One that speaks TLS only and wants a password.
    pub(crate) fn encrypted(certificates: &Certificates, password: &str) -> Option<Self> {
        let [cert, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| certificates.file(name));
        let options = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
        let more = ["--tls-auth-clients", "no", "--requirepass", password];
        Self::start_with(Some(options.into_iter().chain(more).map(str::to_owned).collect()))
    }

    fn start_with(tls: Option<Vec<String>>) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        // Somebody else may take the port before Redis does; then another one is tried.
        for _ in 0..20 {
            let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            let port = free.expect("a free port").port();
            let own = tempfile::tempdir_in(&directory).expect("a directory");
            let mut redis = Self { process: None, directory: own, port, tls: tls.clone() };
            match redis.run() {
                None => {
                    missing("no redis-server");
                    return None;
                }
                Some(true) => {
                    redis.directory = directory;
                    return Some(redis);
                }
                Some(false) => {}
            }
        }
        panic!("Redis finds no port");
    }

    /// Whether it runs; none if there is no such program.
    fn run(&mut self) -> Option<bool> {
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        match &self.tls {
            None => command.args(["--port", &port]),
            Some(options) => command.args(["--port", "0", "--tls-port", &port]).args(options),
        };
        let mut child = command
            .args(["--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if child.try_wait().expect("it is our child").is_some() {
                return Some(false);
            }
            assert!(start.elapsed() < DEADLINE, "Redis does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = Some(Process(child));
        Some(true)
    }

    /// The same server, after it went away and came back empty.
    pub(crate) fn restarted(mut self) -> Self {
        self.process = None;
        assert_eq!(self.run(), Some(true), "Redis starts again");
        self
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What `redis-cli` answers.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// An SMTP server that keeps what it takes.
pub(crate) struct Smtp {
    _process: Process,
    pub(crate) port: u16,
    directory: TempDir,
}

impl Smtp {
    /// None, visibly, where there is no Python with aiosmtpd.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&["--tls", "none"])
    }

    /// One that wants STARTTLS and a login.
    pub(crate) fn encrypted(certificates: &Certificates, user: &str, password: &str) -> Option<Self> {
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| certificates.file(name));
        let login = ["--user", user, "--password", password];
        Self::start_with(&[&["--tls", "starttls", "--certificate", &cert, "--key", &key][..], &login].concat())
    }

    fn start_with(options: &[&str]) -> Option<Self> {
        let Some(python) = python() else {
            missing("no Python with aiosmtpd");
            return None;
        };
        let directory = tempfile::tempdir().expect("a directory");
        let mut child = Command::new(python)
            .arg(workspace("host/backends/tests/support/smtp_server.py"))
            .args(options)
            .arg("--directory")
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the SMTP server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped")).read_line(&mut line).expect("its port");
        let port = line.trim().parse().expect("the server says its port");
        Some(Self { _process: Process(child), port, directory })
    }

    /// Every mail it took.
    pub(crate) fn taken(&self) -> Vec<Mail> {
        let files = fs::read_dir(self.directory.path()).expect("the directory");
        let paths = files.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| has_extension(path, "json")).map(|path| read(&path)).collect()
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn read(path: &Path) -> Mail {
    let message: serde_json::Value = serde_json::from_slice(&fs::read(path).expect("a mail")).expect("JSON");
    let raw = BASE64_STANDARD.decode(message["raw"].as_str().expect("a string")).expect("base64");
    Mail::parse(&raw)
}

/// A Python that has aiosmtpd: `TESSERA_TEST_PYTHON`, that of `cargo xtask test`, or the system's.
fn python() -> Option<PathBuf> {
    let candidates = [
        std::env::var_os("TESSERA_TEST_PYTHON").map(PathBuf::from),
        Some(workspace("target/test-venv/bin/python")),
        Some(PathBuf::from("python3")),
    ];
    candidates.into_iter().flatten().find(|python| {
        let import = Command::new(python).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    })
}
