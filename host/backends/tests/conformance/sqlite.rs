//! SQLite databases: order, transactions, back-pressure, and the end of what nobody waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use tempfile::TempDir;
use tessera_backends::sqlite::Database;
use tessera_capability::sql::{Connection, Database as _, Row, Value};
use tessera_capability::{Error, Result};

/// Numbers from 1 to the limit.
const NUMBERS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i FROM n";

async fn database() -> (TempDir, Database) {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(&directory.path().join("deep/data.db")).unwrap();
    (directory, database)
}

async fn all(connection: &Arc<dyn Connection>, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>> {
    let rows = connection.query(statement.to_owned(), parameters).await?.rows;
    Ok(rows.try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_belongs_to_its_connection_and_ends_with_it() {
    let (_directory, database) = database().await;
    let (one, two) = (database.connect().await.unwrap(), database.connect().await.unwrap());
    one.run("CREATE TABLE t(x); BEGIN; INSERT INTO t VALUES (1)".to_owned()).await.unwrap();
    assert_eq!(one.changes().await.unwrap(), 1);
    assert_eq!((one.last_insert_rowid().await.unwrap(), two.last_insert_rowid().await.unwrap()), (1, 0));
    assert_eq!(all(&one, "SELECT x FROM t", vec![]).await.unwrap(), [[Value::Integer(1)]]);
    assert!(all(&two, "SELECT x FROM t", vec![]).await.unwrap().is_empty());
    drop(one);
    // Its lock is free again.
    all(&two, "INSERT INTO t VALUES (2)", vec![]).await.unwrap();
    assert_eq!(all(&two, "SELECT x FROM t", vec![]).await.unwrap(), [[Value::Integer(2)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_has_done_its_work_when_it_answers() {
    let (_directory, database) = database().await;
    let (one, two) = (database.connect().await.unwrap(), database.connect().await.unwrap());
    drop(one.query("CREATE TABLE t(x)".to_owned(), vec![]).await.unwrap());
    for times in 1..=200 {
        // Whoever does not look at the rows has written them nevertheless.
        drop(one.query("INSERT INTO t VALUES (1), (2) RETURNING x".to_owned(), vec![]).await.unwrap());
        assert_eq!(all(&one, "SELECT count(*) FROM t", vec![]).await.unwrap(), [[Value::Integer(times * 2)]]);
    }
    assert_eq!(all(&two, "SELECT count(*) FROM t", vec![]).await.unwrap(), [[Value::Integer(400)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_wait_for_their_reader_and_others_need_not() {
    let (_directory, database) = database().await;
    let connection = database.connect().await.unwrap();
    // Fewer rows than wait ahead: the connection is free for the next statement.
    let mut few = connection.query(NUMBERS.to_owned(), vec![Value::Integer(1000)]).await.unwrap();
    assert_eq!(all(&connection, "SELECT 1", vec![]).await.unwrap(), [[Value::Integer(1)]]);
    assert_eq!(few.rows.next().await.unwrap().unwrap()[0], [Value::Integer(1)]);
    // More: the next statement waits for its turn, which comes when they are dropped.
    let many = connection.query(NUMBERS.to_owned(), vec![Value::Integer(1_000_000)]).await.unwrap();
    let next = all(&connection, "SELECT 2", vec![]);
    let mut next = std::pin::pin!(next);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut next).await.is_err());
    drop(many);
    assert_eq!(next.await.unwrap(), [[Value::Integer(2)]]);
    assert_eq!(all(&connection, NUMBERS, vec![Value::Integer(100_000)]).await.unwrap().len(), 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_is_interrupted() {
    let (_directory, database) = database().await;
    let connection = database.connect().await.unwrap();
    let forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let query = connection.query(forever.to_owned(), vec![]);
    assert!(tokio::time::timeout(Duration::from_millis(100), query).await.is_err());
    let start = Instant::now();
    assert_eq!(all(&connection, "SELECT 3", vec![]).await.unwrap(), [[Value::Integer(3)]]);
    assert!(start.elapsed() < Duration::from_secs(10), "the statement before was interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_told_apart() {
    let (_directory, database) = database().await;
    let connection = database.connect().await.unwrap();
    let fault = async |statement: &str| all(&connection, statement, vec![]).await.unwrap_err();
    assert!(matches!(fault("SELECT * FROM missing").await, Error::Invalid(text) if text == "no such table: missing"));
    assert!(matches!(fault("ATTACH '/tmp/x' AS x").await, Error::Denied(_)));
    assert!(matches!(fault("VACUUM INTO '/tmp/x'").await, Error::Denied(_)));
    assert!(matches!(fault("SELECT zeroblob(100000000)").await, Error::TooLarge(_)));
    assert!(matches!(fault(&format!("SELECT '{}'", "x".repeat(2 << 20))).await, Error::TooLarge(_)));
    all(&connection, "CREATE TABLE t(x)", vec![]).await.unwrap();
    all(&connection, "PRAGMA max_page_count = 4", vec![]).await.unwrap();
    assert!(matches!(fault("INSERT INTO t VALUES (zeroblob(100000))").await, Error::Full(_)));
    // A fault after the first rows follows them.
    let late = "SELECT abs(CASE i WHEN 30000 THEN -9223372036854775807 - 1 ELSE i END) FROM \
                (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40000) SELECT i FROM n)";
    let rows = connection.query(late.to_owned(), vec![]).await.unwrap().rows;
    let batches: Vec<_> = rows.collect().await;
    assert!(batches.len() > 2 && batches.last().unwrap().is_err());
}
