//! SQL databases in SQLite files, one for each label.
//!
//! Every connection of a component is one of SQLite's own, in WAL mode: readers and the one writer
//! do not wait for one another, and a commit is on disk when it is answered. Statements run on
//! blocking threads and are interrupted when their caller goes away. What a statement could reach
//! beside its database, or change for the whole process, an authorizer refuses.

mod statement;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection as Sqlite, ErrorCode, InterruptHandle};
use tessera_capability::sql::{self, MAX_STATEMENT, MAX_VALUE};
use tessera_capability::{Error, Result};

/// How long a statement waits for another one's lock.
const BUSY: Duration = Duration::from_secs(5);

/// Settings that concern more than the database, or the machine's memory.
const REFUSED_PRAGMAS: &[&str] = &[
    "busy_timeout",
    "cache_size",
    "data_store_directory",
    "hard_heap_limit",
    "mmap_size",
    "soft_heap_limit",
    "temp_store",
    "temp_store_directory",
    "threads",
];

/// A database in a file.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
}

impl Database {
    /// Opens the database, and makes it if there is none.
    ///
    /// Blocking: call it off the async threads.
    ///
    /// # Errors
    /// `Internal` if the file or its directory cannot be made or is not a database.
    pub fn open(path: &Path) -> Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|error| Error::internal("make the directory of a SQLite database", error))?;
        }
        let sqlite = open(path).map_err(|error| Error::internal("open the SQLite database", error))?;
        // Kept in the file.
        sqlite
            .pragma_update(None, "journal_mode", "wal")
            .map_err(|error| Error::internal("open the SQLite database", error))?;
        Ok(Self { path: path.to_owned() })
    }
}

#[async_trait]
impl sql::Database for Database {
    async fn connect(&self) -> Result<Arc<dyn sql::Connection>> {
        let path = self.path.clone();
        let sqlite = blocking(move || open(&path).map_err(outcome)).await?;
        let interrupt = sqlite.get_interrupt_handle();
        Ok(Arc::new(Connection(Arc::new(Shared { sqlite: Mutex::new(sqlite), running: Mutex::new(None), interrupt }))))
    }
}

fn open(path: &Path) -> rusqlite::Result<Sqlite> {
    let sqlite = Sqlite::open(path)?;
    sqlite.busy_timeout(BUSY)?;
    sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    sqlite.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(MAX_VALUE).unwrap_or(i32::MAX))?;
    sqlite.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, i32::try_from(MAX_STATEMENT).unwrap_or(i32::MAX))?;
    Ok(sqlite)
}

/// Refuses what reaches out of the database.
fn authorize(context: AuthContext<'_>) -> Authorization {
    match context.action {
        // `VACUUM` attaches a file without a name; `VACUUM INTO`, and an expression for a name,
        // come here too.
        AuthAction::Attach { filename: "" } => Authorization::Allow,
        AuthAction::Attach { .. } | AuthAction::Unknown { .. } => Authorization::Deny,
        AuthAction::Pragma { pragma_name, pragma_value: Some(_) }
            if REFUSED_PRAGMAS.iter().any(|refused| refused.eq_ignore_ascii_case(pragma_name)) =>
        {
            Authorization::Deny
        }
        _ => Authorization::Allow,
    }
}

/// A connection, and which of its statements runs.
struct Shared {
    sqlite: Mutex<Sqlite>,
    /// The mark of the running statement.
    running: Mutex<Option<Arc<()>>>,
    interrupt: InterruptHandle,
}

/// A connection of one component.
struct Connection(Arc<Shared>);

#[async_trait]
impl sql::Connection for Connection {
    async fn query(&self, statement: String, parameters: Vec<sql::Value>) -> Result<sql::Rows> {
        if statement.len() > MAX_STATEMENT {
            return Err(Error::TooLarge(format!("a statement has at most {MAX_STATEMENT} bytes")));
        }
        statement::query(&self.0, statement, parameters).await
    }

    async fn run(&self, statements: String) -> Result<()> {
        let shared = Arc::clone(&self.0);
        blocking(move || lock(&shared.sqlite).execute_batch(&statements).map_err(outcome)).await
    }

    async fn last_insert_rowid(&self) -> Result<i64> {
        let shared = Arc::clone(&self.0);
        blocking(move || Ok(lock(&shared.sqlite).last_insert_rowid())).await
    }

    async fn changes(&self) -> Result<u64> {
        let shared = Arc::clone(&self.0);
        blocking(move || Ok(lock(&shared.sqlite).changes())).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let task = tokio::task::spawn_blocking(work);
    task.await.map_err(|error| Error::internal("run a statement of SQLite", error))?
}

/// A statement that panicked left nothing half done: SQLite rolls it back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a failure means for the caller. SQLite's own text says what is wrong with a statement.
fn outcome(error: rusqlite::Error) -> Error {
    let text = match &error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::Full(text),
        Some(ErrorCode::TooBig) => Error::TooLarge(text),
        Some(ErrorCode::AuthorizationForStatementDenied) => Error::Denied(text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::unavailable(text, error),
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::CannotOpen
            | ErrorCode::NotADatabase
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::InternalMalfunction,
        ) => Error::internal("run a statement of SQLite", error),
        _ => Error::Invalid(text),
    }
}
