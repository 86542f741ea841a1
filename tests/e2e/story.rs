//! From registration to a downloaded MP3 that sounds like its video.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::client::{User, Visitor, problem};
use crate::support::mp3::Headers;
use crate::support::server::{Shared, shared};
use crate::support::sound::Sound;
use crate::support::{eventually, mail, media};

/// Uploads a clip of this kind as this user, and follows it to its end.
async fn follow(running: &Shared, user: &User, extension: &str) -> String {
    let source = media::clip(extension);
    let id = user.upload(&source).await;
    let job = user.done(&id).await;

    let expected = Sound::of(&source);
    assert_eq!(job["fileName"], format!("clip.{extension}"));
    assert_eq!(job["videoBytes"], std::fs::metadata(&source).expect("the clip").len());
    assert_eq!((&job["reason"], &job["warning"]), (&Value::Null, &Value::Null));
    assert!((job["durationSeconds"].as_f64().expect("seconds") - expected.seconds()).abs() < 0.05, "{job}");
    for time in ["createdTime", "startedTime", "finishedTime"] {
        assert!(job[time].as_str().is_some_and(|time| time.ends_with('Z')), "{time} in {job}");
    }

    let letter = mail::arrived(running.state.path(), &id).await;
    assert_eq!((&letter.to, letter.from.as_str()), (&user.email, "tessera@localhost"));
    assert!(letter.subject.contains("ready") && letter.subject.contains(&format!("clip.{extension}")), "{letter:?}");
    assert!(letter.text.contains(&format!("/download?fid={id}")), "{letter:?}");

    let response = user.download(&id).await;
    assert_eq!(response.status(), StatusCode::OK);
    let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(header("content-type"), "audio/mpeg");
    assert_eq!(header("content-disposition"), "attachment; filename=\"clip.mp3\"");
    assert_eq!(header("content-length"), job["mp3Bytes"].to_string());
    let bytes = response.bytes().await.expect("the MP3");
    assert_eq!(json!(bytes.len()), job["mp3Bytes"]);

    sounds_like(&bytes, &expected);
    id
}

/// The MP3 is whole, says the truth about itself, and sounds like the source.
fn sounds_like(bytes: &[u8], expected: &Sound) {
    let headers = Headers::read(bytes).unwrap_or_else(|missing| panic!("{missing}"));
    // 128 kbit/s throughout, which the header calls by another name than a variable rate.
    assert_eq!(headers.kind, "Info");
    assert!(headers.encoder.starts_with("LAME"), "{}", headers.encoder);
    assert_eq!(headers.bytes, bytes.len() as u64 - headers.start);
    assert!((headers.seconds() - expected.seconds()).abs() < 0.05, "{} s: {headers:?}", headers.seconds());
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("heard.mp3");
    std::fs::write(&path, bytes).expect("room");
    assert_eq!(media::title(&path), "clip");
    let heard = Sound::of(&path);
    let (got, want) = (heard.seconds(), expected.seconds());
    assert!((got - want).abs() < 0.05, "{got} s instead of {want} s");
    let correlation = expected.correlation(&heard);
    assert!(correlation > 0.98, "correlation {correlation}");
}

async fn story(extension: &str) {
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let user = visitor.user().await;
    let id = follow(&running, &user, extension).await;

    let response = user.request(reqwest::Method::DELETE, &format!("/jobs/{id}")).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    problem(user.get(&format!("/jobs/{id}")).await, 404).await;
    problem(user.download(&id).await, 404).await;
    assert!(user.jobs().await.is_empty());
    // Its events and its one mail outlive it.
    let admin = visitor.admin().await;
    for topic in ["events.uploaded", "events.converted", "events.mailed", "events.deleted"] {
        eventually(&format!("the admin sees {topic}"), async || {
            let list = admin.json(&format!("/api/v1/report/list?size=100&filter={topic}")).await;
            list["reports"].as_array().expect("reports").iter().find(|report| report.to_string().contains(&id)).cloned()
        })
        .await;
    }
    assert_eq!(mail::about(running.state.path(), &id).len(), 1);
}

#[tokio::test]
async fn an_mp4_becomes_an_mp3() {
    story("mp4").await;
}

#[tokio::test]
async fn a_mov_becomes_an_mp3() {
    story("mov").await;
}

#[tokio::test]
async fn an_mkv_becomes_an_mp3() {
    story("mkv").await;
}

#[tokio::test]
async fn a_webm_becomes_an_mp3() {
    story("webm").await;
}

#[tokio::test]
async fn a_wav_becomes_an_mp3() {
    story("wav").await;
}

#[tokio::test]
async fn a_raw_body_is_an_upload_too() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let bytes = std::fs::read(media::clip("mp4")).expect("the clip");
    let response = user.post_raw("Übung & more.mp4", "video/mp4", bytes).await;
    let id = crate::support::client::accepted(response).await;
    let job = user.done(&id).await;
    assert_eq!((&job["fileName"], &job["contentType"]), (&json!("Übung & more.mp4"), &json!("video/mp4")));
    let response = user.download(&id).await;
    let disposition = response.headers()["content-disposition"].to_str().expect("text").to_owned();
    assert_eq!(disposition, "attachment; filename=\"_bung & more.mp3\"; filename*=UTF-8''%C3%9Cbung%20&%20more.mp3");
}
