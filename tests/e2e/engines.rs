//! The same application on other engines: nothing but the operator's file changes.

use reqwest::StatusCode;

use crate::support::client::Visitor;
use crate::support::fixtures::{Fixture, manifest};
use crate::support::server::Launch;
use crate::support::services::{Certificates, Redis, Smtp, TcpRedis};
use crate::support::{eventually, media};

#[tokio::test]
async fn the_story_on_redis_and_smtp() {
    let (Some(redis), Some(smtp)) = (Redis::start(), Smtp::start()) else { return };
    let state = tempfile::tempdir().unwrap();
    let url = redis.url();
    let mut config = format!("[queue]\ntype = \"redis\"\nurl = \"{url}\"\n");
    for store in ["accounts", "events", "jobs", "keys"] {
        config += &format!("[key_value_store.{store}]\ntype = \"redis\"\nurl = \"{url}\"\n");
    }
    config += &format!(
        "[mail]\ntype = \"smtp\"\nfrom = \"MP3s <mp3@example.org>\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n",
        smtp.port
    );
    let file = state.path().join("runtime-config.toml");
    std::fs::write(&file, config).unwrap();
    let start = || {
        let file = file.to_str().expect("a path in UTF-8");
        Launch::application().argument("--runtime-config-file").argument(file).start(state.path())
    };

    let server = start();
    server.output.line_with(&["Mail goes to", &smtp.port.to_string()]);
    let user = Visitor::of(&server).user().await;
    let id = user.upload(&media::clip("mp4")).await;
    user.done(&id).await;
    assert_eq!(user.download(&id).await.status(), StatusCode::OK);
    let letter = eventually("the mail arrives", async || smtp.taken().pop()).await;
    assert_eq!((&letter.to, letter.from.as_str()), (&user.email, "mp3@example.org"));
    assert!(letter.text.contains(&id) && !letter.message_id.is_empty(), "{letter:?}");
    assert_ne!(redis.ask(&["DBSIZE"]), "0", "the state is in Redis");
    assert!(!state.path().join("mail").exists(), "no mail is in the embedded outbox");

    // Killed while jobs are on their way, it goes on where it was.
    let mut jobs = vec![user.upload(&media::long()).await];
    for _ in 0..3 {
        jobs.push(user.upload(&media::short()).await);
    }
    eventually("a conversion is under way", async || {
        (user.job(&jobs[0]).await["status"] == "converting").then_some(())
    })
    .await;
    server.kill();
    let server = start();
    let user = user.at(&server);
    for id in &jobs {
        user.done(id).await;
    }
    for id in jobs.iter().chain([&id]) {
        let about = eventually("there is a mail about each", async || {
            let about: Vec<_> = smtp.taken().into_iter().filter(|mail| mail.text.contains(id.as_str())).collect();
            (!about.is_empty()).then_some(about)
        })
        .await;
        // A crash between the server's answer and our note of it sends a mail again, as the same one.
        assert!(about.iter().all(|mail| mail.message_id == about[0].message_id), "{about:?}");
    }
}

#[tokio::test]
async fn redis_by_tls_is_trusted_by_the_authority_that_the_operator_names() {
    let certificates = Certificates::new();
    let Some(redis) = TcpRedis::encrypted(&certificates, "hunter2") else { return };
    let directory = tempfile::tempdir().unwrap();
    let application = manifest(
        directory.path(),
        "[[trigger.http]]\nroute = \"/7/...\"\ncomponent = \"seven\"\n\
         [component.seven]\nsource = \"<spin7>\"\nkey_value_stores = [\"default\"]\n",
    );
    let file = directory.path().join("runtime-config.toml");
    let launch = |ca: &str| {
        let engine = format!("type = \"redis\"\nurl = \"rediss://:hunter2@localhost:{}\"\n{ca}", redis.port);
        std::fs::write(&file, format!("[queue]\n{engine}[key_value_store.default]\n{engine}")).unwrap();
        let file = file.to_str().expect("a path in UTF-8");
        Launch::manifest(&application).argument("--runtime-config-file").argument(file)
    };
    let refused = launch("").refused(directory.path());
    assert!(refused.contains("not trusted") && refused.contains("ca_file"), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
    let server = launch(&format!("ca_file = \"{}\"\n", certificates.ca())).start(directory.path());
    let app = Fixture { server, directory };
    assert_eq!(app.probe("7/key-value/set/default/key", "value").await, "ok");
    assert_eq!(app.probe("7/key-value/get/default/key", "").await, "value");
}
