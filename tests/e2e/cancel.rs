//! `DELETE /jobs/<id>` in the midst of a conversion: the work stops within a second, and nothing remains.

use std::path::Path;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};

use crate::support::client::{User, Visitor, accepted, problem};
use crate::support::server::{Launch, Server};
use crate::support::{eventually, mail, media};

async fn delete(user: &User, id: &str) -> reqwest::Response {
    user.request(Method::DELETE, &format!("/jobs/{id}")).send().await.expect("an answer")
}

/// What the server computes, in hundredths of a second, until it is idle for half a second.
async fn until_idle(server: &Server) -> u64 {
    let before = server.computed();
    eventually("the server is idle", async || {
        let now = server.computed();
        tokio::time::sleep(Duration::from_millis(500)).await;
        (server.computed() < now + 3).then_some(())
    })
    .await;
    server.computed() - before
}

/// Checks that it computes for no more than a second: of processor time, as a machine with much else to do takes longer,
/// and of all processors, as all may have been at work.
async fn stops(server: &Server) {
    let most = 100 * available_parallelism().map_or(1, usize::from) as u64;
    let more = until_idle(server).await;
    assert!(more < most, "it still computed for {more} hundredths of a second");
    println!("{more} hundredths of a second of computing after the deletion");
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
        // It computes for long, on however busy a machine, which an idle server does not.
        let before = server.computed();
        eventually("it computes", async || (server.computed() > before + 50).then_some(())).await;
        assert_eq!(delete(&user, &id).await.status(), StatusCode::NO_CONTENT);
        problem(user.get(&format!("/jobs/{id}")).await, 404).await;
        problem(user.download(&id).await, 404).await;
        problem(delete(&user, &id).await, 404).await;
        stops(&server).await;
        eventually("nothing remains of it", async || blobs(state.path()).is_empty().then_some(())).await;
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
        // With much patience for a machine that has much else to do.
        assert!(taken < Duration::from_secs(30), "{taken:?}");
        stops(&server).await;
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
