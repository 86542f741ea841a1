//! Uploads that are no videos, and clients that do not keep to the rules.

use std::path::Path;

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::client::{User, Visitor, accepted, problem};
use crate::support::server::{Launch, Server, shared};
use crate::support::{eventually, mail, media};

fn file(name: &'static str, bytes: impl Into<Vec<u8>>) -> Part {
    Part::bytes(bytes.into()).file_name(name)
}

#[tokio::test]
async fn what_is_missing_of_a_cut_file_is_told() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let whole = std::fs::read(media::clip("wav")).unwrap();
    // Six seconds are announced, and three and a half are there.
    let cut = whole[..whole.len() * 7 / 12].to_vec();
    let id = user.upload_bytes("cut.wav", cut).await;
    let job = user.done(&id).await;
    assert!((job["missingSeconds"].as_f64().unwrap() - 2.5).abs() < 0.05, "{job}");
    assert!((job["durationSeconds"].as_f64().unwrap() - 3.5).abs() < 0.05, "{job}");
    let warning = job["warning"].as_str().unwrap();
    assert_eq!(warning, "The file ends too early; everything up to there was converted. 2.5 seconds are missing.");
    let letter = mail::arrived(running.state.path(), &id).await;
    assert!(letter.text.contains(&format!("Please note: {warning}")), "{letter:?}");
}

#[tokio::test]
async fn exactly_one_file_is_required() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    for form in [
        Form::new().part("a", file("a.mp4", "one")).part("b", file("b.mp4", "two")),
        Form::new().text("title", "no file"),
        Form::new().part("file", file("empty.mp4", "")),
    ] {
        assert_eq!(problem(user.post_form(form).await, 400).await, "exactly 1 file required");
    }
    assert_eq!(problem(user.post_raw("empty.mp4", "video/mp4", "").await, 400).await, "exactly 1 file required");
    assert!(user.jobs().await.is_empty());
    // Other fields beside the file do no harm.
    let form = Form::new().text("title", "mine").part("file", file("a.wav", std::fs::read(media::short()).unwrap()));
    let id = accepted(user.post_form(form).await).await;
    user.done(&id).await;
}

#[tokio::test]
async fn what_is_no_video_is_refused_by_its_type() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    for kind in ["application/json", "text/plain", "image/png", "multipart/mixed; boundary=x"] {
        problem(user.post_raw("a.mp4", kind, "abc").await, 415).await;
    }
    problem(user.post_raw("a.mp4", "multipart/form-data", "abc").await, 400).await;
    problem(user.post_raw("a.mp4", "multipart/form-data; boundary=x", "no boundary at all").await, 400).await;
    assert!(user.jobs().await.is_empty());
}

/// Uploads what cannot be converted, and answers the reason that its owner is told.
async fn reason(user: &User, state: &Path, name: &str, bytes: Vec<u8>) -> String {
    let id = user.upload_bytes(name, bytes).await;
    let job = user.finished(&id).await;
    assert_eq!((&job["status"], &job["download"]), (&json!("failed"), &Value::Null), "{job}");
    let reason = job["reason"].as_str().expect("a reason").to_owned();
    let letter = mail::arrived(state, &id).await;
    assert!(letter.text.contains(&reason) && letter.to == user.email, "{letter:?}");
    problem(user.download(&id).await, 409).await;
    reason
}

#[tokio::test]
async fn what_cannot_be_converted_fails_once_with_a_reason() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let state = running.state.path();
    let garbage: Vec<u8> = (0..200_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let read = |path| std::fs::read(path).expect("the fixture");
    for (name, bytes, part) in [
        ("garbage.mp4", garbage, "not a video or audio file"),
        ("text.mp4", b"I am a video, believe me.".to_vec(), "not a video or audio file"),
        ("truncated.mp4", read(media::truncated()), "ends too early"),
        ("mute.mp4", read(media::mute()), "no audio track"),
    ] {
        let reason = reason(&user, state, name, bytes).await;
        assert!(reason.contains(part), "{name}: {reason}");
    }
    for job in user.jobs().await {
        let id = job["id"].as_str().expect("an id");
        assert_eq!(mail::about(state, id).len(), 1, "{job}");
    }
    assert!(!running.server.log.text().contains("attempt failed"), "no retry: {}", running.server.log.text());
}

