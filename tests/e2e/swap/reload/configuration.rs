//! A changed `runtime-config.toml`, and changed files of `--sqlite`.

use reqwest::StatusCode;

use super::{FIXED, PROBE, configure, start};
use crate::support::operator::{self, refused};

#[tokio::test]
async fn mail_and_the_network_change() {
    let content = PROBE.to_owned()
        + "allowed_outbound_hosts = [\"http://127.0.0.1:*\"]\n[component.probe.tool.tessera]\nmail = true\n";
    let fixture = start(&content, "[mail]\nfrom = \"one@example.org\"\n", &[]);
    let own = format!("probe/get/-?{}/.well-known/spin/health", fixture.server.url);
    let sent = async || {
        assert_eq!(fixture.probe("probe/mail/-?you@example.org", "").await, "ok");
        operator::json(fixture.root(), &["mail", "ls"]).to_string()
    };
    let mails = sent().await;
    assert!(mails.contains("one@example.org") && !mails.contains("two@example.org"), "{mails}");
    let mail = "[mail]\nfrom = \"two@example.org\"\n";
    configure(fixture.root(), mail);
    assert_eq!(fixture.reload(), ["[mail] changed"]);
    let mails = sent().await;
    assert!(mails.contains("two@example.org"), "{mails}");

    assert_eq!(fixture.probe(&own, "").await, "200 OK");
    configure(fixture.root(), &format!("{mail}[outbound_networking]\nblock_networks = [\"private\"]\n"));
    assert_eq!(fixture.reload(), ["[outbound_networking] changed"]);
    let answer = fixture.probe(&own, "").await;
    assert!(answer.contains("Prohibited"), "{answer}");
    configure(fixture.root(), mail);
    assert_eq!(fixture.reload(), ["[outbound_networking] changed"]);
    assert_eq!(fixture.probe(&own, "").await, "200 OK");
}

#[tokio::test]
async fn changed_files_of_sql_are_run() {
    const CONTENT: &str = "[[trigger.http]]\nroute = \"/7/...\"\ncomponent = \"seven\"\n\
        [component.seven]\nsource = \"<spin7>\"\nsqlite_databases = [\"default\"]\n";
    let sql = tempfile::tempdir().expect("a directory");
    let file = sql.path().join("tables.sql");
    std::fs::write(&file, "CREATE TABLE a(x INTEGER); INSERT INTO a VALUES (1);").expect("room");
    let given = format!("@{}", file.display());
    let fixture = start(CONTENT, "", &["--sqlite", &given, "--sqlite", "CREATE TABLE b(y INTEGER)"]);
    let rows = async || fixture.probe("7/sqlite/execute/default", "SELECT x FROM a ORDER BY rowid").await;
    assert!(rows().await.starts_with("x\ni1\nchanges"), "{}", rows().await);
    assert!(fixture.reload().is_empty(), "what has not changed is not run again");
    std::fs::write(&file, "INSERT INTO a VALUES (2);").expect("room");
    assert_eq!(fixture.reload(), [format!("--sqlite {given} run again")]);
    assert!(rows().await.starts_with("x\ni1\ni2\nchanges"), "{}", rows().await);
    assert!(fixture.reload().is_empty());
    // What fails refuses the reload.
    std::fs::write(&file, "INSERT INTO nowhere VALUES (2);").expect("room");
    fixture.write(&format!("{CONTENT}{FIXED}"));
    let answer = refused(fixture.root(), &["reload"]);
    assert!(answer.contains(&given) && answer.contains("no such table: nowhere"), "{answer}");
    assert_eq!(fixture.status("fixed").await, StatusCode::NOT_FOUND);
}
