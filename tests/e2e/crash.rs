//! `kill -9` at the worst moments: every accepted job ends done, with one MP3 and one mail.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use reqwest::StatusCode;
use tessera_backends::files;
use tessera_capability::time::SystemClock;

use crate::support::client::{User, Visitor, accepted};
use crate::support::server::{Launch, Server};
use crate::support::{DEADLINE, eventually, mail, media};

/// How often uploads are cut off.
const KILLS: usize = 3;

/// Kills the server, and starts it again on what is left.
fn restart(server: Server, user: User, state: &Path) -> (Server, User) {
    server.kill();
    let server = Launch::application().start(state);
    let user = user.at(&server);
    (server, user)
}

/// The keys in a blob store of a server that has ended.
async fn stored(state: &Path, label: &str) -> BTreeSet<String> {
    let engine = files::Engine::open(&state.join("blobs"), Arc::new(SystemClock)).expect("the blobs");
    let page = engine.store(label).list("", None, 1000).await.expect("a page");
    page.objects.iter().map(|object| object.key.as_str().to_owned()).collect()
}

/// Waits for all jobs of the user, and checks what there is in the end.
async fn check(server: Server, user: &User, state: &Path, accepted: &[String]) {
    let jobs: BTreeSet<String> =
        user.jobs().await.iter().map(|job| job["id"].as_str().expect("an id").to_owned()).collect();
    for id in accepted {
        assert!(jobs.contains(id), "the job {id} was accepted and is gone");
    }
    for id in &jobs {
        user.done(id).await;
        let response = user.download(id).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.bytes().await.expect("the MP3").len() > 1000);
        mail::arrived(state, id).await;
    }
    // What was sent twice would come before this does: the queue is in order.
    let last = user.upload(&media::short()).await;
    user.done(&last).await;
    mail::arrived(state, &last).await;
    assert!(server.stop().success());

    let mails = mail::outbox(state);
    for id in &jobs {
        assert_eq!(mails.iter().filter(|mail| mail.text.contains(id)).count(), 1, "mails about {id}");
    }
    assert_eq!(mails.len(), jobs.len() + 1);
    let mut expected = jobs.clone();
    expected.insert(last);
    assert_eq!(stored(state, "mp3s").await, expected);
    // A crash between a video's last byte and its job's commit leaves the video, and no more.
    let videos = stored(state, "videos").await;
    assert!(videos.is_superset(&expected) && videos.len() <= expected.len() + KILLS, "{videos:?}");
    let data = fs::read_dir(state.join("blobs/data")).expect("the blobs").count();
    assert_eq!(data, videos.len() + expected.len(), "files that belong to nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_during_uploads() {
    let state = tempfile::tempdir().unwrap();
    let mut server = Launch::application().start(state.path());
    let mut user = Visitor::of(&server).user().await;
    let sound = fs::read(media::short()).unwrap();
    let mut accepted = Vec::new();
    for round in 0..KILLS {
        // Uploads one after another until the server dies, and one that never ends.
        let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0_u8; 1 << 16]));
        let slow = tokio::spawn({
            let user = user.clone();
            async move {
                let body = reqwest::Body::wrap_stream(endless);
                let request = user.request(reqwest::Method::POST, "/upload").header("content-type", "video/mp4");
                request.body(body).send().await.map(|response| response.status())
            }
        });
        let uploads = tokio::spawn({
            let (user, sound) = (user.clone(), sound.clone());
            async move {
                let mut ids = Vec::new();
                loop {
                    let request = user.request(reqwest::Method::POST, "/upload").header("content-type", "audio/wav");
                    let Ok(response) = request.body(sound.clone()).send().await else { return ids };
                    let Ok(body) = response.json::<serde_json::Value>().await else { return ids };
                    ids.push(body["id"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned());
                }
            }
        });
        // Each round before may have left one that was made but not answered.
        let wanted = accepted.len() + 2 + round;
        eventually("some uploads are accepted", async || (user.jobs().await.len() >= wanted).then_some(())).await;
        (server, user) = restart(server, user, state.path());
        let ids = uploads.await.expect("uploads");
        assert!(!ids.is_empty(), "one of two was answered");
        accepted.extend(ids);
        assert!(slow.await.expect("an upload").is_err(), "it never ends, so it was never accepted");
    }
    check(server, &user, state.path(), &accepted).await;
}

