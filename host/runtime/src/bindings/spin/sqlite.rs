//! Spin's `sqlite`, of Spin 1 to 4, over [`sql::Database`].

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use tessera_capability::{Error, Result, sql};
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use super::generated::fermyon::spin::sqlite as v1;
use super::generated::fermyon::spin2_0_0::sqlite as v2;
use super::generated::spin::sqlite::sqlite as v3;
use super::{MAX_RESULT, Spin, View, text, too_much};
use crate::bindings::stream::Items;
use crate::grants::Grants;

/// A connection that a component has open.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated bindings hand it on")]
pub struct Connected {
    connection: Arc<dyn sql::Connection>,
    grants: Arc<Grants>,
}

/// All rows at once.
struct Table {
    columns: Vec<String>,
    rows: Vec<sql::Row>,
}

impl Connected {
    async fn open(grants: Arc<Grants>, database: &str) -> Result<Self> {
        Ok(Self { connection: grants.database(database)?.connect().await?, grants })
    }

    async fn execute(&self, statement: String, parameters: Vec<sql::Value>) -> Result<Table> {
        let sql::Rows { columns, rows: mut batches } = self.connection.query(statement, parameters).await?;
        let mut rows = Vec::new();
        let mut size = 0_usize;
        while let Some(batch) = batches.try_next().await? {
            size = batch.iter().flatten().fold(size, |size, value| size.saturating_add(value.size()));
            if size > MAX_RESULT {
                return Err(too_much());
            }
            rows.extend(batch);
        }
        Ok(Table { columns, rows })
    }
}

/// What each version of the interface has alike: its values, rows and errors.
macro_rules! alike {
    ($version:ident) => {
        impl From<sql::Value> for $version::Value {
            fn from(value: sql::Value) -> Self {
                match value {
                    sql::Value::Null => Self::Null,
                    sql::Value::Integer(number) => Self::Integer(number),
                    sql::Value::Real(number) => Self::Real(number),
                    sql::Value::Text(text) => Self::Text(text),
                    sql::Value::Blob(bytes) => Self::Blob(bytes),
                }
            }
        }

        impl From<$version::Value> for sql::Value {
            fn from(value: $version::Value) -> Self {
                match value {
                    $version::Value::Null => Self::Null,
                    $version::Value::Integer(number) => Self::Integer(number),
                    $version::Value::Real(number) => Self::Real(number),
                    $version::Value::Text(text) => Self::Text(text),
                    $version::Value::Blob(bytes) => Self::Blob(bytes),
                }
            }
        }

        impl From<sql::Row> for $version::RowResult {
            fn from(row: sql::Row) -> Self {
                Self { values: row.into_iter().map(Into::into).collect() }
            }
        }

        impl From<Table> for $version::QueryResult {
            fn from(table: Table) -> Self {
                Self { columns: table.columns, rows: table.rows.into_iter().map(Into::into).collect() }
            }
        }

        impl $version::Error {
            fn new(grants: &Grants, call: &str, error: &Error) -> Self {
                match error {
                    Error::Full(_) => Self::DatabaseFull,
                    error => Self::Io(text(grants, call, error)),
                }
            }

            /// Of opening: the one call that a grant can be missing for.
            fn opening(grants: &Grants, error: &Error) -> Self {
                match error {
                    Error::Denied(_) => Self::AccessDenied,
                    error => Self::new(grants, "open", error),
                }
            }
        }
    };
}

alike!(v1);
alike!(v2);
alike!(v3);

const TOO_MANY: &str = "too many connections opened";

impl v2::Host for View<'_> {}

impl v2::HostConnection for View<'_> {
    async fn open(&mut self, database: String) -> wasmtime::Result<Result<Resource<Connected>, v2::Error>> {
        Ok(match Connected::open(Arc::clone(self.grants), &database).await {
            Ok(connected) => self.open.push(connected).map_err(|_| v2::Error::Io(TOO_MANY.into())),
            Err(error) => Err(v2::Error::opening(self.grants, &error)),
        })
    }

    async fn execute(
        &mut self,
        connection: Resource<Connected>,
        statement: String,
        parameters: Vec<v2::Value>,
    ) -> wasmtime::Result<Result<v2::QueryResult, v2::Error>> {
        let connection = self.open.get(&connection)?.clone();
        let table = connection.execute(statement, parameters.into_iter().map(Into::into).collect()).await;
        Ok(table.map(Into::into).map_err(|error| v2::Error::new(&connection.grants, "execute", &error)))
    }

    async fn drop(&mut self, connection: Resource<Connected>) -> wasmtime::Result<()> {
        self.open.delete(connection)?;
        Ok(())
    }
}

impl v3::Host for View<'_> {}

