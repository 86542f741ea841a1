//! The rest of the API, row by row: who gets what, and what everybody else gets.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::{User, Visitor, problem};
use crate::support::server::{Launch, shared};
use crate::support::{eventually, mail, media};

#[tokio::test]
async fn anyone_may_ask_for_health() {
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let response = visitor.request(Method::GET, "/healthz").send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let response = visitor.request(Method::POST, "/healthz").send().await.expect("an answer");
    assert_eq!(response.headers()["allow"], "GET, HEAD");
    problem(response, 405).await;
    problem(visitor.request(Method::GET, "/nothing").send().await.expect("an answer"), 404).await;
}

#[tokio::test]
async fn without_a_token_nothing_else_is_served() {
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let nowhere = "/jobs/0190b6a8-1111-7111-8111-111111111111";
    for (method, path) in [
        (Method::POST, "/upload"),
        (Method::GET, "/jobs"),
        (Method::GET, nowhere),
        (Method::DELETE, nowhere),
        (Method::GET, "/download?fid=0190b6a8-1111-7111-8111-111111111111"),
        (Method::GET, "/api/v1/report/list"),
    ] {
        let response = visitor.request(method.clone(), path).send().await.expect("an answer");
        assert!(response.headers()["www-authenticate"].to_str().expect("text").starts_with("Bearer"), "{path}");
        problem(response, 401).await;
        let response = visitor.request(method, path).bearer_auth("nonsense").send().await.expect("an answer");
        problem(response, 401).await;
    }
}

#[tokio::test]
async fn a_job_is_its_owners_and_the_admins() {
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let (owner, stranger, admin) = (visitor.user().await, visitor.user().await, visitor.admin().await);
    let id = owner.upload(&media::short()).await;
    owner.done(&id).await;
    let delete =
        async |user: &User| user.request(Method::DELETE, &format!("/jobs/{id}")).send().await.expect("an answer");

    problem(stranger.get(&format!("/jobs/{id}")).await, 404).await;
    problem(stranger.download(&id).await, 404).await;
    problem(delete(&stranger).await, 404).await;
    assert!(stranger.jobs().await.is_empty());

    assert_eq!(admin.job(&id).await["id"], json!(id));
    assert_eq!(admin.download(&id).await.status(), StatusCode::OK);
    let all = admin.json("/jobs?size=100").await;
    assert!(all["jobs"].as_array().expect("jobs").iter().any(|job| job["id"] == json!(id)));
    assert_eq!(delete(&admin).await.status(), StatusCode::NO_CONTENT);
    problem(owner.get(&format!("/jobs/{id}")).await, 404).await;
}

#[tokio::test]
async fn jobs_come_newest_first_in_pages() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, user.upload(&media::short()).await);
    }
    let mut seen = Vec::new();
    let mut next = json!("/jobs?size=2");
    while let Some(path) = next.as_str() {
        let page = user.json(path).await;
        let jobs = page["jobs"].as_array().expect("jobs");
        assert!(jobs.len() <= 2);
        seen.extend(jobs.iter().map(|job| job["id"].as_str().expect("an id").to_owned()));
        next = page["next"].clone();
    }
    assert_eq!(seen, ids);
    for wrong in ["/jobs?size=0", "/jobs?size=101", "/jobs?size=x", "/jobs?before=x"] {
        problem(user.get(wrong).await, 400).await;
    }
}

