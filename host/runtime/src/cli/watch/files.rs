//! Which files matter to `tessera watch` and `doctor`, and to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component as Part, Path, PathBuf};
use std::time::SystemTime;

use glob::{MatchOptions, Pattern};

use crate::manifest::{Files, Manifest};

/// Directories in which nobody edits: those below a `**` are not watched.
const IGNORED: &[&str] = &["node_modules", "target"];

/// No more directories are watched for one pattern.
const MOST: usize = 10_000;

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// The files of an application that matter.
pub(in crate::cli) struct Watched {
    manifest: PathBuf,
    /// A component, and what it is built from.
    builds: Vec<(String, Rule)>,
    /// What is applied as it is.
    inputs: Vec<Rule>,
}

/// What a changed path asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Concerns {
    /// Components that are to be built.
    pub(super) build: BTreeSet<String>,
    /// The manifest is another.
    pub(super) manifest: bool,
    /// There is something to be done at all.
    pub(super) matters: bool,
}

struct Rule {
    /// Where to look.
    base: PathBuf,
    /// Whether below that too.
    deep: bool,
    pattern: Pattern,
}

impl Rule {
    /// Those that match `pattern`, relative to `directory`; `None` if it is no pattern.
    fn matching(directory: &Path, pattern: &str) -> Option<Self> {
        let pattern = Path::new(pattern);
        let is_plain = |part: &Part<'_>| !part.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte));
        let plain: PathBuf = pattern.components().take_while(is_plain).collect();
        let rest: PathBuf = pattern.components().skip_while(is_plain).collect();
        if rest.as_os_str().is_empty() {
            return Self::file(&directory.join(plain));
        }
        let base = real(&directory.join(plain));
        let text = format!("{}/{}", Pattern::escape(base.to_str()?), rest.to_str()?);
        Some(Self { base, deep: rest.components().count() > 1, pattern: Pattern::new(&text).ok()? })
    }

    fn file(path: &Path) -> Option<Self> {
        let path = real(path.parent()?).join(path.file_name()?);
        let pattern = Pattern::new(&Pattern::escape(path.to_str()?)).ok()?;
        Some(Self { base: path.parent()?.to_owned(), deep: false, pattern })
    }

    fn matches(&self, path: &Path) -> bool {
        self.pattern.matches_path_with(path, OPTIONS)
    }

    /// Adds the directories whose entries may match.
    fn directories(&self, found: &mut BTreeSet<PathBuf>) {
        // One that is not there yet is seen when it is made.
        let there = self.base.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        if self.deep && there == self.base {
            below(there, found, &mut 0);
        } else {
            found.insert(there.to_owned());
        }
    }

    /// Whether files that matter may have come with a new directory.
    fn may_be_in(&self, directory: &Path) -> bool {
        self.base.starts_with(directory) || (self.deep && directory.starts_with(&self.base))
    }
}

impl Watched {
    /// What matters to `manifest` and to the configuration in `config`; with `skip_build` nothing is
    /// built.
    pub(in crate::cli) fn of(manifest: &Manifest, config: Option<&Path>, skip_build: bool) -> Self {
        let mut builds = Vec::new();
        let mut inputs: Vec<Rule> = config.into_iter().filter_map(Rule::file).collect();
        inputs.extend(Rule::file(&manifest.path));
        for (id, component) in &manifest.components {
            if component.remote.is_none() {
                inputs.extend(Rule::file(&component.source));
            }
            for files in &component.files {
                inputs.extend(match files {
                    Files::Pattern(pattern) => Rule::matching(&manifest.directory, pattern),
                    // A directory is mounted as it is, so its changes show by themselves.
                    Files::Placed { source, .. } => Rule::file(&manifest.directory.join(source)),
                });
            }
            let Some(build) = component.build.as_ref().filter(|_| !skip_build) else { continue };
            for pattern in &build.watch {
                builds.extend(Rule::matching(&build.workdir, pattern).map(|rule| (id.clone(), rule)));
            }
        }
        let path = &manifest.path;
        let manifest =
            path.file_name().map_or_else(PathBuf::new, |name| real(path.parent().unwrap_or(Path::new(""))).join(name));
        Self { manifest, builds, inputs }
    }

    /// The components that are built when something changes.
    pub(super) fn built(&self) -> impl Iterator<Item = &str> {
        self.builds.iter().map(|(id, _)| id.as_str())
    }

