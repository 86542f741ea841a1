//! The binaries that have run, kept in the state directory by their hash, and the record of which
//! one runs: so a swapped component survives a restart and can be taken back.
//!
//! ```text
//! versions/<sha256>.wasm    binaries
//! versions/record.json      what runs, and the history
//! ```
//!
//! The record is replaced as a whole, durably, before the application changes: after a crash at
//! any point it names a version that had passed all checks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use utoipa::ToSchema;

/// SHA-256 of a Wasm file, in hexadecimal.
pub(crate) type Hash = String;

/// How many earlier versions of a component can be gone back to.
const MAX_PREVIOUS: usize = 10;

/// How many entries the history has.
const MAX_HISTORY: usize = 1000;

/// How the names of files begin that are not whole yet; left behind by a process that was killed.
const INCOMING: &str = ".incoming-";

/// What happened to a component, or to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// The application started with this version for the first time.
    Start,
    /// The version took over all new work.
    Swap,
    /// The version took a share of new work.
    Canary,
    /// The canary took over all new work.
    Promote,
    /// The canary lost its share.
    Return,
    /// An earlier version took over again.
    Rollback,
    /// The manifest or the configuration was applied anew.
    Reload,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Swap => "swap",
            Self::Canary => "canary",
            Self::Promote => "promote",
            Self::Return => "return",
            Self::Rollback => "rollback",
            Self::Reload => "reload",
        })
    }
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Entry {
    /// When, as RFC 3339 in UTC.
    pub(crate) at: String,
    /// The component; `None`: the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) component: Option<String>,
    /// What happened.
    pub(crate) action: Action,
    /// The version that it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hash: Option<Hash>,
    /// The version that ran before, or beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<Hash>,
    /// Who asked for it, as the client said.
    pub(crate) by: String,
    /// Why, or what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl Entry {
    pub(crate) fn new(component: Option<&str>, action: Action, by: &str) -> Self {
        Self {
            at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            component: component.map(str::to_owned),
            action,
            hash: None,
            previous: None,
            by: by.to_owned(),
            note: None,
        }
    }

    pub(crate) fn versions(mut self, hash: &Hash, previous: Option<&Hash>) -> Self {
        self.hash = Some(hash.clone());
        self.previous = previous.cloned();
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// What runs of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Live {
    hash: Hash,
    /// What the manifest's file was when this version was put in place.
    source: Hash,
    /// What ran before, the latest last.
    previous: Vec<Hash>,
    /// What has a share of new work, on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canary: Option<Hash>,
}

/// The record, as it is on disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Record {
    components: BTreeMap<String, Live>,
    history: VecDeque<Entry>,
}

/// The directory of versions; its owner is the only one that writes to it.
pub(crate) struct Versions {
    directory: PathBuf,
    record: Record,
}