/// Videos that uploads left behind when the server was killed, and no others, go when they are old.
#[tokio::test(flavor = "multi_thread")]
async fn videos_without_a_job_are_deleted_when_old() {
    let state = tempfile::tempdir().unwrap();
    let mut server = Launch::application().start(state.path());
    let mut user = Visitor::of(&server).user().await;
    let kept = user.upload(&media::short()).await;
    user.done(&kept).await;
    server.kill();
    // Where a kill between the last byte and the commit leaves them: beside the jobs, before and
    // behind, more than one upload looks at.
    let orphans: Vec<String> = (0..40)
        .map(|index| {
            let start = if index % 2 == 0 {
                "00000000-0000-7000-8000-0000000000"
            } else {
                "ffffffff-ffff-7fff-8fff-ffffffffff"
            };
            format!("{start}{index:02}")
        })
        .collect();
    {
        let engine = files::Engine::open(&state.path().join("blobs"), Arc::new(SystemClock)).expect("the blobs");
        let store = engine.store("videos");
        for name in &orphans {
            let body = futures::stream::iter([Ok(bytes::Bytes::from_static(b"half a story"))]);
            let key = tessera_capability::blob::Key::new(name.as_str()).expect("a key");
            store.put(&key, Default::default(), Box::pin(body)).await.expect("stored");
        }
    }
    // Not old enough yet: a day is the default.
    server = Launch::application().start(state.path());
    user = user.at(&server);
    for _ in 0..4 {
        let id = user.upload(&media::short()).await;
        user.done(&id).await;
    }
    server.kill();
    let videos = stored(state.path(), "videos").await;
    assert!(videos.contains(&kept) && orphans.iter().all(|orphan| videos.contains(orphan)), "{videos:?}");

    // Old now, and killed in the midst of sweeping.
    for _ in 0..3 {
        server = Launch::application().variable("orphan_seconds", "1").start(state.path());
        user = user.at(&server);
        for _ in 0..2 {
            user.upload(&media::short()).await;
        }
        (server, user) = restart(server, user, state.path());
        server.kill();
    }
    server = Launch::application().variable("orphan_seconds", "1").start(state.path());
    user = user.at(&server);
    for _ in 0..6 {
        let id = user.upload(&media::short()).await;
        user.done(&id).await;
    }
    let jobs: BTreeSet<String> =
        user.jobs().await.iter().map(|job| job["id"].as_str().expect("an id").to_owned()).collect();
    assert!(server.stop().success());
    assert_eq!(stored(state.path(), "videos").await, jobs);
}

#[tokio::test]
async fn killed_during_conversions() {
    let state = tempfile::tempdir().unwrap();
    let mut server = Launch::application().start(state.path());
    let mut user = Visitor::of(&server).user().await;
    let mut accepted = vec![user.upload(&media::long()).await, user.upload(&media::long()).await];
    accepted.push(user.upload(&media::clip("mp4")).await);
    for percent in [1, 40] {
        eventually("a conversion is under way", async || {
            let jobs = user.jobs().await;
            jobs.iter()
                .any(|job| job["status"] == "converting" && job["progress"].as_u64() >= Some(percent))
                .then_some(())
        })
        .await;
        (server, user) = restart(server, user, state.path());
    }
    check(server, &user, state.path(), &accepted).await;
}

