//! `tessera up` as a process of its own, on a free port, with state in a temporary directory.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{DEADLINE, workspace};

/// The first admin of every application that a test starts.
pub(crate) const ADMIN: (&str, &str) = ("admin@example.org", "an admin's passphrase");

/// Compiling all components for the first time takes this long at most.
const START: Duration = Duration::from_secs(300);

/// How to start a server.
pub(crate) struct Launch {
    manifest: PathBuf,
    listen: String,
    admin: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    working_directory: Option<PathBuf>,
    own_cache: bool,
    verb: &'static str,
}

impl Launch {
    /// The application of this workspace.
    pub(crate) fn application() -> Self {
        let (email, password) = ADMIN;
        Self::manifest(&workspace("spin.toml")).variable("admin_email", email).variable("admin_password", password)
    }

    /// Some application.
    pub(crate) fn manifest(path: &Path) -> Self {
        let free = || "127.0.0.1:0".to_owned();
        Self {
            manifest: path.to_owned(),
            listen: free(),
            admin: Some(free()),
            arguments: Vec::new(),
            environment: Vec::new(),
            working_directory: None,
            own_cache: false,
            verb: "up",
        }
    }

    /// Gives one of the application's variables a value.
    pub(crate) fn variable(self, name: &str, value: &str) -> Self {
        self.argument("--variable").argument(&format!("{name}={value}"))
    }

    /// One more argument.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Sets an environment variable.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where the process runs.
    pub(crate) fn working_directory(mut self, directory: &Path) -> Self {
        self.working_directory = Some(directory.to_owned());
        self
    }

    /// Another address than a free port.
    pub(crate) fn listen(mut self, address: &str) -> Self {
        self.listen = address.to_owned();
        self
    }

    /// Another address of the administration than a free port.
    pub(crate) fn admin(mut self, address: &str) -> Self {
        self.admin = Some(address.to_owned());
        self
    }

    /// Leaves the address of the administration to the program.
    pub(crate) fn default_admin(mut self) -> Self {
        self.admin = None;
        self
    }

    /// Keeps compiled components in the state directory, instead of sharing them with all tests.
    pub(crate) fn with_own_cache(mut self) -> Self {
        self.own_cache = true;
        self
    }

    /// By `tessera watch` instead of `tessera up`.
    pub(crate) fn watching(mut self) -> Self {
        self.verb = "watch";
        self
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self, state: &Path) -> Server {
        self.try_start(state).unwrap_or_else(|output| panic!("the server did not start:\n{output}"))
    }

    /// Starts it, expecting that it refuses to; answers what it wrote to stderr.
    pub(crate) fn refused(self, state: &Path) -> String {
        match self.try_start(state) {
            Ok(server) => panic!("it started: {}", server.url),
            Err(output) => output,
        }
    }