impl Versions {
    /// # Errors
    /// If the directory cannot be made, or the record is unreadable.
    pub(crate) fn open(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        for entry in fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(INCOMING.as_bytes())) {
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        let path = directory.join("record.json");
        let record = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is damaged: remove it to start with the files that the manifest names", path.display())
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        Ok(Self { directory, record })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a version's binary is.
    pub(crate) fn path(&self, hash: &str) -> PathBuf {
        path(&self.directory, hash)
    }

    /// The version of `component` to run when the manifest's file is `source`: what was put in
    /// place last, be it by a swap or by changing the file.
    pub(crate) fn choose(&self, component: &str, source: &Hash) -> Hash {
        match self.record.components.get(component) {
            Some(live) if live.source == *source && self.path(&live.hash).is_file() => live.hash.clone(),
            _ => source.clone(),
        }
    }

    /// The version that ran last.
    pub(crate) fn live(&self, component: &str) -> Option<Hash> {
        self.record.components.get(component).map(|live| live.hash.clone())
    }

    /// The canary that was there when the process ended.
    pub(crate) fn canary(&self, component: &str) -> Option<Hash> {
        self.record.components.get(component)?.canary.clone()
    }

    /// The version to go back to.
    pub(crate) fn previous(&self, component: &str) -> Option<Hash> {
        self.record.components.get(component)?.previous.last().cloned()
    }

    /// What was done, oldest first.
    pub(crate) fn history(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.record.history.iter()
    }

    /// Makes a change durable; then deletes binaries that nobody can go back to.
    ///
    /// # Errors
    /// If the record cannot be written; then nothing has changed.
    pub(crate) fn commit(&mut self, changes: &[Change<'_>], entries: Vec<Entry>) -> Result<()> {
        let mut record = self.record.clone();
        for change in changes {
            change.apply(&mut record);
        }
        record.history.extend(entries);
        while record.history.len() > MAX_HISTORY {
            record.history.pop_front();
        }
        let write = || -> Result<()> {
            let mut file = incoming(&self.directory)?;
            serde_json::to_writer(&mut file, &record)?;
            persist(file, &self.directory.join("record.json"))?;
            Ok(())
        };
        write().with_context(|| format!("write the record of versions in {}", self.directory.display()))?;
        self.record = record;
        if let Err(error) = self.sweep() {
            tracing::warn!(%error, "cannot delete old versions");
        }
        Ok(())
    }

    fn sweep(&self) -> io::Result<()> {
        let components = self.record.components.values();
        let kept: BTreeSet<&str> = components
            .flat_map(|live| [&live.hash, &live.source].into_iter().chain(&live.previous).chain(&live.canary))
            .map(|hash| &**hash)
            .collect();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let hash = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "wasm") && !kept.contains(hash) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// A change of what runs.
pub(crate) enum Change<'a> {
    /// A component runs another version.
    Run {
        /// Its id.
        component: &'a str,
        /// The version.
        hash: &'a Hash,
        /// What the manifest's file is.
        source: &'a Hash,
    },
    /// A component runs again what it ran before.
    Back {
        /// Its id.
        component: &'a str,
        /// What the manifest's file is.
        source: &'a Hash,
    },
    /// A version has a share of a component's work, or none again.
    Try(&'a str, Option<&'a Hash>),
    /// A component is gone.
    Gone(&'a str),
}

impl Change<'_> {
    fn apply(&self, record: &mut Record) {
        match *self {
            Self::Run { component, hash, source } => {
                let (hash, source) = (hash.clone(), source.clone());
                let previous = record.components.remove(component).map_or_else(Vec::new, |mut live| {
                    if live.hash != hash {
                        live.previous.push(live.hash);
                    }
                    let over = live.previous.len().saturating_sub(MAX_PREVIOUS);
                    live.previous.drain(..over);
                    live.previous
                });
                record.components.insert(component.to_owned(), Live { hash, source, previous, canary: None });
            }
            Self::Back { component, source } => {
                if let Some(live) = record.components.get_mut(component)
                    && let Some(hash) = live.previous.pop()
                {
                    live.hash = hash;
                    live.source = source.clone();
                }
            }
            Self::Try(component, canary) => {
                if let Some(live) = record.components.get_mut(component) {
                    live.canary = canary.cloned();
                }
            }
            Self::Gone(component) => drop(record.components.remove(component)),
        }
    }
}

/// A binary on its way in, hashed as it is written.
pub(crate) struct Incoming {
    file: NamedTempFile,
    hasher: Sha256,
    directory: PathBuf,
}

impl Incoming {
    /// # Errors
    /// If there is no room.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let file = incoming(directory).with_context(|| format!("write to {}", directory.display()))?;
        Ok(Self { file, hasher: Sha256::new(), directory: directory.to_owned() })
    }

    /// # Errors
    /// If there is no room.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }

    /// It is whole.
    ///
    /// # Errors
    /// If it is empty.
    pub(crate) fn finish(self) -> Result<Received> {
        if self.file.as_file().metadata()?.len() == 0 {
            bail!("the file is empty");
        }
        Ok(Received { file: self.file, hash: hex::encode(self.hasher.finalize()), directory: self.directory })
    }
}

/// A binary that is here whole, and gone again unless it is kept.
pub(crate) struct Received {
    file: NamedTempFile,
    hash: Hash,
    directory: PathBuf,
}

impl Received {
    pub(crate) fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Where it is for now.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Keeps it, durably.
    ///
    /// # Errors
    /// If it cannot be stored.
    pub(crate) fn keep(self) -> Result<()> {
        let target = path(&self.directory, &self.hash);
        if !target.is_file() {
            persist(self.file, &target)?;
        }
        Ok(())
    }
}

/// Keeps a copy of a file under its hash, because the file itself may be overwritten at any time.
///
/// # Errors
/// If it cannot be read or stored.
pub(crate) fn keep_copy(directory: &Path, source: &Path) -> Result<Hash> {
    let bytes = fs::read(source).with_context(|| format!("read {}", source.display()))?;
    if bytes.is_empty() {
        bail!("{} is empty", source.display());
    }
    let hash = hex::encode(Sha256::digest(&bytes));
    let target = path(directory, &hash);
    if !target.is_file() {
        let mut file = incoming(directory)?;
        file.write_all(&bytes)?;
        persist(file, &target)?;
    }
    Ok(hash)
}

/// A file on its way in, gone again unless it is put in place.
fn incoming(directory: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(INCOMING).tempfile_in(directory)
}

fn path(directory: &Path, hash: &str) -> PathBuf {
    directory.join(format!("{hash}.wasm"))
}

/// Puts a file in place so that it is whole or not there, also after a power cut.
fn persist(file: NamedTempFile, target: &Path) -> Result<()> {
    file.as_file().sync_all()?;
    file.persist(target)?;
    if let Some(directory) = target.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(versions: &Versions, content: &str) -> Hash {
        let mut incoming = Incoming::new(&versions.directory).unwrap();
        incoming.write(content.as_bytes()).unwrap();
        let received = incoming.finish().unwrap();
        let hash = received.hash().clone();
        received.keep().unwrap();
        hash
    }

    fn run(versions: &mut Versions, hash: &Hash, source: &Hash) {
        let entry = Entry::new(Some("web"), Action::Swap, "me").versions(hash, None);
        versions.commit(&[Change::Run { component: "web", hash, source }], vec![entry]).unwrap();
    }

    #[test]
    fn what_was_put_in_place_last_runs_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Versions::open(directory.path().to_owned()).unwrap();
        let mut versions = open();
        let file = binary(&versions, "file");
        assert_eq!(versions.choose("web", &file), file);
        run(&mut versions, &file, &file);
        let swapped = binary(&versions, "swapped");
        run(&mut versions, &swapped, &file);
        assert_eq!(open().choose("web", &file), swapped, "the swap survives");
        let rebuilt = binary(&versions, "rebuilt");
        assert_eq!(open().choose("web", &rebuilt), rebuilt, "a file that was changed since is newer");
        fs::remove_file(versions.path(&swapped)).unwrap();
        assert_eq!(open().choose("web", &file), file, "a binary that is gone cannot run");
    }