#[tokio::test]
async fn downloads_come_whole_in_part_or_not_at_all() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let id = user.upload(&media::clip("wav")).await;
    user.done(&id).await;
    let path = format!("/download?fid={id}");
    let get = async |name: &str, value: &str| {
        user.request(Method::GET, &path).header(name, value).send().await.expect("an answer")
    };
    let response = user.get(&path).await;
    assert_eq!(response.headers()["accept-ranges"], "bytes");
    let etag = response.headers()["etag"].to_str().expect("text").to_owned();
    assert!(etag.starts_with('"') && etag.len() > 10, "{etag}");
    let whole = response.bytes().await.expect("the MP3");
    let size = whole.len();

    for (range, start, end) in [
        ("bytes=0-99".to_owned(), 0, 100),
        (format!("bytes={}-", size - 10), size - 10, size),
        ("bytes=-5".to_owned(), size - 5, size),
        (format!("bytes=1000-{}", size * 2), 1000, size),
    ] {
        let response = get("range", &range).await;
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(response.headers()["content-range"], format!("bytes {start}-{}/{size}", end - 1), "{range}");
        assert_eq!(response.headers()["content-length"], (end - start).to_string(), "{range}");
        assert_eq!(response.headers()["etag"], etag.as_str());
        assert!(response.bytes().await.expect("a part") == whole[start..end], "{range}");
    }
    let response = get("range", &format!("bytes={size}-")).await;
    assert_eq!(response.headers()["content-range"], format!("bytes */{size}"));
    problem(response, 416).await;
    let response = get("if-none-match", &etag).await;
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    assert!(response.bytes().await.expect("nothing").is_empty());
    let response = user.request(Method::HEAD, &path).send().await.expect("an answer");
    assert_eq!(
        (response.status(), &response.headers()["content-length"]),
        (StatusCode::OK, &size.to_string().parse().unwrap())
    );

    assert_eq!(problem(user.get("/download").await, 400).await, "fid is required");
    problem(user.get("/download?fid=../../etc/passwd").await, 404).await;
    problem(user.get("/download?fid=0190b6a8-1111-7111-8111-111111111111").await, 404).await;
}

#[tokio::test]
async fn a_download_before_the_end_says_how_far_the_job_is() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let id = user.upload(&media::mute()).await;
    user.finished(&id).await;
    let response = user.download(&id).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["jobStatus"], "failed");
    assert!(body["reason"].as_str().is_some_and(|reason| reason.contains("audio")), "{body}");

    let id = user.upload(&media::long()).await;
    let response = user.download(&id).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let body: Value = response.json().await.expect("JSON");
    assert!(["queued", "converting"].contains(&body["jobStatus"].as_str().expect("a status")), "{body}");
}

#[tokio::test]
async fn a_job_that_is_deleted_while_it_is_converted_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let server = Launch::application().start(state.path());
    let user = Visitor::of(&server).user().await;
    let id = user.upload(&media::long()).await;
    eventually("the conversion is under way", async || {
        (user.job(&id).await["progress"].as_u64() > Some(0)).then_some(())
    })
    .await;
    let response = user.request(Method::DELETE, &format!("/jobs/{id}")).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    problem(user.get(&format!("/jobs/{id}")).await, 404).await;
    // The converter has come to its end when the server has.
    assert!(server.stop().success());
    let left: Vec<_> = std::fs::read_dir(state.path().join("blobs/data")).expect("the blobs").collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(mail::about(state.path(), &id).is_empty());
}

#[tokio::test]
async fn admins_list_what_happened() {
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let (user, admin) = (visitor.user().await, visitor.admin().await);
    problem(user.get("/api/v1/report/list").await, 403).await;
    let id = user.upload(&media::short()).await;
    user.done(&id).await;
    let list = eventually("the conversion is reported", async || {
        let list = admin.json("/api/v1/report/list?size=100&filter=events.converted").await;
        list.to_string().contains(&id).then_some(list)
    })
    .await;
    let reports = list["reports"].as_array().expect("reports");
    let report = reports.iter().find(|report| report["reportData"].to_string().contains(&id)).expect("the report");
    assert!(report["id"].is_string() && report["createdTime"].is_string(), "{report}");
    assert!(reports.iter().all(|report| report["topic"] == "events.converted"));
    assert_eq!((&list["page"], &list["size"]), (&json!(1), &json!(100)));

    let page = admin.json("/api/v1/report/list?page=1&size=2").await;
    let total = page["totalCount"].as_u64().expect("a number");
    assert!(total >= 3, "{page}");
    assert_eq!(page["reports"].as_array().map(Vec::len), Some(2));
    assert_eq!((&page["totalPages"], &page["hasMore"]), (&json!(total.div_ceil(2)), &json!(true)));
    let times: Vec<_> =
        list["reports"].as_array().expect("reports").iter().map(|report| report["createdTime"].to_string()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first: {times:?}");
    for wrong in ["page=0", "size=0", "size=101", "page=x"] {
        problem(admin.get(&format!("/api/v1/report/list?{wrong}")).await, 400).await;
    }
}
