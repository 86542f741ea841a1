//! The course of a job as server-sent events, over real HTTP.

use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::support::client::{User, Visitor, accepted, problem};
use crate::support::server::{Launch, shared};
use crate::support::{eventually, media};

/// A stream of events, being read.
struct Events {
    response: Response,
    text: String,
}

/// One event, and when it came.
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
    time: Instant,
}

impl Events {
    async fn open(user: &User, id: &str) -> Self {
        let request = user.request(Method::GET, &format!("/jobs/{id}/events")).header("last-event-id", "no such id");
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, text: String::new() }
    }

    /// The next event, as a browser reads it; none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let lines: Vec<String> = block.lines().map(str::to_owned).collect();
                self.text = rest.to_owned();
                let field = |name: &str| {
                    lines.iter().find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned)
                };
                if let Some(data) = field("data") {
                    let data = serde_json::from_str(&data).expect("JSON");
                    return Some(Event {
                        name: field("event").expect("a name"),
                        id: field("id"),
                        data,
                        time: Instant::now(),
                    });
                }
                assert!(lines.iter().all(|line| line.starts_with(':') || line.starts_with("retry: ")), "{lines:?}");
            }
            let chunk = self.response.chunk().await.expect("a stream that ends well")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }
}

#[tokio::test]
async fn progress_is_told_every_second_until_the_end() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    // Long enough for several seconds, on a fast machine too.
    let id = user.upload_in_parts().await;
    let mut events = Events::open(&user, &id).await;
    let mut seen = Vec::new();
    let mut last = Instant::now();
    let (mut gaps, mut ids) = (Vec::new(), Vec::new());
    let end = loop {
        let event = events.next().await.expect("no end before the job's");
        assert_eq!(event.data["id"], id.as_str());
        ids.push(event.id.expect("an id"));
        let was_converting = seen.last().is_some_and(|(status, _)| status == "converting");
        gaps.extend(was_converting.then_some(event.time - last));
        last = event.time;
        let status = event.data["status"].as_str().expect("a status").to_owned();
        seen.push((status, event.data["progress"].as_u64().expect("a number")));
        if event.name != "progress" {
            break event.name;
        }
    };
    assert_eq!(end, "done");
    assert_eq!(seen.last().map(|(status, progress)| (status.as_str(), *progress)), Some(("done", 100)));
    assert!(events.next().await.is_none(), "the stream ends with the job");
    assert!(seen.is_sorted_by_key(|(_, progress)| *progress), "{seen:?}");
    let mut converting: Vec<u64> =
        seen.iter().filter(|(status, _)| status == "converting").map(|(_, at)| *at).collect();
    converting.dedup();
    assert!(converting.len() >= 3, "it moves while it converts: {seen:?}");
    // Told every second. A busy machine may be late now and then, which is not to say that it always is.
    gaps.sort();
    assert!(gaps[gaps.len() / 2] < Duration::from_millis(2500), "silent for so long: {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap < Duration::from_secs(15)), "silent for so long: {gaps:?}");

    // Whoever comes late sees the end at once.
    let mut late = Events::open(&user, &id).await;
    let event = late.next().await.expect("the end");
    assert_eq!((event.name.as_str(), &event.id), ("done", &ids.pop()));
    assert!(late.next().await.is_none());
}

#[tokio::test]
async fn failures_and_deletions_end_the_stream() {
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let (user, stranger) = (visitor.user().await, visitor.user().await);
    let id = user.upload(&media::mute()).await;
    let mut events = Events::open(&user, &id).await;
    let last = loop {
        let event = events.next().await.expect("an end");
        if event.name != "progress" {
            break event;
        }
    };
    assert_eq!((last.name.as_str(), last.data["status"].as_str()), ("failed", Some("failed")));
    assert!(last.data["reason"].is_string() && events.next().await.is_none());

    let id = user.upload(&media::two_hours()).await;
    let path = format!("/jobs/{id}/events");
    problem(stranger.get(&path).await, 404).await;
    problem(visitor.request(Method::GET, &path).send().await.expect("an answer"), 401).await;
    problem(user.request(Method::POST, &path).send().await.expect("an answer"), 405).await;
    let mut events = Events::open(&user, &id).await;
    assert_eq!(events.next().await.expect("an event").name, "progress");
    let response = user.request(Method::DELETE, &format!("/jobs/{id}")).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    while let Some(event) = events.next().await {
        assert!(["progress", "deleted"].contains(&event.name.as_str()), "{}", event.name);
        if event.name == "deleted" {
            assert!(events.next().await.is_none());
            return;
        }
    }
    panic!("the deletion was not told");
}

/// However many clients wait for jobs, everything else is served, and those who are too many read so.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_clients_starve_nobody() {
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().start(state.path());
    let user = Visitor::of(&server).user().await;
    let id = user.upload(&media::two_hours()).await;
    let path = format!("/jobs/{id}/events");
    let streams: Vec<Response> = futures::stream::iter(0..600)
        .map(|_| async { user.request(Method::GET, &path).timeout(Duration::from_secs(5)).send().await.ok() })
        .buffer_unordered(64)
        .filter_map(|response| async { response })
        .collect()
        .await;
    let open = streams.iter().filter(|response| response.status() == StatusCode::OK).count();
    let refused: Vec<&Response> = streams.iter().filter(|response| response.status() != StatusCode::OK).collect();
    assert!((256..=512).contains(&open), "{open} streams are open");
    assert!(!refused.is_empty(), "the others read that they are too many");
    for response in refused {
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("retry-after"));
    }
    let start = Instant::now();
    let short = accepted(user.post_raw("short.wav", "audio/wav", std::fs::read(media::short()).unwrap()).await).await;
    assert!(start.elapsed() < Duration::from_secs(5), "an upload took {:?}", start.elapsed());
    user.done(&short).await;
    drop(streams);
    eventually("places are free again", async || (user.get(&path).await.status() == StatusCode::OK).then_some(()))
        .await;
    let response = user.request(Method::DELETE, &format!("/jobs/{id}")).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
}
