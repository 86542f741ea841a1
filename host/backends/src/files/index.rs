//! The index of the objects, and the thread that changes it: all changes that wait together are
//! one transaction and share its syncs.

use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use redb::{
    Builder, Database, DatabaseError, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, Table,
    TableDefinition,
};
use serde::{Deserialize, Serialize};
use tessera_capability::blob::{Info, Key};
use tessera_capability::time::Timestamp;
use tessera_capability::{Error, Result};
use tokio::sync::{mpsc, oneshot};

use super::data::DataFile;
use super::failed;

/// (label, key) to [`Record`].
const OBJECTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("objects");
/// The data files that [`OBJECTS`] names.
const FILES: TableDefinition<'_, u128, ()> = TableDefinition::new("files");

/// The index's page cache in bytes; the operating system caches the file as well.
const CACHE: usize = 4 << 20;
/// The most changes of one transaction.
const BATCH: usize = 256;

/// What the index says about an object.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) file: u128,
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
    pub(super) created: Timestamp,
    pub(super) content_type: String,
    pub(super) metadata: Vec<(String, String)>,
}

impl Record {
    fn decode(bytes: &[u8]) -> Result<Self> {
        postcard::from_bytes(bytes).map_err(|error| Error::internal("read a record of the blob index", error))
    }

    /// The object's properties. Its hash is its entity tag.
    pub(super) fn info(&self, key: Key) -> Info {
        let sha256 = hex::encode(self.sha256);
        Info {
            key,
            size: self.size,
            etag: sha256.clone(),
            sha256: Some(sha256),
            created: self.created,
            content_type: self.content_type.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

/// A change of one object.
pub(super) enum Change {
    /// Names a data file.
    Put { record: Record, file: DataFile, if_absent: bool },
    /// Forgets the object.
    Delete,
}

struct Request {
    label: Arc<str>,
    key: Key,
    change: Change,
    /// Answers the data file that is no longer named.
    reply: oneshot::Sender<Result<Option<DataFile>>>,
}

/// The index. Dropping it waits for the changes under way.
pub(super) struct Index {
    database: Arc<Database>,
    changes: Option<mpsc::UnboundedSender<Request>>,
    writer: Option<thread::JoinHandle<()>>,
}

impl Index {
    /// Opens or creates the index at `path` over the data files in `data`.
    pub(super) fn open(path: &Path, data: &Path) -> Result<Self> {
        let database = Builder::new().set_cache_size(CACHE).create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => Error::unavailable(
                "the blob directory is in use by another process: stop that one or choose another directory",
                error,
            ),
            error => Error::internal("open the blob index", error),
        })?;
        let create = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(OBJECTS)?;
            transaction.open_table(FILES)?;
            transaction.commit()?;
            Ok(())
        };
        create().map_err(|error| Error::internal("prepare the blob index", error))?;

        let database = Arc::new(database);
        let (changes, requests) = mpsc::unbounded_channel();
        let directory = File::open(data).map_err(|error| failed("open the blob directory", error))?;
        let writer = Writer { database: Arc::clone(&database), data: data.to_owned(), directory };
        let writer = thread::Builder::new()
            .name("blob-index".into())
            .spawn(move || writer.run(requests))
            .map_err(|error| Error::internal("start the blob index", error))?;
        Ok(Self { database, changes: Some(changes), writer: Some(writer) })
    }

