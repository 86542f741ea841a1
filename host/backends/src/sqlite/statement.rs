//! One statement, from its parameters to its last row.
//!
//! It runs on a blocking thread and hands rows over in batches, ahead of its reader by [`AHEAD`]
//! bytes at most. A connection runs one statement at a time; the next one waits until the rows of
//! the last one are taken or dropped, but for those that fit ahead.

use std::sync::Arc;

use futures::StreamExt as _;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Statement, params_from_iter};
use tessera_capability::sql::{Row, Rows, Value};
use tessera_capability::{Error, Result};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Shared, authorize, lock, outcome};

/// The most bytes of rows that wait for their reader; a larger row waits alone.
const AHEAD: u32 = 1 << 20;

/// A batch is handed over when it has so many bytes.
const BATCH: usize = 16 << 10;

type Batch = (Vec<Row>, OwnedSemaphorePermit);

/// Ends a statement whose reader went away.
struct Interrupt {
    shared: Arc<Shared>,
    mark: Arc<()>,
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // Under the lock, so that it is not the next statement that is interrupted.
        let running = lock(&self.shared.running);
        if running.as_ref().is_some_and(|running| Arc::ptr_eq(running, &self.mark)) {
            self.shared.interrupt.interrupt();
        }
    }
}

/// Where rows go.
struct Output {
    rows: mpsc::UnboundedSender<Result<Batch>>,
    room: Arc<Semaphore>,
    runtime: Handle,
}

impl Output {
    /// Hands rows over, once there is room for them; `false` if nobody wants them any more.
    fn send(&self, rows: Vec<Row>, size: usize) -> bool {
        let size = u32::try_from(size).unwrap_or(AHEAD).min(AHEAD);
        let waiting = async {
            tokio::select! {
                permit = Arc::clone(&self.room).acquire_many_owned(size) => permit.ok(),
                () = self.rows.closed() => None,
            }
        };
        self.runtime.block_on(waiting).is_some_and(|permit| self.rows.send(Ok((rows, permit))).is_ok())
    }
}

pub(super) async fn query(shared: &Arc<Shared>, statement: String, parameters: Vec<Value>) -> Result<Rows> {
    let (started, start) = oneshot::channel();
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(usize::try_from(AHEAD).unwrap_or(usize::MAX)));
    let output = Output { rows: sender, room, runtime: Handle::current() };
    let mark = Arc::new(());
    let interrupt = Interrupt { shared: Arc::clone(shared), mark: Arc::clone(&mark) };
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || run(&shared, mark, &statement, parameters, &output, started));
    let columns = start.await.map_err(|error| Error::internal("run a statement of SQLite", error))??;
    let rows = futures::stream::unfold((receiver, interrupt), |(mut receiver, interrupt)| async move {
        let batch = receiver.recv().await?;
        // Its room is free again as soon as it is taken.
        Some((batch.map(|(rows, _room)| rows), (receiver, interrupt)))
    });
    Ok(Rows { columns, rows: rows.boxed() })
}

/// Runs the statement to its end. `started` gets the columns after the first step, or why there is
/// none; later faults follow the rows.
fn run(
    shared: &Shared,
    mark: Arc<()>,
    statement: &str,
    parameters: Vec<Value>,
    output: &Output,
    started: oneshot::Sender<Result<Vec<String>>>,
) {
    let mut sqlite = lock(&shared.sqlite);
    if started.is_closed() {
        // Its caller went away while it waited for its turn.
        return;
    }
    *lock(&shared.running) = Some(mark);
    let mut started = Some(started);
    let result = (|| {
        // What the host itself runs is not restricted; what guests prepare is.
        sqlite.authorizer(Some(authorize)).map_err(outcome)?;
        let mut statement = sqlite.prepare(statement).map_err(outcome)?;
        step(shared, &mut statement, parameters, output, &mut started)
    })();
    *lock(&shared.running) = None;
    match (result, started) {
        (Err(error), Some(started)) => _ = started.send(Err(error)),
        // The reader may have gone.
        (Err(error), None) => _ = output.rows.send(Err(error)),
        (Ok(()), _) => {}
    }
}

fn step(
    shared: &Shared,
    statement: &mut Statement<'_>,
    parameters: Vec<Value>,
    output: &Output,
    started: &mut Option<oneshot::Sender<Result<Vec<String>>>>,
) -> Result<()> {
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let width = columns.len();
    let reads = statement.readonly();
    let mut rows = statement.query(params_from_iter(parameters.into_iter().map(Parameter))).map_err(outcome)?;
    let mut next = rows.next().map_err(outcome)?;
    if !reads {
        // All that it writes is written with its first row (https://sqlite.org/lang_returning.html). To interrupt it now
        // would undo that, though it has answered.
        *lock(&shared.running) = None;
    }
    if let Some(started) = started.take()
        && started.send(Ok(columns)).is_err()
    {
        return Ok(());
    }
    let mut batch = Vec::new();
    let mut size = 0_usize;
    while let Some(row) = next {
        let row: Row = (0..width).map(|column| value(row.get_ref(column).map_err(outcome)?)).collect::<Result<_>>()?;
        size = row.iter().fold(size, |size, value| size.saturating_add(value.size()));
        batch.push(row);
        if size >= BATCH {
            if !output.send(std::mem::take(&mut batch), size) {
                return Ok(());
            }
            size = 0;
        }
        next = rows.next().map_err(outcome)?;
    }
    if !batch.is_empty() {
        output.send(batch, size);
    }
    Ok(())
}

struct Parameter(Value);

impl ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match &self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn value(value: ValueRef<'_>) -> Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|_| Error::Invalid("the text is not UTF-8".into()))?;
            Value::Text(text.to_owned())
        }
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_owned()),
    })
}
