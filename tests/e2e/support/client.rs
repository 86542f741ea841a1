//! The application's HTTP API, as a client of it calls it.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::server::{ADMIN, Server};
use super::{eventually, media};

/// The password of every user that a test registers.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Somebody without a token.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) http: Client,
    pub(crate) url: String,
}

impl Visitor {
    pub(crate) fn of(server: &Server) -> Self {
        Self { http: Client::new(), url: server.url.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn register(&self, body: &Value) -> Response {
        self.request(Method::POST, "/registration").json(body).send().await.expect("an answer")
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Response {
        let request = self.request(Method::POST, "/login").basic_auth(email, Some(password));
        request.send().await.expect("an answer")
    }

    /// Registers somebody new and logs in.
    pub(crate) async fn user(&self) -> User {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let email = format!("user-{}@example.org", NEXT.fetch_add(1, Relaxed));
        let response = self.register(&json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        self.logged_in(&email, PASSWORD).await
    }

    /// The first admin.
    pub(crate) async fn admin(&self) -> User {
        self.logged_in(ADMIN.0, ADMIN.1).await
    }

    /// Somebody who is registered already.
    pub(crate) async fn logged_in(&self, email: &str, password: &str) -> User {
        let response = self.login(email, password).await;
        assert_eq!(response.status(), StatusCode::OK);
        let token = response.text().await.expect("a token");
        User { visitor: self.clone(), email: email.to_owned(), token }
    }
}

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) visitor: Visitor,
    pub(crate) email: String,
    pub(crate) token: String,
}

impl User {
    /// The same person at a server that was started anew.
    pub(crate) fn at(self, server: &Server) -> Self {
        Self { visitor: Visitor::of(server), ..self }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.visitor.request(method, path).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("an answer")
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.expect("JSON")
    }

    pub(crate) async fn post_form(&self, form: Form) -> Response {
        self.request(Method::POST, "/upload").multipart(form).send().await.expect("an answer")
    }

    pub(crate) async fn post_raw(&self, name: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.request(Method::POST, "/upload").query(&[("filename", name)]);
        request.header(CONTENT_TYPE, content_type).body(body).send().await.expect("an answer")
    }

    /// Uploads a file as a browser does, and answers the job's id.
    pub(crate) async fn upload(&self, file: &Path) -> String {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        self.upload_bytes(&name, std::fs::read(file).expect("the file")).await
    }

    pub(crate) async fn upload_bytes(&self, name: &str, bytes: Vec<u8>) -> String {
        let part = Part::bytes(bytes).file_name(name.to_owned());
        accepted(self.post_form(Form::new().part("file", part)).await).await
    }

    /// Uploads [`media::in_parts`], whose MP3 is made as large as it can be.
    pub(crate) async fn upload_in_parts(&self) -> String {
        let sound = std::fs::read(media::in_parts()).expect("the file");
        let request = self.request(Method::POST, "/upload?filename=hours.m4a&bitrate=64").body(sound);
        accepted(request.send().await.expect("an answer")).await
    }

    pub(crate) async fn job(&self, id: &str) -> Value {
        self.json(&format!("/jobs/{id}")).await
    }

    /// All of the user's jobs, newest first.
    pub(crate) async fn jobs(&self) -> Vec<Value> {
        let page = self.json("/jobs?size=100").await;
        assert_eq!(page["next"], Value::Null, "all fit on a page");
        page["jobs"].as_array().expect("a list").clone()
    }

    /// Waits until a job is final, for as long as it moves: how long that takes is the machine's affair.
    pub(crate) async fn finished(&self, id: &str) -> Value {
        let mut last = Value::Null;
        loop {
            let job = eventually("the job moves", async || {
                let job = self.job(id).await;
                (job != last).then_some(job)
            })
            .await;
            let progress = job["progress"].as_u64().expect("a number");
            match job["status"].as_str() {
                Some("queued" | "converting") => assert!(progress < 100, "{job}"),
                Some("done" | "failed") => return job,
                _ => panic!("no status: {job}"),
            }
            last = job;
        }
    }

    /// Waits until a job is done.
    pub(crate) async fn done(&self, id: &str) -> Value {
        let job = self.finished(id).await;
        assert_eq!((&job["status"], &job["progress"]), (&json!("done"), &json!(100)), "{job}");
        job
    }

    pub(crate) async fn download(&self, id: &str) -> Response {
        self.get(&format!("/download?fid={id}")).await
    }
}

/// A body that is sent as it is made.
pub(crate) fn live() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let chunks = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (Ok::<_, std::io::Error>(chunk), receiver))
    });
    (sender, Body::wrap_stream(chunks))
}

/// The job's id from the answer to an upload that was accepted.
pub(crate) async fn accepted(response: Response) -> String {
    let status = response.status();
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let id = body["id"].as_str().expect("an id").to_owned();
    assert_eq!(body, json!({"message": "success!", "id": id, "status": format!("/jobs/{id}")}));
    id
}

/// Checks that an answer is a problem of RFC 9457 with this status, and answers its detail.
pub(crate) async fn problem(response: Response, status: u16) -> String {
    let (got, kind) = (response.status(), response.headers().get(CONTENT_TYPE).cloned());
    let text = response.text().await.expect("a body");
    assert_eq!(got, status, "{text}");
    assert_eq!(kind.as_ref().map(|kind| kind.as_bytes()), Some(&b"application/problem+json"[..]), "{text}");
    let body: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(body["status"], status, "{text}");
    assert_eq!(body["title"].as_str(), got.canonical_reason(), "{text}");
    body["detail"].as_str().expect("a detail").to_owned()
}