    /// Applies a change durably, and answers the data file that the index named until then.
    pub(super) async fn change(&self, label: &Arc<str>, key: &Key, change: Change) -> Result<Option<DataFile>> {
        let gone = || Error::Internal { message: "the blob index has stopped".into(), source: None };
        let (reply, answer) = oneshot::channel();
        let request = Request { label: Arc::clone(label), key: key.clone(), change, reply };
        self.changes.as_ref().ok_or_else(gone)?.send(request).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// What the index says about an object. Blocks.
    pub(super) fn get(&self, label: &str, key: &Key) -> Result<Record> {
        let get = || -> Result<_, redb::Error> { Ok(self.read()?.open_table(OBJECTS)?.get((label, key.as_str()))?) };
        let record = get().map_err(unreadable)?.ok_or_else(|| Error::NotFound(format!("`{}`", key.as_str())))?;
        Record::decode(record.value())
    }

    /// At most `limit` objects whose keys begin with `prefix`, from those behind `after`; in
    /// byte order. Blocks.
    pub(super) fn list(&self, label: &str, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Info>> {
        let start = after.map_or(Bound::Included((label, prefix)), |key| Bound::Excluded((label, key)));
        let open = || -> Result<_, redb::Error> {
            let objects: ReadOnlyTable<(&str, &str), &[u8]> = self.read()?.open_table(OBJECTS)?;
            Ok(objects.range((start, Bound::Unbounded))?)
        };
        let mut page = Vec::new();
        for object in open().map_err(unreadable)?.take(limit) {
            let (name, record) = object.map_err(|error| unreadable(error.into()))?;
            let (of, key) = name.value();
            if of != label || !key.starts_with(prefix) {
                break;
            }
            page.push(Record::decode(record.value())?.info(Key::new(key)?));
        }
        Ok(page)
    }

    /// The data files named now.
    pub(super) fn names(&self) -> Result<Names> {
        let open = || -> Result<_, redb::Error> { Ok(self.read()?.open_table(FILES)?) };
        open().map(Names).map_err(unreadable)
    }

    fn read(&self) -> Result<ReadTransaction, redb::TransactionError> {
        self.database.begin_read()
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.changes = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the blob index's thread has panicked");
        }
    }
}

/// The data files that the index names.
pub(super) struct Names(ReadOnlyTable<u128, ()>);

impl Names {
    /// True if an object has this data file.
    pub(super) fn contains(&self, file: u128) -> Result<bool> {
        self.0.get(file).map(|found| found.is_some()).map_err(|error| unreadable(error.into()))
    }
}

fn unreadable(error: redb::Error) -> Error {
    Error::internal("read the blob index", error)
}

/// The one that changes the index.
struct Writer {
    database: Arc<Database>,
    data: PathBuf,
    directory: File,
}

/// What a change comes to when its transaction is durable.
struct Applied {
    reply: oneshot::Sender<Result<Option<DataFile>>>,
    named: Option<DataFile>,
    outcome: Result<Option<u128>>,
}

impl Writer {
    fn run(self, mut requests: mpsc::UnboundedReceiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = requests.try_recv()
            {
                batch.push(next);
            }
            // Whoever does not wait any more gets nothing done.
            batch.retain(|request| !request.reply.is_closed());
            if !batch.is_empty() {
                self.apply(batch);
            }
        }
    }

    fn apply(&self, batch: Vec<Request>) {
        let mut applied = Vec::with_capacity(batch.len());
        let result = self.transaction(batch, &mut applied);
        for Applied { reply, named, outcome } in applied {
            let answer = match &result {
                Ok(()) => outcome.map(|file| file.map(|id| DataFile::existing(&self.data, id))),
                Err(error) => Err(Error::Unavailable {
                    message: "the blob index could not be written".into(),
                    source: Some(error.to_string().into()),
                }),
            };
            // After a failure the transaction may be on disk or not; the next start will see.
            if let Some(file) = named {
                file.keep();
            }
            // An answer nobody waits for drops the unnamed file, which removes it.
            let _ = reply.send(answer);
        }
    }

    fn transaction(&self, batch: Vec<Request>, applied: &mut Vec<Applied>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            let mut files = transaction.open_table(FILES)?;
            for Request { label, key, change, reply } in batch {
                let (named, outcome) = apply((&label, key.as_str()), change, &mut objects, &mut files)?;
                applied.push(Applied { reply, named, outcome });
            }
        }
        // The files' names must be on disk before the index names them.
        self.directory.sync_all()?;
        transaction.commit()?;
        Ok(())
    }
}

/// Applies one change: the file that is named now, and the one that is no longer.
#[allow(clippy::type_complexity)]
fn apply(
    name: (&str, &str),
    change: Change,
    objects: &mut Table<'_, (&str, &str), &[u8]>,
    files: &mut Table<'_, u128, ()>,
) -> Result<(Option<DataFile>, Result<Option<u128>>), redb::Error> {
    let current = match objects.get(name)?.map(|record| Record::decode(record.value())).transpose() {
        Ok(record) => record.map(|record| record.file),
        Err(error) => return Ok((None, Err(error))),
    };
    let named = match change {
        Change::Put { if_absent: true, .. } if current.is_some() => return Ok((None, Err(Error::Conflict))),
        Change::Put { record, file, .. } => {
            let bytes = match postcard::to_stdvec(&record) {
                Ok(bytes) => bytes,
                Err(error) => return Ok((None, Err(Error::internal("write a record of the blob index", error)))),
            };
            objects.insert(name, bytes.as_slice())?;
            files.insert(file.id(), ())?;
            Some(file)
        }
        Change::Delete => {
            objects.remove(name)?;
            None
        }
    };
    if let Some(file) = current {
        files.remove(file)?;
    }
    Ok((named, Ok(current)))
}
