//! SQLite as Spin's components use it.

use std::path::Path;
use std::process::Command;

use crate::support::fixtures::{Fixture, manifest};
use crate::support::server::Launch;

const CONTENT: &str = r#"
[[trigger.http]]
route = "/5/..."
component = "five"

[[trigger.http]]
route = "/6/..."
component = "six"

[[trigger.http]]
route = "/7/..."
component = "seven"

[component.five]
source = "<spin5>"
sqlite_databases = ["default"]

[component.six]
source = "<sdk6>"
sqlite_databases = ["default"]

[component.seven]
source = "<spin7>"
sqlite_databases = ["default", "other"]
"#;

async fn run(app: &Fixture, statement: &str) -> String {
    app.probe("7/sqlite/execute/default", statement).await
}

#[tokio::test]
async fn every_version_of_the_interface_sees_the_same_rows() {
    let app = Fixture::start(CONTENT);
    let table = "CREATE TABLE IF NOT EXISTS kept(number INTEGER PRIMARY KEY, half REAL, text TEXT, bytes BLOB)";
    assert!(run(&app, table).await.starts_with("\nchanges 0"), "no rows");
    let inserted = run(&app, "INSERT INTO kept VALUES (?, ?, ?, ?)\ni7\nr0.5\ntÜber\nbraw").await;
    assert_eq!(inserted, "\nchanges 1 rowid 7");
    let read = run(&app, "SELECT * FROM kept WHERE number = ?\ni7").await;
    assert_eq!(read.lines().collect::<Vec<_>>(), ["number|half|text|bytes", "i7|r0.5|tÜber|braw", "changes 0 rowid 0"]);
    let shown = "number|half|text|bytes\nValue::Integer(7)|Value::Real(0.5)|Value::Text(\"Über\")|Value::Blob([114, 97, 119])\n";
    for interface in ["5/sqlite", "5/sqlite-1"] {
        let read = app.probe(&format!("{interface}/execute/default"), "SELECT * FROM kept").await;
        assert_eq!(read, shown, "{interface}");
    }
    let read =
        app.probe("5/sqlite-3/execute/default", "SELECT number, NULL AS absent FROM kept WHERE number = ?").await;
    assert_eq!(read, "number|absent\nValue::Integer(7)|Value::Null\nchanges 0 rowid 0");
    let inserted = app.probe("5/sqlite-3/execute/default", "INSERT INTO kept(number) VALUES (8), (9)").await;
    assert_eq!(inserted, "\nchanges 2 rowid 9");
    // What one SDK's component inserts, the other's reads.
    let inserted =
        app.probe("6/sqlite/execute/default", "INSERT INTO kept VALUES (?, ?, ?, ?)\ni10\nr-1.5\ntsechs\nn").await;
    assert_eq!(inserted, "\nchanges 1 rowid 10");
    for interface in ["7/sqlite", "6/sqlite"] {
        let read = app.probe(&format!("{interface}/execute/default"), "SELECT * FROM kept WHERE number = ?\ni10").await;
        assert!(read.starts_with("number|half|text|bytes\ni10|r-1.5|tsechs|n\n"), "{interface}: {read}");
        assert_eq!(app.probe(&format!("{interface}/count/default"), "SELECT * FROM kept").await, "4");
    }
    // Another label is another database.
    let other = app.probe("7/sqlite/execute/other", "SELECT * FROM kept").await;
    assert_eq!(other, "Error::Io(\"no such table: kept\")");
}

#[tokio::test]
async fn errors_are_those_of_spin() {
    let app = Fixture::start(CONTENT);
    for path in [
        "7/sqlite/execute/forbidden",
        "6/sqlite/execute/other",
        "5/sqlite/execute/other",
        "5/sqlite-1/execute/other",
        "5/sqlite-3/execute/other",
    ] {
        assert_eq!(app.probe(path, "SELECT 1").await, "Error::AccessDenied", "{path}");
    }
    for path in [
        "7/sqlite/execute/default",
        "6/sqlite/execute/default",
        "5/sqlite/execute/default",
        "5/sqlite-1/execute/default",
    ] {
        assert_eq!(app.probe(path, "SELECT * FROM test_data").await, "Error::Io(\"no such table: test_data\")");
        assert!(app.probe(path, "SELEC").await.contains("syntax error"));
        assert!(app.probe(path, "SELECT 1; SELECT 2").await.contains("Multiple statements"));
    }
    assert!(run(&app, "SELECT ?").await.contains("Wrong number of parameters"));
    assert!(run(&app, "CREATE TABLE once(id INTEGER UNIQUE)").await.starts_with('\n'));
    assert_eq!(run(&app, "INSERT INTO once VALUES (1)").await, "\nchanges 1 rowid 1");
    assert!(run(&app, "INSERT INTO once VALUES (1)").await.contains("UNIQUE constraint failed"));
}

