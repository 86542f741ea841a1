//! The files that a component may read: copied to a directory of their own at start, so that the
//! sandbox sees nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component as Part, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use glob::Pattern;
use tempfile::TempDir;

use crate::app::component::Mount;
use crate::manifest::Files;

/// Gathers `files`, whose paths are relative to `base`, in a directory of their own below
/// `staging`, and answers what to mount.
///
/// # Errors
/// If a file cannot be read, or a pattern leaves `base`.
pub(crate) fn gather(files: &[Files], exclude: &[String], base: &Path, staging: &Path) -> Result<Vec<Mount>> {
    let exclude = exclude.iter().map(|pattern| Pattern::new(pattern)).collect::<Result<Vec<_>, _>>()?;
    fs::create_dir_all(staging)?;
    let own = TempDir::new_in(staging)?;
    let staging = own.path();
    let mut mounts = Vec::new();
    let mut staged = false;
    for entry in files {
        match entry {
            Files::Pattern(pattern) => {
                let found = glob::glob(&base.join(pattern).to_string_lossy())?;
                for path in found {
                    let path = path?;
                    let relative =
                        path.strip_prefix(base).with_context(|| format!("`{pattern}` leaves {}", base.display()))?;
                    if path.is_file() && !exclude.iter().any(|pattern| pattern.matches_path(relative)) {
                        stage(&path, relative, staging)?;
                        staged = true;
                    }
                }
            }
            Files::Placed { source, destination } => {
                let path = base.join(source);
                if path.is_dir() {
                    mounts.push(Mount { directory: path, path: destination.clone(), staged: None });
                } else {
                    stage(&path, Path::new(destination.trim_start_matches('/')), staging)?;
                    staged = true;
                }
            }
        }
    }
    if staged {
        let directory = staging.to_owned();
        mounts.push(Mount { directory, path: "/".to_owned(), staged: Some(Arc::new(own)) });
    }
    Ok(mounts)
}

/// Whether two directories have the same files with the same contents.
///
/// # Errors
/// If something cannot be read.
pub(crate) fn same(one: &Path, two: &Path) -> std::io::Result<bool> {
    let names = |directory: &Path| -> std::io::Result<BTreeSet<_>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let list = names(one)?;
    if list != names(two)? {
        return Ok(false);
    }
    for name in list {
        let (one, two) = (one.join(&name), two.join(&name));
        let is_same = match (one.is_dir(), two.is_dir()) {
            (true, true) => same(&one, &two)?,
            (false, false) => one.metadata()?.len() == two.metadata()?.len() && fs::read(&one)? == fs::read(&two)?,
            _ => false,
        };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn stage(source: &Path, destination: &Path, staging: &Path) -> Result<()> {
    if destination.components().any(|part| !matches!(part, Part::Normal(_))) {
        bail!("{} would leave the component's directory", destination.display());
    }
    let target: PathBuf = staging.join(destination);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(source, &target).with_context(|| format!("copy {} for the component", source.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_mounted() {
        let base = tempfile::tempdir().unwrap();
        let staging = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("site/css")).unwrap();
        for file in ["site/index.html", "site/css/a.css", "site/secret.key", "other.txt"] {
            fs::write(base.path().join(file), file).unwrap();
        }
        let files = [
            Files::Pattern("site/**/*".into()),
            Files::Placed { source: "other.txt".into(), destination: "/docs/readme".into() },
        ];
        let mounts = gather(&files, &["**/*.key".into()], base.path(), staging.path()).unwrap();
        assert_eq!(mounts.len(), 1);
        let read = |path: &str| fs::read_to_string(mounts[0].directory.join(path)).ok();
        assert_eq!(read("site/css/a.css").as_deref(), Some("site/css/a.css"));
        assert_eq!(read("docs/readme").as_deref(), Some("other.txt"));
        assert_eq!(read("site/secret.key"), None);
        drop(mounts);
        assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn directories_are_the_same_by_what_is_in_them() {
        let make = |content: &str| {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("a")).unwrap();
            fs::write(directory.path().join("a/b"), content).unwrap();
            directory
        };
        let (one, two, other, more) = (make("1"), make("1"), make("2"), make("1"));
        fs::write(more.path().join("c"), "").unwrap();
        let same = |two: &tempfile::TempDir| same(one.path(), two.path()).unwrap();
        assert!(same(&two) && !same(&other) && !same(&more));
    }

    #[test]
    fn a_pattern_cannot_leave_the_manifests_directory() {
        let base = tempfile::tempdir().unwrap();
        let inner = base.path().join("app");
        fs::create_dir_all(&inner).unwrap();
        fs::write(base.path().join("secret"), "x").unwrap();
        let staging = tempfile::tempdir().unwrap();
        assert!(gather(&[Files::Pattern("../secret".into())], &[], &inner, staging.path()).is_err());
    }
}
