//! `tessera doctor`: what would keep the application from running, and how to mend it.

mod checks;
mod secrets;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstream::println;
use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::variables::Given;
use crate::{config, manifest};

/// Checks what the application needs, and says how to mend what is missing.
///
/// Ends with 1 if something is wrong; warnings alone end with 0.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    from: super::From,
    /// Where embedded engines keep their state. [default: .tessera beside the manifest]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Which engine stands behind each label.
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// The value of one of the application's variables, or a TOML or JSON file of several, as for
    /// `tessera up`. Can be given several times.
    #[arg(long = "variable", value_name = "KEY=VALUE | @FILE", value_parser = super::up::variable)]
    variables: Vec<Given>,
    /// The address that `tessera up` is to serve on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000", value_parser = super::address)]
    listen: SocketAddr,
    /// The private key of the certificate that `tessera up` is to serve with.
    #[arg(long, value_name = "FILE", env = "SPIN_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Error,
}

/// One check.
#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    status: Status,
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    fn ok(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self { check: check.into(), status: Status::Ok, message: message.into(), fix: None }
    }

    fn new(status: Status, check: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), status, message: message.into(), fix: Some(fix.into()) }
    }
}

impl Doctor {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let findings = self.examine();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&findings)?);
        } else {
            for finding in &findings {
                let mark = match finding.status {
                    Status::Ok => "ok     ",
                    Status::Warning => "warning",
                    Status::Error => "ERROR  ",
                };
                println!("{mark} {}: {}", finding.check, finding.message);
                if let Some(fix) = &finding.fix {
                    println!("        fix: {fix}");
                }
            }
        }
        let healthy = findings.iter().all(|finding| finding.status != Status::Error);
        Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn examine(&self) -> Vec<Finding> {
        let path = self.from.manifest();
        let state = super::state_dir(self.state_dir.as_deref(), &path);
        let mut findings = Vec::new();
        let loaded = match manifest::load(&path) {
            Ok(loaded) => {
                let count = loaded.manifest.components.len();
                findings.push(Finding::ok("manifest", format!("{} has {count} components", path.display())));
                Some(loaded.manifest)
            }
            Err(error) => {
                let fix = "mend the manifest, or name another with --from";
                findings.push(Finding::new(Status::Error, "manifest", error.to_string(), fix));
                None
            }
        };
        let config = match self.runtime_config_file.as_deref().map(config::load) {
            None => Some(config::Config::default()),
            Some(Ok(config)) => {
                findings.push(Finding::ok("runtime configuration", "it can be read"));
                Some(config)
            }
            Some(Err(error)) => {
                let fix = "mend the file, or name another with --runtime-config-file";
                findings.push(Finding::new(Status::Error, "runtime configuration", error.to_string(), fix));
                None
            }
        };
        if let Some(manifest) = &loaded {
            findings.extend(checks::toolchain(manifest));
            findings.extend(checks::sources(manifest));
            if let Some(config) = &config {
                let (finding, resolved) = checks::variables(manifest, config, &self.variables);
                findings.extend(finding);
                findings.extend(checks::engines(manifest, config, &resolved));
                findings.extend(checks::telemetry(config));
            }
        }
        findings.extend(checks::state(&state));
        findings.extend(self.runtime_config_file.as_deref().map(secrets::configuration).unwrap_or_default());
        findings.extend(self.tls_key.as_deref().and_then(secrets::secret));
        findings.push(checks::port(self.listen));
        findings.push(checks::clock(newest(&state, &path)));
        findings
    }
}

/// The latest time that a file of the application bears.
fn newest(state: &Path, manifest: &Path) -> Option<std::time::SystemTime> {
    let time = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    time(state).max(time(manifest))
}