    /// What a changed path asks for.
    pub(super) fn concerns(&self, path: &Path) -> Concerns {
        let is_directory = path.is_dir();
        let concerned = |rule: &Rule| rule.matches(path) || (is_directory && rule.may_be_in(path));
        let build: BTreeSet<_> =
            self.builds.iter().filter(|(_, rule)| concerned(rule)).map(|(id, _)| id.clone()).collect();
        let matters = !build.is_empty() || self.inputs.iter().any(concerned);
        Concerns { build, manifest: path == self.manifest, matters }
    }

    /// The directories whose entries have to be watched.
    pub(super) fn directories(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for rule in self.builds.iter().map(|(_, rule)| rule).chain(&self.inputs) {
            rule.directories(&mut found);
        }
        found
    }

    /// What each component is built from: the file that changed last, and when.
    pub(in crate::cli) fn newest(&self) -> BTreeMap<&str, (SystemTime, PathBuf)> {
        let mut newest = BTreeMap::new();
        for (id, rule) in &self.builds {
            let mut directories = BTreeSet::new();
            rule.directories(&mut directories);
            for entry in directories.iter().filter_map(|path| std::fs::read_dir(path).ok()).flatten().flatten() {
                let path = entry.path();
                let Some(metadata) = path.metadata().ok().filter(|metadata| metadata.is_file()) else { continue };
                if let Some(changed) = metadata.modified().ok().filter(|_| rule.matches(&path)) {
                    let latest = newest.entry(id.as_str()).or_insert_with(|| (changed, path.clone()));
                    if latest.0 < changed {
                        *latest = (changed, path);
                    }
                }
            }
        }
        newest
    }
}

/// Adds a directory and those below it that somebody may edit in.
fn below(directory: &Path, found: &mut BTreeSet<PathBuf>, count: &mut usize) {
    *count = count.saturating_add(1);
    if *count > MOST {
        return;
    }
    found.insert(directory.to_owned());
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ignored = name.as_encoded_bytes().starts_with(b".") || IGNORED.iter().any(|ignored| name == *ignored);
        if !ignored && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(&entry.path(), found, count);
        }
    }
}

/// The path as the system knows it, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (_, Some(parent), Some(name)) => real(parent).join(name),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::manifest;

    const MANIFEST: &str = r#"
spin_manifest_version = 2
[application]
name = "a"
[trigger]
[component.web]
source = "target/web.wasm"
files = ["static/*.html"]
[component.web.build]
command = "make"
workdir = "web"
watch = ["src/**/*.rs", "Cargo.toml", "../shared/*.rs"]
[component.other]
source = "other.wasm"
"#;

    fn watched(root: &Path, skip_build: bool) -> Watched {
        for directory in ["web/src/deep", "web/src/target/x", "shared", "static", "target"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let manifest = manifest::parse(&root.join("spin.toml"), MANIFEST).unwrap().manifest;
        Watched::of(&manifest, Some(&root.join("runtime-config.toml")), skip_build)
    }

    #[test]
    fn each_file_concerns_whom_it_should() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let watched = watched(&root, false);
        for path in ["web/src/lib.rs", "web/src/deep/er/mod.rs", "web/Cargo.toml", "shared/a.rs"] {
            let concerns = watched.concerns(&root.join(path));
            assert_eq!((concerns.build.len(), concerns.matters, concerns.manifest), (1, true, false), "{path}");
        }
        for path in ["target/web.wasm", "other.wasm", "static/index.html", "runtime-config.toml", "spin.toml"] {
            let concerns = watched.concerns(&root.join(path));
            assert_eq!((concerns.build.len(), concerns.matters), (0, true), "{path}");
            assert_eq!(concerns.manifest, path == "spin.toml");
        }
        fs::create_dir_all(root.join("else")).unwrap();
        for path in ["web/lib.rs", "web/src/a.txt", "shared/a/b.rs", "static/a/b.html", "Cargo.toml", "else"] {
            assert_eq!(watched.concerns(&root.join(path)), Concerns::default(), "{path}");
        }
        // A new directory may have come with files in it.
        assert_eq!(watched.concerns(&root.join("web/src/deep")).build.len(), 1);
        assert_eq!(watched.concerns(&root.join("web")).build.len(), 1);
    }

    #[test]
    fn directories_are_those_that_matter() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let names = |watched: &Watched| -> Vec<String> {
            let found = watched.directories();
            found.iter().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect()
        };
        let all = ["", "shared", "static", "target", "web", "web/src", "web/src/deep"];
        assert_eq!(names(&watched(&root, false)), all);
        assert_eq!(names(&watched(&root, true)), ["", "static", "target"]);
        // What is not there yet is seen when it is made.
        let watched = watched(&root, true);
        fs::remove_dir_all(root.join("target")).unwrap();
        assert_eq!(names(&watched), ["", "static"]);
    }
}
