//! Wasm files that the manifest names by URL and digest: downloaded once, kept by their digest.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::manifest::{Dependency, Manifest, Remote};

/// Where they are, in the state directory.
const DOWNLOADS: &str = "downloads";

/// The most bytes of one.
const MAX: u64 = 512 << 20;

/// A server that neither answers nor sends for this long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The place of a file in the state directory, whether it is there or not.
pub(super) fn place(state_dir: &Path, remote: &Remote) -> PathBuf {
    state_dir.join(DOWNLOADS).join(format!("{}.wasm", remote.sha256))
}

/// Downloads what the manifest names and is not there yet.
///
/// # Errors
/// Says whose file cannot be had, or is not the one that was meant.
pub(super) fn all(manifest: &Manifest, state_dir: &Path) -> Result<()> {
    for (id, component) in &manifest.components {
        let dependencies = component.dependencies.values().filter_map(|dependency| match dependency {
            Dependency::File { remote, .. } => remote.as_ref(),
            Dependency::Component { .. } => None,
        });
        for remote in component.remote.iter().chain(dependencies) {
            let place = place(state_dir, remote);
            if !place.exists() {
                download(remote, &place).with_context(|| format!("component `{id}`: cannot get {}", remote.url))?;
            }
        }
    }
    Ok(())
}

fn download(remote: &Remote, place: &Path) -> Result<()> {
    let directory = place.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    tracing::info!(url = remote.url, "downloading");
    let agent = ureq::Agent::config_builder()
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .build()
        .new_agent();
    let mut answer = agent.get(&remote.url).call()?;
    let mut body = answer.body_mut().with_config().limit(MAX).reader();
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = body.read(&mut buffer)?;
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { break };
        hasher.update(read);
        file.write_all(read)?;
    }
    let digest = hex::encode(hasher.finalize());
    if digest != remote.sha256 {
        bail!("its digest is sha256:{digest}, not sha256:{}, so it is another file than was meant", remote.sha256);
    }
    file.as_file().sync_all()?;
    file.persist(place)?;
    Ok(())
}
