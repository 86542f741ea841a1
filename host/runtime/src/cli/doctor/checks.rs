//! The checks, each by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::{Finding, Status, secrets};
use crate::cli::watch::Watched;
use crate::compose;
use crate::config::Config;
use crate::manifest::{Manifest, Resolved};
use crate::telemetry;
use crate::variables::Given;

/// Compilation from Rust needs it.
const TARGET: &str = "wasm32-wasip2";
/// Less free space than this is a fault, and less than ten times this is a warning.
const SPACE: u64 = 100 << 20;
/// An engine on the network has this long for each step.
const PATIENCE: Duration = Duration::from_secs(5);
/// A file may be this much newer than now: clocks of file servers differ a little.
const SKEW: Duration = Duration::from_secs(60);
/// The clock is not set if it says less than this: 2025-01-01.
const EPOCH: Duration = Duration::from_secs(1_735_689_600);

/// The programs that build commands begin with, and Rust's target if they use cargo.
pub(super) fn toolchain(manifest: &Manifest) -> Vec<Finding> {
    let commands = manifest.components.values().filter_map(|component| component.build.as_ref());
    let commands: Vec<_> = commands.flat_map(|build| &build.commands).collect();
    let programs: BTreeSet<&str> = commands.iter().filter_map(|command| command.split_whitespace().next()).collect();
    let mut findings = Vec::new();
    for program in programs {
        let check = format!("program {program}");
        let mut look = Command::new("/bin/sh");
        look.args(["-c", "command -v -- \"$0\"", program]).stdout(Stdio::null());
        findings.push(if look.status().is_ok_and(|status| status.success()) {
            Finding::ok(check, "found")
        } else {
            let fix = format!("install {program}, or put its directory on PATH; building needs it");
            Finding::new(Status::Warning, check, "a build command begins with it, and it is not found", fix)
        });
    }
    if commands.iter().any(|command| command.contains(TARGET)) {
        let output = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
        let directory = output.ok().filter(|output| output.status.success());
        let directory = directory.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        findings.push(if directory.is_some_and(|directory| directory.is_dir()) {
            Finding::ok(format!("target {TARGET}"), "installed")
        } else {
            let fix = format!("rustup target add {TARGET}");
            Finding::new(Status::Warning, format!("target {TARGET}"), "not installed; building needs it", fix)
        });
    }
    findings
}

/// Whether every component is built, and after the last change to what `build.watch` names.
pub(super) fn sources(manifest: &Manifest) -> Vec<Finding> {
    let watched = Watched::of(manifest, None, false);
    let newest = watched.newest();
    let components = manifest.components.iter();
    components
        .map(|(id, component)| {
            let check = format!("component {id}");
            let path = component.source.display();
            match std::fs::File::open(&component.source) {
                Err(error) => {
                    let fix = "tessera build";
                    Finding::new(Status::Error, check, format!("cannot read {path}: {error}"), fix)
                }
                Ok(mut file) => {
                    let mut magic = [0; 4];
                    if file.read_exact(&mut magic).is_err() || &magic != b"\0asm" {
                        let fix = "tessera build, or mend `source` in the manifest";
                        return Finding::new(Status::Error, check, format!("{path} is not WebAssembly"), fix);
                    }
                    let built = file.metadata().and_then(|metadata| metadata.modified()).ok();
                    match newest.get(id.as_str()) {
                        Some((changed, file)) if built.is_some_and(|built| built < *changed) => {
                            let message = format!("{path} is older than {}, which it is built from", file.display());
                            Finding::new(Status::Warning, check, message, format!("tessera build --component-id {id}"))
                        }
                        _ => Finding::ok(check, format!("{path} is built")),
                    }
                }
            }
        })
        .collect()
}