#[tokio::test]
async fn names_of_files_are_no_paths() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let sound = std::fs::read(media::short()).unwrap();
    for (given, kept, download) in [
        ("../../../etc/passwd", "passwd", "passwd.mp3"),
        ("..\\..\\windows\\system.ini", "system.ini", "system.mp3"),
        ("/", "video", "video.mp3"),
        ("a\"b;c.wav", "a\"b;c.wav", "a_b;c.mp3"),
    ] {
        let response = user.post_raw(given, "audio/wav", sound.clone()).await;
        let id = accepted(response).await;
        assert_eq!(user.done(&id).await["fileName"], kept);
        let response = user.download(&id).await;
        let disposition = response.headers()["content-disposition"].to_str().expect("text").to_owned();
        assert!(disposition.contains(&format!("filename=\"{download}\"")), "{disposition}");
    }
    let id = user.upload_bytes("../../../etc/cron.d/job", sound).await;
    assert_eq!(user.done(&id).await["fileName"], "job");
}

/// Opens a connection and sends the head of an upload.
async fn begin(server: &Server, user: &User, headers: &str) -> TcpStream {
    let mut connection = TcpStream::connect(server.address()).await.expect("a connection");
    let head = format!(
        "POST /upload?filename=a.mp4 HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: video/mp4\r\n{headers}\r\n",
        server.address(),
        user.token
    );
    connection.write_all(head.as_bytes()).await.expect("the server listens");
    connection
}

#[tokio::test]
async fn three_gibibytes_are_refused_before_they_are_sent() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let mut connection = begin(&running.server, &user, "Content-Length: 3221225472\r\n").await;
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(crate::support::DEADLINE, connection.read(&mut answer)).await;
    let length = read.expect("an answer at once").expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_cut_off_where_it_passes_it() {
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().variable("max_upload_bytes", "1000000").start(state.path());
    let user = Visitor::of(&server).user().await;
    // Without a length: the limit is found while reading.
    let chunks = (0..40).map(|_| Ok::<_, std::io::Error>(vec![7_u8; 64 << 10]));
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    problem(user.post_raw("large.mp4", "video/mp4", body).await, 413).await;
    let part = file("large.mp4", vec![7; 2_000_000]);
    problem(user.post_form(Form::new().part("file", part)).await, 413).await;
    assert!(user.jobs().await.is_empty());
    nothing_left(state.path()).await;
    let id = user.upload(&media::short()).await;
    user.done(&id).await;
}

/// Waits until the directory of blobs has no content.
async fn nothing_left(state: &Path) {
    eventually("nothing is left of the upload", async || {
        std::fs::read_dir(state.join("blobs/data")).expect("the blobs").next().is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().start(state.path());
    let user = Visitor::of(&server).user().await;
    // More than the server keeps in memory before it touches the disk.
    let half = vec![1_u8; 3_000_000];
    for (headers, framed) in [("Transfer-Encoding: chunked\r\n", true), ("Content-Length: 6000000\r\n", false)] {
        let mut connection = begin(&server, &user, headers).await;
        if framed {
            connection.write_all(format!("{:x}\r\n", half.len() * 2).as_bytes()).await.unwrap();
        }
        connection.write_all(&half).await.unwrap();
        // The server has begun to store it.
        eventually("the upload is under way", async || {
            std::fs::read_dir(state.path().join("blobs/data")).expect("the blobs").next().map(|_| ())
        })
        .await;
        drop(connection);
        nothing_left(state.path()).await;
    }
    let boundary = "multipart/form-data; boundary=x";
    let cut = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\nhalf of it";
    problem(user.post_raw("", boundary, cut).await, 400).await;
    nothing_left(state.path()).await;
    assert!(user.jobs().await.is_empty());
    let id = user.upload(&media::short()).await;
    user.done(&id).await;
}
