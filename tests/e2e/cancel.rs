//! `DELETE /jobs/<id>` in the midst of a conversion: the work stops within a second, and nothing remains.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};

use crate::support::client::{User, Visitor, accepted, problem};
use crate::support::server::{Launch, Server};
use crate::support::{eventually, mail, media};

async fn delete(user: &User, id: &str) -> reqwest::Response {
    user.request(Method::DELETE, &format!("/jobs/{id}")).send().await.expect("an answer")
}

/// How much the server computes within a second, in hundredths of one processor.
async fn load(server: &Server) -> u64 {
    let before = server.computed();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.computed() - before
}

fn blobs(state: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(state.join("blobs/data")).expect("the blobs");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_conversion_stops_within_a_second() {
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().start(state.path());
    let user = Visitor::of(&server).user().await;
    let video = std::fs::read(media::two_hours()).unwrap();
    // While it encodes, and while it only measures.
    for query in ["", "&loudness=true"] {
        let request = user.request(Method::POST, &format!("/upload?filename=long.m4a{query}")).body(video.clone());
        let id = accepted(request.send().await.expect("an answer")).await;
        eventually("the conversion is under way", async || {
            (user.job(&id).await["progress"].as_u64() > Some(0)).then_some(())
        })
        .await;
        // Little on a machine with much else to do, and nothing like an idle server.
        let busy = load(&server).await;
        assert!(busy > 5, "it computes: {busy} %");
        assert_eq!(delete(&user, &id).await.status(), StatusCode::NO_CONTENT);
        problem(user.get(&format!("/jobs/{id}")).await, 404).await;
        problem(user.download(&id).await, 404).await;
        problem(delete(&user, &id).await, 404).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let load = load(&server).await;
        assert!(load < 5, "a second after the deletion it still computes: {load} %, {busy} % before");
        println!("{busy} % of a processor before the deletion, {load} % a second after it");
        assert_eq!(blobs(state.path()), Vec::<String>::new());
        assert!(mail::about(state.path(), &id).is_empty());
    }
}

/// When all parts are made, they are copied behind one another: that stops too.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_that_is_cancelled_while_its_parts_are_put_together_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().start(state.path());
    let user = Visitor::of(&server).user().await;
    // It takes a moment, which may be missed: it is tried again then.
    for _ in 0..5 {
        let id = user.upload_in_parts().await;
        media::assembly_begins(state.path(), 0).await;
        let start = Instant::now();
        assert_eq!(delete(&user, &id).await.status(), StatusCode::NO_CONTENT);
        eventually("everything is gone", async || blobs(state.path()).is_empty().then_some(())).await;
        let taken = start.elapsed();
        problem(user.get(&format!("/jobs/{id}")).await, 404).await;
        if converted(&server, &id).await {
            continue;
        }
        println!("everything was gone {taken:?} after the deletion");
        // With some patience for a machine that has much else to do.
        assert!(taken < Duration::from_secs(3), "{taken:?}");
        assert!(load(&server).await < 5, "it still computes");
        assert_eq!(blobs(state.path()), Vec::<String>::new());
        assert!(!converted(&server, &id).await && mail::about(state.path(), &id).is_empty());
        return;
    }
    panic!("every time the job was done before it could be deleted");
}

/// Whether the job came to its end.
async fn converted(server: &Server, id: &str) -> bool {
    let admin = Visitor::of(server).admin().await;
    admin.json("/api/v1/report/list?size=100&filter=events.converted").await.to_string().contains(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_that_waits_is_never_converted() {
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().start(state.path());
    let user = Visitor::of(&server).user().await;
    // As many conversions as there may be at once, and those that wait for them.
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(user.upload(&media::two_hours()).await);
    }
    for id in ids.iter().rev() {
        assert_eq!(delete(&user, id).await.status(), StatusCode::NO_CONTENT);
    }
    let id = user.upload(&media::short()).await;
    user.done(&id).await;
    assert_eq!(delete(&user, &id).await.status(), StatusCode::NO_CONTENT);
    eventually("everything is gone", async || blobs(state.path()).is_empty().then_some(())).await;
    assert!(server.stop().success());
    for id in ids {
        assert!(mail::about(state.path(), &id).is_empty());
    }
}
