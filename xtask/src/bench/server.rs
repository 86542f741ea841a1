//! A server under measurement: started on a free port, stopped at the end.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command;
use crate::workspace::Workspace;

/// A running server.
pub(super) struct Server {
    child: Child,
    pub(super) url: String,
    state: Option<TempDir>,
}

impl Server {
    /// Starts the application with fresh state below `target`, on the disk that a user's would be on.
    pub(super) fn tessera(workspace: &Workspace) -> Result<Self> {
        Self::on(workspace, TempDir::new_in(workspace.path("target"))?)
    }

    /// The same, on one core.
    pub(super) fn tessera_on_one_core(workspace: &Workspace) -> Result<Self> {
        let mut command = workspace.command("taskset");
        command.args(["--cpu-list", "0"]).arg(workspace.binary());
        Self::running(command, TempDir::new_in(workspace.path("target"))?)
    }

    /// Starts the application again on the state that it has left.
    pub(super) fn again(mut self, workspace: &Workspace) -> Result<Self> {
        let state = self.state.take().context("the server has no state")?;
        drop(self);
        Self::on(workspace, state)
    }

    fn on(workspace: &Workspace, state: TempDir) -> Result<Self> {
        Self::running(workspace.command(workspace.binary()), state)
    }

    fn running(mut command: Command, state: TempDir) -> Result<Self> {
        command.args(["up", "--quiet", "--listen", "127.0.0.1:0", "--state-dir"]).arg(state.path());
        let mut server = Self::start(command)?;
        server.state = Some(state);
        Ok(server)
    }

    /// Starts some application with its state and its log beside its manifest, in `directory`.
    pub(super) fn of(workspace: &Workspace, manifest: &Path, directory: TempDir) -> Result<Self> {
        let mut command = workspace.command(workspace.binary());
        command.args(["up", "--quiet", "--listen", "127.0.0.1:0", "--from"]).arg(manifest);
        command.arg("--state-dir").arg(directory.path());
        let log = directory.path().join("log");
        command.stderr(File::create(&log)?);
        let server = Self::start(command);
        let mut server = server.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        server.state = Some(directory);
        Ok(server)
    }

    /// Starts a server that prints `Serving URL` first.
    pub(super) fn start(mut command: Command) -> Result<Self> {
        command::echo(&command);
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| command::shown(&command))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let Some(url) = line.trim().strip_prefix("Serving ") else {
            bail!("`{}` did not start", command::shown(&command));
        };
        Ok(Self { url: url.to_owned(), child, state: None })
    }

    /// The URL of its administration, and the token for it.
    pub(super) fn administration(&self) -> Result<(String, String)> {
        let state = self.state.as_ref().context("the server has no state")?;
        let address: Value = serde_json::from_slice(&std::fs::read(state.path().join("admin.json"))?)?;
        let url = address.get("url").and_then(Value::as_str).context("no URL")?.to_owned();
        Ok((url, std::fs::read_to_string(state.path().join("admin.token"))?.trim().to_owned()))
    }

    /// What the process has in memory, in MiB.
    pub(super) fn memory(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    /// A new user's token.
    pub(super) fn user(&self) -> Result<String> {
        let user = json!({ "email": "bench@example.org", "password": "correct horse" });
        ureq::post(format!("{}/registration", self.url)).send_json(user)?;
        let credentials = "Basic YmVuY2hAZXhhbXBsZS5vcmc6Y29ycmVjdCBob3JzZQ==";
        let login = ureq::post(format!("{}/login", self.url)).header("Authorization", credentials);
        Ok(login.send_empty()?.body_mut().read_to_string()?)
    }

    /// Uploads a body of sound, and answers the job's id.
    pub(super) fn upload(&self, token: &str, body: impl ureq::AsSendBody) -> Result<String> {
        let mut answer = ureq::post(format!("{}/upload?filename=bench.m4a", self.url))
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", "audio/mp4")
            .send(body)?;
        let answer: Value = answer.body_mut().read_json()?;
        Ok(answer.get("id").and_then(Value::as_str).context("no id")?.to_owned())
    }

    /// Waits by a job's events until it is done or failed, and answers which.
    pub(super) fn finished(&self, token: &str, id: &str) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(600);
        while Instant::now() < deadline {
            let events = ureq::get(format!("{}/jobs/{id}/events", self.url));
            let events = events.header("Authorization", format!("Bearer {token}")).call()?;
            // A stream may end before its job does, as it does for a browser, which then asks again.
            for line in BufReader::new(events.into_body().into_reader()).lines().map_while(Result::ok) {
                if let Some(status @ ("done" | "failed")) = line.strip_prefix("event: ") {
                    return Ok(status.to_owned());
                }
            }
        }
        bail!("the job did not end within 10 minutes")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
