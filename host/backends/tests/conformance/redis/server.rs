//! A real `redis-server` for the tests, on a free port of the loopback interface and in a
//! directory of its own.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server that ends with this value, or when the test process does.
pub(super) struct Server {
    child: Child,
    watchdog: Child,
    port: u16,
    durable: bool,
    /// Options of a server with TLS; without them it has none.
    tls: Option<Vec<String>>,
    directory: TempDir,
}

/// True if there is a `redis-server`; without one the test is skipped, or fails where services are
/// required.
pub(super) fn available() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        assert!(
            std::env::var_os("REQUIRE_SERVICES").is_none_or(|value| value != "1"),
            "REQUIRE_SERVICES=1, but there is no redis-server: apt-get install redis-server"
        );
        eprintln!("SKIPPED: there is no redis-server (apt-get install redis-server)");
    }
    found
}

/// The URL of a server that all cases share.
pub(super) fn shared() -> Option<&'static str> {
    static SHARED: OnceLock<Option<(Server, String)>> = OnceLock::new();
    let server = SHARED.get_or_init(|| {
        available().then(|| {
            let server = Server::start(false);
            let url = server.url();
            (server, url)
        })
    });
    server.as_ref().map(|(_, url)| url.as_str())
}

impl Server {
    /// Starts one; with `durable` it has written to disk what it answers.
    pub(super) fn start(durable: bool) -> Self {
        Self::start_with(durable, None)
    }

    /// Starts one that speaks TLS only, with further options.
    pub(super) fn encrypted(options: Vec<String>) -> Self {
        Self::start_with(false, Some(options))
    }

    fn start_with(durable: bool, tls: Option<Vec<String>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Another process may take the port between looking and binding: then another one is tried.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = launch(port, durable, tls.as_deref(), &directory) {
                let watchdog = watch(&child, &directory);
                return Self { child, watchdog, port, durable, tls, directory };
            }
        }
        panic!("redis-server does not start: see its output above");
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash would.
    pub(super) fn kill(&mut self) {
        // The watchdog first, so that it does not end another process with the same number.
        for child in [&mut self.watchdog, &mut self.child] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port and directory.
    pub(super) fn restart(&mut self) {
        let start = Instant::now();
        loop {
            if let Some(child) = launch(self.port, self.durable, self.tls.as_deref(), &self.directory) {
                self.watchdog = watch(&child, &self.directory);
                self.child = child;
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "redis-server does not start again");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that answers on `port`; none if it ended.
fn launch(port: u16, durable: bool, tls: Option<&[String]>, directory: &TempDir) -> Option<Child> {
    let mut command = Command::new("redis-server");
    match tls {
        None => command.args(["--port", &port.to_string()]),
        Some(options) => command.args(["--port", "0", "--tls-port", &port.to_string()]).args(options),
    };
    let mut child = command
        .args(["--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"])
        .args(["--appendonly", if durable { "yes" } else { "no" }, "--appendfsync", "always", "--dir"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill().and_then(|()| child.wait());
    panic!("redis-server does not answer on port {port}");
}

/// Ends the server when the test process does, however that ends: nothing drops the shared one.
fn watch(server: &Child, directory: &TempDir) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 \"$1\"; rm -rf \"$2\"", "watchdog", &server.id().to_string()])
        .arg(directory.path())
        // Its other end closes with this process.
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}