/// Before the parts are one MP3, and when they are but the job is hardly noted as done.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_parts_are_put_together() {
    let state = tempfile::tempdir().unwrap();
    let mut server = Launch::application().start(state.path());
    let mut user = Visitor::of(&server).user().await;
    let mut accepted = Vec::new();
    // It takes a moment, which may be missed: it is tried again then.
    let mut interrupted = false;
    while !interrupted {
        assert!(accepted.len() < 5, "every time the MP3 was complete before the server was killed");
        let id = user.upload_in_parts().await;
        let created = user.job(&id).await;
        media::assembly_begins(state.path(), 2 * accepted.len()).await;
        server.kill();
        let made: Vec<String> =
            stored(state.path(), "mp3s").await.into_iter().filter(|key| key.contains(&id)).collect();
        interrupted = made.len() == media::PARTS && made.iter().all(|key| key.starts_with(&format!("{id}.part")));
        server = Launch::application().start(state.path());
        user = user.at(&server);
        let job = user.done(&id).await;
        for key in ["id", "createdTime", "fileName"] {
            assert_eq!(job[key], created[key], "it is the same job: {job}");
        }
        assert_eq!(job["warning"], serde_json::Value::Null);
        assert!((job["durationSeconds"].as_f64().unwrap() - media::IN_PARTS).abs() < 1.0, "{job}");
        accepted.push(id);
        assert_eq!(user.jobs().await.len(), accepted.len());
    }
    // And once when the job is done, but has its parts still.
    let id = user.upload_in_parts().await;
    media::assembly_begins(state.path(), 2 * accepted.len()).await;
    let complete = 2 * accepted.len() + 2 + media::PARTS;
    eventually("its parts begin to be deleted", async || (media::blobs(state.path()) < complete).then_some(())).await;
    (server, user) = restart(server, user, state.path());
    let whole = user.download(&id).await.bytes().await.unwrap();
    for interrupted in &accepted {
        assert!(
            user.download(interrupted).await.bytes().await.unwrap() == whole,
            "the MP3 that was put together again"
        );
    }
    let path = state.path().join("a.mp3");
    fs::write(&path, &whole).unwrap();
    let seconds: f64 = media::probe(&path)["format"]["duration"].as_str().unwrap().parse().unwrap();
    assert!((seconds - media::IN_PARTS).abs() < 1.0, "{seconds}");
    accepted.push(id);
    check(server, &user, state.path(), &accepted).await;
}

/// While the loudness is measured nothing is stored, and the job starts anew.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_loudness_is_measured() {
    let state = tempfile::tempdir().unwrap();
    let mut server = Launch::application().start(state.path());
    let mut user = Visitor::of(&server).user().await;
    let video = fs::read(media::long()).unwrap();
    let request = user
        .request(reqwest::Method::POST, "/upload?filename=long.wav&loudness=true&mono=true&sampleRate=8000")
        .body(video);
    let id = accepted(request.send().await.expect("an answer")).await;
    eventually("it is measured", async || (user.job(&id).await["progress"].as_u64() > Some(0)).then_some(())).await;
    (server, user) = restart(server, user, state.path());
    let job = user.done(&id).await;
    assert!((job["durationSeconds"].as_f64().unwrap() - f64::from(media::LONG)).abs() < 0.05, "{job}");
    assert_eq!(user.jobs().await.len(), 1);
    check(server, &user, state.path(), &[id]).await;
}

#[tokio::test]
async fn killed_during_mailing() {
    let state = tempfile::tempdir().unwrap();
    let mut server = Launch::application().start(state.path());
    let mut user = Visitor::of(&server).user().await;
    let mut accepted = Vec::new();
    for round in 0..6 {
        let known = fs::read_dir(state.path().join("mail/sent")).expect("the outbox").count();
        for _ in 0..3 {
            accepted.push(user.upload(&media::short()).await);
        }
        // As soon as the outbox has begun with one more mail: before, while and after it is noted
        // that the mail was sent, depending on the round.
        let (folder, known) = [("mail/tmp", 0), ("mail/sent", known), ("mail/new", known)][round % 3];
        let count = |folder: &str| fs::read_dir(state.path().join(folder)).expect("the outbox").count();
        let start = Instant::now();
        while count(folder) <= known && count("mail/new") < accepted.len() {
            assert!(start.elapsed() < DEADLINE, "no mail is written");
        }
        (server, user) = restart(server, user, state.path());
        // A conversion that is killed at every attempt is given up, as it should be.
        for id in &accepted {
            user.done(id).await;
        }
    }
    check(server, &user, state.path(), &accepted).await;
}