impl v3::HostConnection for View<'_> {
    async fn open(&mut self, database: String) -> wasmtime::Result<Result<Resource<Connected>, v3::Error>> {
        Ok(match Connected::open(Arc::clone(self.grants), &database).await {
            Ok(connected) => self.open.push(connected).map_err(|_| v3::Error::Io(TOO_MANY.into())),
            Err(error) => Err(v3::Error::opening(self.grants, &error)),
        })
    }

    async fn execute(
        &mut self,
        connection: Resource<Connected>,
        statement: String,
        parameters: Vec<v3::Value>,
    ) -> wasmtime::Result<Result<v3::QueryResult, v3::Error>> {
        let connection = self.open.get(&connection)?.clone();
        let table = connection.execute(statement, parameters.into_iter().map(Into::into).collect()).await;
        Ok(table.map(Into::into).map_err(|error| v3::Error::new(&connection.grants, "execute", &error)))
    }

    async fn last_insert_rowid(&mut self, connection: Resource<Connected>) -> wasmtime::Result<i64> {
        let connection = self.open.get(&connection)?.clone();
        Ok(connection.connection.last_insert_rowid().await?)
    }

    async fn changes(&mut self, connection: Resource<Connected>) -> wasmtime::Result<u64> {
        let connection = self.open.get(&connection)?.clone();
        Ok(connection.connection.changes().await?)
    }

    async fn drop(&mut self, connection: Resource<Connected>) -> wasmtime::Result<()> {
        self.open.delete(connection)?;
        Ok(())
    }
}

fn connected<T>(accessor: &Accessor<T, Spin>, connection: &Resource<Connected>) -> wasmtime::Result<Connected> {
    accessor.with(|mut access| Ok(access.get().open.get(connection)?.clone()))
}

type Streamed = (Vec<String>, StreamReader<v3::RowResult>, FutureReader<Result<(), v3::Error>>);

impl<T: Send + 'static> v3::HostConnectionWithStore<T> for Spin {
    async fn open_async(
        accessor: &Accessor<T, Self>,
        database: String,
    ) -> wasmtime::Result<Result<Resource<Connected>, v3::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get().grants));
        Ok(match Connected::open(Arc::clone(&grants), &database).await {
            Ok(connected) => accessor
                .with(|mut access| access.get().open.push(connected))
                .map_err(|_| v3::Error::Io(TOO_MANY.into())),
            Err(error) => Err(v3::Error::opening(&grants, &error)),
        })
    }

    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
        statement: String,
        parameters: Vec<v3::Value>,
    ) -> wasmtime::Result<Result<Streamed, v3::Error>> {
        let Connected { connection, grants } = connected(accessor, &connection)?;
        let parameters = parameters.into_iter().map(Into::into).collect();
        let sql::Rows { columns, rows } = match connection.query(statement, parameters).await {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(v3::Error::new(&grants, "execute", &error))),
        };
        let rows = rows
            .map_ok(|rows| rows.into_iter().map(v3::RowResult::from).collect())
            .map_err(move |error| v3::Error::new(&grants, "execute", &error));
        let (rows, end) = Items::new(rows.boxed());
        accessor.with(|mut access| {
            let rows = StreamReader::new(&mut access, rows)?;
            Ok(Ok((columns, rows, FutureReader::new(&mut access, end)?)))
        })
    }

    async fn last_insert_rowid_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
    ) -> wasmtime::Result<i64> {
        Ok(connected(accessor, &connection)?.connection.last_insert_rowid().await?)
    }

    async fn changes_async(accessor: &Accessor<T, Self>, connection: Resource<Connected>) -> wasmtime::Result<u64> {
        Ok(connected(accessor, &connection)?.connection.changes().await?)
    }
}

impl v1::Host for View<'_> {
    async fn open(&mut self, database: String) -> wasmtime::Result<Result<u32, v1::Error>> {
        Ok(match Connected::open(Arc::clone(self.grants), &database).await {
            Ok(connected) => match self.open.push(connected) {
                Ok(connection) => Ok(connection.rep()),
                Err(_) => Err(v1::Error::Io(TOO_MANY.into())),
            },
            Err(error) => Err(v1::Error::opening(self.grants, &error)),
        })
    }

    async fn execute(
        &mut self,
        connection: u32,
        statement: String,
        parameters: Vec<v1::Value>,
    ) -> wasmtime::Result<Result<v1::QueryResult, v1::Error>> {
        let Ok(connection) = self.open.get(&Resource::<Connected>::new_borrow(connection)).cloned() else {
            return Ok(Err(v1::Error::InvalidConnection));
        };
        let table = connection.execute(statement, parameters.into_iter().map(Into::into).collect()).await;
        Ok(table.map(Into::into).map_err(|error| v1::Error::new(&connection.grants, "execute", &error)))
    }

    async fn close(&mut self, connection: u32) -> wasmtime::Result<()> {
        // No effect if it is not open.
        _ = self.open.delete(Resource::<Connected>::new_own(connection));
        Ok(())
    }
}