/// Whether all variables have values, for which their sources are asked, Vault too; and what the components get of them.
pub(super) fn variables(
    manifest: &Manifest,
    config: &Config,
    given: &[Given],
) -> (Option<Finding>, BTreeMap<String, Resolved>) {
    let check = "variables";
    match compose::resolve(manifest, config, given) {
        Ok(resolved) => {
            let declared = manifest.variables.len();
            (Some(Finding::ok(check, format!("each of {declared} has a value"))).filter(|_| declared > 0), resolved)
        }
        Err(error) => {
            let fix = "give the value by --variable or in the environment, or mend `[[variables_provider]]`";
            (Some(Finding::new(Status::Error, check, error.to_string(), fix)), BTreeMap::new())
        }
    }
}

/// Whether the collector of OpenTelemetry takes messages, if one is configured.
pub(super) fn telemetry(config: &Config) -> Option<Finding> {
    let settings = config.collector()?;
    let check = format!("telemetry {}", settings.endpoint);
    Some(match telemetry::check(&settings, PATIENCE) {
        Ok(()) => Finding::ok(check, "it takes messages"),
        Err(error) => {
            let fix = "start the collector, or mend `endpoint` and `headers` in `[telemetry]`: it is OTLP over HTTP";
            Finding::new(Status::Error, check, format!("it takes no messages: {error}"), fix)
        }
    })
}

/// Whether the servers of engines and triggers let themselves be used: connects to each, with TLS and login as
/// configured.
pub(super) fn engines(manifest: &Manifest, config: &Config, resolved: &BTreeMap<String, Resolved>) -> Vec<Finding> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let fix = "let this user have more open files";
            return vec![Finding::new(Status::Error, "engines", format!("cannot be looked at: {error}"), fix)];
        }
    };
    let reached = runtime.block_on(compose::reach(manifest, config, resolved, PATIENCE));
    // A name that is still being resolved is not waited for.
    runtime.shutdown_background();
    reached
        .into_iter()
        .map(|reached| match reached.outcome {
            Ok(()) => Finding::ok(reached.server, "it can be used"),
            Err(trouble) => Finding::new(Status::Error, reached.server, trouble.what, trouble.fix),
        })
        .collect()
}

/// Whether the state directory, or the one that it will be made in, is ours, private and has room.
pub(super) fn state(directory: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let check = "state directory";
    let existing = directory.ancestors().find(|path| path.is_dir() || path.as_os_str().is_empty());
    let existing = existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = existing.display();
    findings.push(match tempfile::tempfile_in(existing) {
        Ok(_) => Finding::ok(check, format!("{shown} can be written")),
        Err(error) => {
            let fix = "give this user the directory, or name another with --state-dir";
            Finding::new(Status::Error, check, format!("{shown} cannot be written: {error}"), fix)
        }
    });
    findings.extend(secrets::token(directory));
    if let Ok(space) = rustix::fs::statvfs(existing) {
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let message = format!("{} free below {shown}", bytesize::ByteSize(free));
        let fix = "delete what is not needed, or name a directory elsewhere with --state-dir";
        findings.push(match free {
            0..SPACE => Finding::new(Status::Error, "disk space", message, fix),
            free if free < SPACE * 10 => Finding::new(Status::Warning, "disk space", message, fix),
            _ => Finding::ok("disk space", message),
        });
    }
    findings
}

/// Whether the port is free.
pub(super) fn port(address: SocketAddr) -> Finding {
    let check = format!("address {address}");
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(check, "free"),
        Err(error) => {
            let fix = "stop what listens there, or choose another with --listen";
            Finding::new(Status::Error, check, error.to_string(), fix)
        }
    }
}

/// Whether the clock can be right: leases, tokens and certificates depend on it.
pub(super) fn clock(newest: Option<SystemTime>) -> Finding {
    let now = SystemTime::now();
    let fix = "set the clock, for example by `timedatectl set-ntp true`";
    if now < SystemTime::UNIX_EPOCH + EPOCH {
        return Finding::new(Status::Error, "clock", "it says a time long past", fix);
    }
    match newest.and_then(|newest| newest.duration_since(now).ok()) {
        Some(ahead) if ahead > SKEW => {
            let message = format!("files bear a time that is {} ahead", humantime::format_duration(ahead));
            Finding::new(Status::Warning, "clock", message, fix)
        }
        _ => Finding::ok("clock", "plausible"),
    }
}
