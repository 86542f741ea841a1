//! Installing Debian packages: as root, by passwordless sudo, or else by saying what to type.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command;
use crate::setup::Need;

/// Whether this machine has apt.
pub(crate) fn available() -> bool {
    command::succeeds(Command::new("apt-get").arg("--version"))
}

/// The newest of the versions of a package that apt can install; None without apt.
///
/// A machine whose package lists were never fetched (or not since the package came out) fetches them first, if it may.
pub(crate) fn newest(versions: &[u32], package: impl Fn(u32) -> String) -> Result<Option<u32>> {
    let find = || versions.iter().copied().find(|&version| knows(&package(version)));
    if !available() {
        return Ok(None);
    }
    if let Some(version) = find() {
        return Ok(Some(version));
    }
    if privilege().is_none() {
        return Ok(None);
    }
    update()?;
    Ok(find())
}

/// Installs the packages of all needs in one go; an error that says what to do when that is not possible here.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    let packages: Vec<&str> = needs.iter().flat_map(|need| &need.packages).map(String::as_str).collect();
    let list: String = needs.iter().map(|need| format!("  {}: {}\n", need.packages.join(" "), need.why)).collect();
    if !available() {
        bail!(
            "this machine lacks the following (by their Debian names), and has no apt-get to install them with:\n\
             {list}Install them with this system's package manager, then run the command again."
        );
    }
    if privilege().is_none() {
        bail!(
            "these Debian packages are missing:\n{list}\
             Installing them needs root. Run the following, then this command again:\n\
             \x20 sudo apt-get update && sudo apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    eprintln!("Installing Debian packages:\n{}", list.trim_end());
    if !packages.iter().all(|package| knows(package)) {
        update()?;
    }
    if install_now(&packages).is_err() {
        // Lists older than the archive name files that are gone.
        update()?;
        install_now(&packages)?;
    }
    Ok(())
}

fn install_now(packages: &[&str]) -> Result<()> {
    command::run(apt_get()?.args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

fn update() -> Result<()> {
    command::run(apt_get()?.arg("update"))
}

fn knows(package: &str) -> bool {
    command::succeeds(Command::new("apt-cache").args(["show", "--no-all-versions", package]))
}

fn apt_get() -> Result<Command> {
    let Some(prefix) = privilege() else {
        bail!("apt-get needs root here: run `sudo apt-get update`, then this command again");
    };
    // Through env(1), since sudo resets the environment.
    let mut words = prefix.iter().chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    let mut command = Command::new(words.next().unwrap_or(&"env"));
    command.args(words);
    Ok(command)
}

/// What to put before a command so that it runs as root; None if nothing helps without asking for a password.
fn privilege() -> Option<&'static [&'static str]> {
    if command::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0") {
        Some(&[])
    } else if command::succeeds(Command::new("sudo").args(["-n", "true"])) {
        Some(&["sudo", "-n"])
    } else {
        None
    }
}