    fn try_start(self, state: &Path) -> Result<Server, String> {
        // One at a time: what the first compiles, the others find in the cache.
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = lock(&STARTING);
        if !self.own_cache {
            share_cache(state);
        }
        let mut child = Command::new(binary())
            .args([self.verb, "--listen", &self.listen, "--from"])
            .arg(&self.manifest)
            .args(self.admin.iter().flat_map(|address| ["--admin", address]))
            .arg("--state-dir")
            .arg(state)
            .args(&self.arguments)
            .env("NO_COLOR", "1")
            .env("TESSERA_LOG_FORMAT", "text")
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.working_directory.as_deref().unwrap_or(Path::new(".")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tessera starts");
        let output = Lines::follow(child.stdout.take().expect("stdout is piped"));
        let log = Lines::follow(child.stderr.take().expect("stderr is piped"));
        match output.wait(START, |line| line.starts_with("Serving http")) {
            Found::Line(line) => {
                let url = line.trim_start_matches("Serving ").to_owned();
                Ok(Server { child, url, output, log })
            }
            Found::End => {
                child.wait().expect("it ended");
                log.wait(DEADLINE, |_| false);
                Err(log.text())
            }
            Found::Nothing => {
                child.kill().expect("it can be killed");
                Err(format!("it did not serve within {START:?}\n{}", log.text()))
            }
        }
    }
}

/// The program under test.
pub(crate) fn binary() -> PathBuf {
    let path = std::env::var_os("TESSERA_BIN").map_or_else(|| workspace("target/release/tessera"), PathBuf::from);
    assert!(path.is_file(), "{} is missing: run `cargo xtask test`", path.display());
    path
}

/// Lets `state` use the cache of compiled components that all tests share.
fn share_cache(state: &Path) {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    fs::create_dir_all(&shared).expect("the cache's directory");
    let link = state.join("cache");
    if !link.exists() {
        symlink(shared, link).expect("the cache is shared");
    }
}

/// A running server. Dropping it kills it, and shows its log if the test failed.
pub(crate) struct Server {
    child: Child,
    /// Where it serves, as it said: `http://127.0.0.1:<port>`.
    pub(crate) url: String,
    /// Its stdout.
    pub(crate) output: Lines,
    /// Its stderr.
    pub(crate) log: Lines,
}

impl Server {
    /// `127.0.0.1:<port>`
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// SIGKILL, as by the out-of-memory killer or a power cut.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ended");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it can be signalled");
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Waits for its end after [`Self::terminate`].
    pub(crate) fn ended(mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(self) -> ExitStatus {
        self.terminate();
        self.ended()
    }

    /// How long it has computed so far, in hundredths of a second.
    pub(crate) fn computed(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        cpu_time(&stat).1
    }

    /// How long its threads of this name have.
    pub(crate) fn computed_by(&self, name: &str) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        // A thread may end meanwhile.
        let stats = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
        stats.filter_map(|stat| Some(cpu_time(&stat)).filter(|(of, _)| of == name)).map(|(_, time)| time).sum()
    }

    /// Bytes of memory that it occupies now.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}

/// The name in a `stat` of Linux, and the processor time, in hundredths of a second.
fn cpu_time(stat: &str) -> (String, u64) {
    let (name, fields) = stat.rsplit_once(')').expect("a name");
    let name = name.split_once('(').expect("a name").1.to_owned();
    // utime and stime.
    let fields = fields.split_whitespace().skip(11).take(2);
    (name, fields.map(|field| field.parse::<u64>().expect("a number")).sum())
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}---", self.url, self.log.text());
        }
    }
}

/// The application, running for several tests that do not disturb one another.
pub(crate) struct Shared {
    pub(crate) server: Server,
    pub(crate) state: TempDir,
}

/// The shared application; it runs as long as a test holds it.
pub(crate) fn shared() -> Arc<Shared> {
    static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
    let mut shared = lock(&SHARED);
    if let Some(running) = shared.upgrade() {
        return running;
    }
    let state = tempfile::tempdir().expect("a state directory");
    let server = Launch::application().start(state.path());
    let running = Arc::new(Shared { server, state });
    *shared = Arc::downgrade(&running);
    running
}

/// A failed test must not fail the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a process writes, line by line, while it does.
#[derive(Clone)]
pub(crate) struct Lines(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

enum Found {
    Line(String),
    End,
    Nothing,
}

impl Lines {
    fn follow(from: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let writer = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                writer.add(|written| written.lines.push(line));
            }
            writer.add(|written| written.ended = true);
        });
        lines
    }

    fn add(&self, change: impl FnOnce(&mut Written)) {
        change(&mut lock(&self.0.0));
        self.0.1.notify_all();
    }

    fn wait(&self, patience: Duration, is_it: impl Fn(&str) -> bool) -> Found {
        let start = Instant::now();
        let mut written = lock(&self.0.0);
        loop {
            if let Some(line) = written.lines.iter().find(|line| is_it(line)) {
                return Found::Line(line.clone());
            }
            if written.ended {
                return Found::End;
            }
            let Some(left) = patience.checked_sub(start.elapsed()) else { return Found::Nothing };
            (written, _) = self.0.1.wait_timeout(written, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The first line that has all of `parts`, once there is one.
    pub(crate) fn line_with(&self, parts: &[&str]) -> String {
        match self.wait(DEADLINE, |line| parts.iter().all(|part| line.contains(part))) {
            Found::Line(line) => line,
            _ => panic!("no line has {parts:?} in it:\n{}", self.text()),
        }
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        lock(&self.0.0).lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
