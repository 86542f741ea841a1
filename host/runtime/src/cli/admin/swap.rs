//! `tessera swap`, `rollback`, `reload` and `history`: changing the running application.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::eprintln;
use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::client::segment;
use super::{Running, table};
use crate::compose::{Changed, History, Reloaded, Swapped};

/// Puts a new version of a component in place, without dropping a request or a job.
///
/// The version is compiled and checked: are its imports granted, does it export what its routes,
/// consumers and dependents need, can it be instantiated? Then all new work goes to it, and work in
/// flight ends on the old one. If anything is wrong, the old version serves on.
#[derive(Debug, Args)]
pub(crate) struct Swap {
    /// The component's id.
    component: String,
    /// Its new Wasm file.
    file: PathBuf,
    /// Gives the new version this share of new work, such as `10%`, and takes it back by itself if
    /// its error rate or latency is worse than the old version's; otherwise promotes it.
    #[arg(long, value_name = "SHARE")]
    canary: Option<String>,
    /// How long a canary is compared. [default: 60s]
    #[arg(long, value_name = "DURATION", requires = "canary")]
    window: Option<String>,
    /// How long work in flight may take to end on the old version. [default: 30m, or its longest
    /// delivery if that is longer]
    #[arg(long, value_name = "DURATION")]
    drain: Option<String>,
    #[command(flatten)]
    running: Running,
}

impl Swap {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let file = File::open(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            bail!("{} is no file", self.file.display());
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("by", &who());
        let given = [("canary", &self.canary), ("window", &self.window), ("drain", &self.drain)];
        for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            query.append_pair(name, value);
        }
        let path = format!("/v1/components/{}/versions?{}", segment(&self.component), query.finish());
        let swapped: Swapped = self.running.client()?.post_file(&path, file)?;
        self.running.print(&swapped, |swapped| {
            let Swapped { changed, canary } = swapped;
            let (component, new) = (&changed.component, table::short(&changed.hash));
            if changed.hash == changed.previous {
                return format!("{component} runs {new} already\n");
            }
            match canary {
                None => format!("{component} now runs {new}; before: {}\n", table::short(&changed.previous)),
                Some(canary) => format!(
                    "{component} tries {new} with {} % of new work for {}; `tessera history` says what comes of it\n",
                    canary.percent,
                    table::duration(canary.window_seconds)
                ),
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Lets a component run the version that it had before, or ends its canary.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The component's id.
    component: String,
    #[command(flatten)]
    running: Running,
}

impl Rollback {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let path = format!("/v1/components/{}/rollback?{}", segment(&self.component), by());
        let changed: Changed = self.running.client()?.post(&path, &())?;
        self.running.print(&changed, |changed| {
            let (new, old) = (table::short(&changed.hash), table::short(&changed.previous));
            format!("{} runs {new} again; before: {old}\n", changed.component)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Applies what has changed in spin.toml, runtime-config.toml and the components' files, all at once.
///
/// Routes, grants, limits, variables, consumers, components added and removed: if anything is wrong
/// everything stays as it is. Where data in use is kept cannot change while the application runs.
#[derive(Debug, Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    running: Running,
}

impl Reload {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let reloaded: Reloaded = self.running.client()?.post(&format!("/v1/reload?{}", by()), &())?;
        for warning in &reloaded.warnings {
            eprintln!("{warning}");
        }
        self.running.print(&reloaded, |reloaded| match &*reloaded.changes {
            [] => "nothing has changed\n".to_owned(),
            changes => changes.iter().map(|change| format!("{change}\n")).collect(),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Lists what was done to the running application: which versions, when, and by whom.
#[derive(Debug, Args)]
pub(crate) struct ShowHistory {
    /// Only this component.
    component: Option<String>,
    #[command(flatten)]
    running: Running,
}

impl ShowHistory {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let client = self.running.client()?;
        let mut history: History = client.get("/v1/history")?;
        if let Some(component) = &self.component {
            history.entries.retain(|entry| entry.component.as_ref() == Some(component));
            if history.entries.is_empty()
                && let Err(unknown) = client.knows(component)?
            {
                bail!(unknown);
            }
        }
        self.running.print(&history, |history| {
            let rows = history.entries.iter().map(|entry| {
                let short = |hash: &Option<String>| hash.as_deref().map(table::short).unwrap_or_default();
                vec![
                    entry.at.clone(),
                    entry.component.clone().unwrap_or_else(|| "(application)".to_owned()),
                    entry.action.to_string(),
                    short(&entry.hash),
                    short(&entry.previous),
                    entry.by.clone(),
                    entry.note.clone().unwrap_or_default(),
                ]
            });
            table::render(&["WHEN", "COMPONENT", "WHAT", "VERSION", "OTHER", "BY", "NOTE"], &[], rows)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn by() -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("by", &who()).finish()
}

/// `user@host`, as the environment says.
pub(crate) fn who() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}@{}", user.as_deref().unwrap_or("unknown"), host.trim())
}