    #[test]
    fn going_back_goes_further_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let mut versions = Versions::open(directory.path().to_owned()).unwrap();
        let hashes: Vec<Hash> = ["1", "2", "3"]
            .map(|text| {
                let hash = binary(&versions, text);
                run(&mut versions, &hash, &hash);
                hash
            })
            .to_vec();
        for expected in [&hashes[1], &hashes[0]] {
            assert_eq!(versions.previous("web").as_ref(), Some(expected));
            versions.commit(&[Change::Back { component: "web", source: &hashes[2] }], Vec::new()).unwrap();
            assert_eq!(versions.choose("web", &hashes[2]), *expected);
        }
        assert_eq!(versions.previous("web"), None);
    }

    #[test]
    fn many_swaps_leave_little_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mut versions = Versions::open(directory.path().to_owned()).unwrap();
        let file = binary(&versions, "file");
        for number in 0..3 * MAX_PREVIOUS {
            let hash = binary(&versions, &number.to_string());
            run(&mut versions, &hash, &file);
        }
        let entries = vec![Entry::new(None, Action::Reload, "me"); MAX_HISTORY];
        versions.commit(&[], entries).unwrap();
        assert_eq!(versions.history().count(), MAX_HISTORY);
        let left = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, MAX_PREVIOUS + 3, "the record, the file, what runs, and what can be gone back to");
    }
}
