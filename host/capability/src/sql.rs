//! The SQL contract: databases in SQLite's dialect, one for each label.
//!
//! It is what Spin's `sqlite` interface promises: a connection runs one statement after another, in
//! the order of the calls; a transaction belongs to its connection and is rolled back when that is
//! dropped. Only the labelled database can be reached: statements that name files (`ATTACH`,
//! `VACUUM INTO`) are refused.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::Result;

/// The most bytes of a statement.
pub const MAX_STATEMENT: usize = 1 << 20;
/// The most bytes of a value, and of a row.
pub const MAX_VALUE: usize = 16 << 20;

/// A value of a parameter or of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A signed 64-bit number.
    Integer(i64),
    /// A 64-bit floating point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Value {
    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let content = match self {
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
            Self::Null | Self::Integer(_) | Self::Real(_) => 0,
        };
        content.saturating_add(size_of::<Self>())
    }
}

/// The values of one row, in the order of the columns.
pub type Row = Vec<Value>;

/// What a statement gives.
pub struct Rows {
    /// The columns' names; none if the statement gives no rows.
    pub columns: Vec<String>,
    /// The rows, some at a time. Dropping it before its end stops the statement.
    pub rows: BoxStream<'static, Result<Vec<Row>>>,
}

/// A label's database.
#[async_trait]
pub trait Database: Send + Sync {
    /// A connection of its own.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    async fn connect(&self) -> Result<Arc<dyn Connection>>;
}

/// A connection to a database.
#[async_trait]
pub trait Connection: Send + Sync {
    /// Runs one statement. When this returns, a statement that changes something has done so.
    ///
    /// # Errors
    /// `Invalid` for what is wrong with the statement or its parameters, or for a constraint that
    /// does not hold; `TooLarge` over a limit; `Denied` for what reaches out of the database;
    /// `Full` if the database cannot grow; `Unavailable` if it is locked for too long; `Internal`.
    async fn query(&self, statement: String, parameters: Vec<Value>) -> Result<Rows>;

    /// Runs any number of statements without parameters, and gives no rows.
    ///
    /// # Errors
    /// As [`Connection::query`].
    async fn run(&self, statements: String) -> Result<()>;

    /// The rowid of the last row inserted on this connection; 0 if there was none.
    ///
    /// # Errors
    /// `Internal`.
    async fn last_insert_rowid(&self) -> Result<i64>;

    /// How many rows the last `INSERT`, `UPDATE` or `DELETE` on this connection changed.
    ///
    /// # Errors
    /// `Internal`.
    async fn changes(&self) -> Result<u64>;
}