#[tokio::test]
async fn a_statement_cannot_leave_its_database() {
    let app = Fixture::start(CONTENT);
    let outside = app.directory.path().join("outside.db");
    for statement in [
        format!("ATTACH DATABASE '{}' AS outside", outside.display()),
        format!("ATTACH DATABASE 'file:{}?mode=rwc' AS outside", outside.display()),
        format!("ATTACH DATABASE '{}' || '' AS outside", outside.display()),
        format!("ATTACH DATABASE ? AS outside\nt{}", outside.display()),
        format!("VACUUM INTO '{}'", outside.display()),
        format!("VACUUM INTO ?\nt{}", outside.display()),
        "PRAGMA hard_heap_limit = 1".to_owned(),
        "PRAGMA temp_store_directory = '/'".to_owned(),
        "SELECT load_extension('/lib/x.so')".to_owned(),
        "SELECT readfile('/etc/passwd')".to_owned(),
        "SELECT writefile('/tmp/x', 'y')".to_owned(),
    ] {
        let answer = run(&app, &statement).await;
        assert!(answer.starts_with("Error::Io("), "{statement}: {answer}");
        assert!(!outside.exists(), "{statement}");
    }
    assert!(run(&app, "VACUUM").await.starts_with('\n'));
    assert!(run(&app, "PRAGMA foreign_keys = ON").await.starts_with('\n'));
    assert!(run(&app, "PRAGMA user_version = 3").await.starts_with('\n'));
    assert!(run(&app, "PRAGMA user_version").await.contains("i3"));
}

const MANY: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40000) \
                    SELECT i, hex(zeroblob(500)) FROM n";

#[tokio::test]
async fn streamed_rows_have_no_limit_and_collected_ones_have() {
    let app = Fixture::start(CONTENT);
    assert_eq!(app.probe("7/sqlite/count/default", MANY).await, "40000");
    for interface in ["5/sqlite", "5/sqlite-1", "5/sqlite-3"] {
        let collected = app.probe(&format!("{interface}/execute/default"), MANY).await;
        assert!(collected.contains("query result exceeds limit"), "{interface}: {}", collected.len());
    }
    let large = run(&app, "SELECT zeroblob(100000000)").await;
    assert!(large.contains("too big"), "{large}");
}

#[tokio::test]
async fn a_statement_ends_with_its_request() {
    let timeout = "[component.seven.tool.tessera]\nlimits = { timeout = \"300ms\" }\n";
    let app = Fixture::start(&format!("{CONTENT}{timeout}"));
    let forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let url = format!("{}/7/sqlite/execute/default", app.server.url);
    let response = reqwest::Client::new().post(url).body(forever).send().await.expect("an answer");
    assert_eq!(response.status(), 504);
    // The thread that ran it is free again: the process does not compute any more.
    crate::support::eventually("the statement ends", async || {
        let before = app.server.computed();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        (app.server.computed() - before < 5).then_some(())
    })
    .await;
}

/// What Python's sqlite3 reads of a database.
fn by_python(file: &Path, statement: &str) -> String {
    let script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall())";
    let output = Command::new("python3").args(["-c", script]).arg(file).arg(statement).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn other_programs_read_the_file_and_it_outlives_the_process() {
    let app = Fixture::start(CONTENT);
    run(&app, "CREATE TABLE kept(name TEXT)").await;
    run(&app, "INSERT INTO kept VALUES ('durable')").await;
    let file = app.directory.path().join("sqlite/default.db");
    assert_eq!(by_python(&file, "SELECT name FROM kept"), "[('durable',)]");
    assert_eq!(by_python(&file, "PRAGMA integrity_check"), "[('ok',)]");
    let Fixture { server, directory } = app;
    server.kill();
    let app = Fixture::start_in(directory, CONTENT);
    assert!(run(&app, "SELECT name FROM kept").await.starts_with("name\ntdurable\n"));
}

#[tokio::test]
async fn the_operator_says_where_the_file_is_and_what_runs_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("schema.sql"), "CREATE TABLE a(x);\nINSERT INTO a VALUES ('from a file');").unwrap();
    std::fs::write(at("other.sql"), "CREATE TABLE b AS SELECT 5 AS y").unwrap();
    std::fs::write(
        at("runtime.toml"),
        "[sqlite_database.default]\ntype = \"spin\"\npath = \"mine/data.db\"\n[sqlite_database.other]\ntype = \"spin\"\n",
    )
    .unwrap();
    let launch = || {
        Launch::manifest(&manifest(directory.path(), CONTENT))
            .argument("--runtime-config-file")
            .argument(at("runtime.toml").to_str().unwrap())
    };
    let server = launch()
        .argument("--sqlite")
        .argument(&format!("@{}", at("schema.sql").display()))
        .argument("--sqlite")
        .argument("INSERT INTO a VALUES ('from a statement')")
        .argument("--sqlite")
        .argument(&format!("@{}@other", at("other.sql").display()))
        .start(directory.path());
    let ask = async |path: &str, statement: &str| {
        let request = reqwest::Client::new().post(format!("{}/{path}", server.url)).body(statement.to_owned());
        request.send().await.unwrap().text().await.unwrap()
    };
    let a = ask("7/sqlite/execute/default", "SELECT x FROM a ORDER BY rowid").await;
    assert!(a.starts_with("x\ntfrom a file\ntfrom a statement\n"), "{a}");
    assert!(ask("7/sqlite/execute/other", "SELECT y FROM b").await.starts_with("y\ni5\n"));
    assert_eq!(by_python(&at("mine/data.db"), "SELECT count(*) FROM a"), "[(2,)]");
    server.stop();
    for (statement, complaint) in [
        ("CREATE TABLE a(x)", "table a already exists"),
        ("@missing.sql", "missing.sql"),
        ("@schema.sql@nowhere", "nowhere"),
        ("@", "file"),
    ] {
        let refused = launch().argument("--sqlite").argument(statement).refused(directory.path());
        assert!(refused.contains("--sqlite") && refused.contains(complaint), "{refused}");
    }
}
