//! `tessera build`: each component's build command, one after the other.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anstream::eprintln;
use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::manifest::{self, Manifest};

/// Builds the application: runs each component's build command.
#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    from: super::From,
    /// Builds only this component. Can be given several times.
    #[arg(short = 'c', long = "component-id", value_name = "ID")]
    components: Vec<String>,
    /// Builds with what the components have for this profile.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

impl Build {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let loaded = manifest::load_profile(&self.from.manifest(), self.profile.as_deref())?;
        build(&loaded.manifest, &self.components)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Builds the components named by `only`, or all if it is empty.
pub(super) fn build(manifest: &Manifest, only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|id| !manifest.components.contains_key(*id)) {
        let known: Vec<_> = manifest.components.keys().map(String::as_str).collect();
        bail!("{} has no component `{unknown}`; it has {}", manifest.path.display(), known.join(", "));
    }
    for (id, component) in &manifest.components {
        if let Some(build) = component.build.as_ref().filter(|_| only.is_empty() || only.contains(id)) {
            one(id, build)?;
        }
    }
    Ok(())
}

/// Builds one component, with what the compiler says on stderr and stdout as it comes.
///
/// # Errors
/// Names the command that failed.
pub(super) fn one(id: &str, build: &manifest::Build) -> Result<()> {
    let start = Instant::now();
    // An empty path is the current directory to everything but a command.
    let workdir = Path::new(".").join(&build.workdir);
    for command in &build.commands {
        eprintln!("Building component {id} with `{command}`");
        let status = Command::new("/bin/sh")
            .arg("-c")
            .arg(command)
            .current_dir(&workdir)
            .envs(&build.environment)
            .status()
            .with_context(|| format!("cannot run the build command of component `{id}` in {}", workdir.display()))?;
        if !status.success() {
            bail!("the build command of component `{id}` failed ({status}): {command}");
        }
    }
    eprintln!("Built component {id} in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
