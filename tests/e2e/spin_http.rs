//! The HTTP trigger as Spin's documentation has it: routes, the headers about them, reserved paths,
//! static responses, components inside triggers, private routes and calls between components.

use reqwest::{Client, StatusCode};

use crate::support::fixtures::{Fixture, wasm};
use crate::support::server::Launch;

const CONTENT: &str = r#"
version = "1.2.3"

[[trigger.http]]
route = "/base/:path_segment/:path_end/..."
component = "probe"

[[trigger.http]]
route = "/probe/headers/exact"
component = "probe"

[[trigger.http]]
route = "/..."
component = "old"

[[trigger.http]]
route = "/tea/:kind"
static_response = { status_code = 418, headers = { x-pot = "short" }, body = "stout" }

[[trigger.http]]
route = "/inline/..."
[trigger.http.component]
source = "<probe>"
environment = { COLOUR = "blue" }

[component.probe]
source = "<probe>"

[component.old]
source = "<wasi02>"
"#;

async fn get(fixture: &Fixture, path: &str) -> (StatusCode, String) {
    let response = reqwest::get(format!("{}{path}", fixture.server.url)).await.expect("an answer");
    (response.status(), response.text().await.expect("text"))
}

#[tokio::test]
async fn a_request_says_how_it_was_routed() {
    let fixture = Fixture::start(CONTENT);
    let response = Client::new()
        .get(format!("{}/base/headers/end/rest/?key=value", fixture.server.url))
        .header("host", "example.com")
        .header("spin-path-info", "/forged")
        .header("spin-path-match-user", "root")
        .header("spin-client-addr", "10.0.0.1:1")
        .send()
        .await
        .expect("an answer");
    let text = response.text().await.expect("text");
    let (client, lines): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("spin-client-addr: "));
    assert!(client.len() == 1 && client[0].starts_with("spin-client-addr: 127.0.0.1:"), "{client:?}");
    assert_eq!(
        lines,
        [
            "http://example.com/base/headers/end/rest/?key=value",
            "spin-base-path: /",
            "spin-component-route: /base/:path_segment/:path_end",
            "spin-full-url: http://example.com/base/headers/end/rest/?key=value",
            "spin-matched-route: /base/:path_segment/:path_end/...",
            "spin-path-info: /rest/",
            "spin-path-match-path-end: end",
            "spin-path-match-path-segment: headers",
            "spin-raw-component-route: /base/:path_segment/:path_end/...",
        ]
    );
    let (_, exact) = get(&fixture, "/probe/headers/exact/").await;
    assert!(exact.contains("spin-path-info: \n") && exact.contains("spin-component-route: /probe/headers/exact\n"));
}

#[tokio::test]
async fn an_answer_has_the_components_headers_and_no_others() {
    let fixture = Fixture::start(CONTENT);
    let names = async |path: &str, id: Option<&'static str>| {
        let mut request = Client::new().get(format!("{}{path}", fixture.server.url));
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let response = request.send().await.expect("an answer");
        let mut names: Vec<_> = response.headers().keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        (response.status().as_u16(), names.join(" "), response.text().await.expect("text"))
    };
    let (status, headers, _) = names("/base/headers/end", None).await;
    assert_eq!((status, headers.as_str()), (200, "date transfer-encoding"));
    // Who gives a request an id gets it back.
    assert_eq!(names("/base/headers/end", Some("mine")).await.1, "date transfer-encoding x-request-id");
    let bare = Fixture::start(
        "[[trigger.http]]\nroute = \"/a\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"<probe>\"\n",
    );
    let response = reqwest::get(format!("{}/nowhere", bare.server.url)).await.expect("an answer");
    assert_eq!(
        (response.status(), response.headers()["content-length"].as_bytes()),
        (StatusCode::NOT_FOUND, &b"0"[..])
    );
    assert_eq!(response.text().await.expect("text"), "");
}

#[tokio::test]
async fn an_application_of_the_manifests_version_1_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let manifest = format!(
        r#"
        spin_version = "1"
        name = "old"
        trigger = {{ type = "http" }}
        version = "1.0.0"
        [[component]]
        id = "Old_probe"
        source = "{}"
        allowed_http_hosts = ["self"]
        environment = {{ COLOUR = "blue" }}
        [component.trigger]
        route = "/probe/..."
        "#,
        wasm("probe").display(),
    );
    let path = directory.path().join("spin.toml");
    std::fs::write(&path, manifest).expect("room");
    let server = Launch::manifest(&path).start(directory.path());
    let fixture = Fixture { server, directory };
    assert_eq!(get(&fixture, "/probe/environment/-").await, (StatusCode::OK, "COLOUR=blue\n".to_owned()));
    assert_eq!(get(&fixture, "/probe/get/-?/probe/environment/-").await.1, "200 COLOUR=blue\n");
    assert_eq!(get(&fixture, "/else").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_more_specific_route_wins() {
    let fixture = Fixture::start(CONTENT);
    for path in ["/", "/other", "/base/one", "/probe/headers/exact/more", "/tea"] {
        assert_eq!(get(&fixture, path).await, (StatusCode::OK, format!("Method::Get {path}\n")), "{path}");
    }
    let response = reqwest::get(format!("{}/tea/black", fixture.server.url)).await.expect("an answer");
    assert_eq!((response.status(), &response.headers()["x-pot"]), (StatusCode::IM_A_TEAPOT, &"short".parse().unwrap()));
    assert_eq!(response.text().await.expect("text"), "stout");
    assert_eq!(get(&fixture, "/inline/environment/-").await.1, "COLOUR=blue\n");
}

#[tokio::test]
async fn the_host_answers_what_is_reserved() {
    let fixture = Fixture::start(CONTENT);
    assert_eq!(get(&fixture, "/.well-known/spin/health").await, (StatusCode::OK, "OK".to_owned()));
    let (status, info) = get(&fixture, "/.well-known/spin/info").await;
    assert_eq!(status, StatusCode::OK);
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!(info, serde_json::json!({ "name": "fixture", "version": "1.2.3" }));
    assert_eq!(get(&fixture, "/.well-known/spin/other").await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&fixture, "/.well-known/other").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_base_path_comes_before_all_routes() {
    let fixture = Fixture::start(
        "[application.trigger.http]\nbase = \"/base\"\n[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = \"<probe>\"\n",
    );
    assert_eq!(get(&fixture, "/other").await.0, StatusCode::NOT_FOUND);
    let (_, text) = get(&fixture, "/base/headers/x").await;
    for line in [
        "spin-base-path: /base",
        "spin-component-route: ",
        "spin-matched-route: /base/...",
        "spin-path-info: /headers/x",
        "spin-raw-component-route: /...",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[tokio::test]
async fn nobody_outside_passes_for_a_component() {
    let fixture = Fixture::start(CONTENT);
    let request =
        Client::new().get(format!("{}/base/headers/x", fixture.server.url)).header("host", "probe.spin.internal");
    assert_eq!(request.send().await.expect("an answer").status(), StatusCode::BAD_REQUEST);
}

const CHAINED: &str = r#"
[[trigger.http]]
route = "/front/..."
component = "front"

[[trigger.http]]
route = { private = true }
component = "back"

[[trigger.http]]
route = "/bare/..."
component = "bare"

[[trigger.http]]
route = "/old/..."
component = "old"

[[trigger.http]]
route = "/tea"
static_response = { body = "stout" }

[component.front]
source = "<probe>"
allowed_outbound_hosts = ["http://back.spin.internal", "https://front.spin.internal", "http://ghost.spin.internal", "http://self"]

[component.back]
source = "<probe>"
allowed_outbound_hosts = ["http://*.spin.internal"]
environment = { COLOUR = "blue" }

[component.bare]
source = "<probe>"
allowed_outbound_hosts = ["http://other.spin.internal", "http://127.0.0.1"]

[component.old]
source = "<wasi02>"
allowed_outbound_hosts = ["http://*.spin.internal", "https://self.alt"]
"#;

#[tokio::test]
async fn a_component_calls_another_by_name_without_a_connection() {
    let fixture = Fixture::start(CHAINED);
    assert_eq!(get(&fixture, "/back/environment/-").await.0, StatusCode::NOT_FOUND, "its route is private");
    let (_, called) = get(&fixture, "/front/get/-?http://back.spin.internal/x/headers/y").await;
    let lines: Vec<_> = called.lines().collect();
    assert_eq!(
        lines,
        [
            "200 http://back.spin.internal/x/headers/y",
            "spin-base-path: /",
            "spin-client-addr: 0.0.0.0:0",
            "spin-component-route: ",
            "spin-full-url: http://back.spin.internal/x/headers/y",
            "spin-matched-route: /...",
            "spin-path-info: /x/headers/y",
            "spin-raw-component-route: /...",
        ]
    );
    // The scheme does not matter, and WASI 0.2 calls as 0.3 does.
    for path in [
        "/front/get/-?https://back.spin.internal/x/environment/-",
        "/old/x?get=http://back.spin.internal/x/environment/-",
    ] {
        assert_eq!(get(&fixture, path).await.1, "200 COLOUR=blue\n", "{path}");
    }
}

#[tokio::test]
async fn what_is_not_granted_or_not_there_is_not_called() {
    let fixture = Fixture::start(CHAINED);
    for (url, error) in [
        ("http://back.spin.internal/x/environment/-", "HttpRequestDenied"),
        ("http://bare.spin.internal/x/environment/-", "HttpRequestDenied"),
        ("http://self.alt/tea", "HttpRequestDenied"),
    ] {
        let (_, answer) = get(&fixture, &format!("/bare/get/-?{url}")).await;
        assert!(answer.contains(error), "{url}: {answer}");
    }
    fixture.server.log.line_with(&["denied", "back.spin.internal", "allowed_outbound_hosts", "bare"]);
    let (_, answer) = get(&fixture, "/front/get/-?http://ghost.spin.internal/").await;
    assert!(answer.contains("DestinationNotFound"), "{answer}");
}

#[tokio::test]
async fn the_application_calls_itself_by_route() {
    let fixture = Fixture::start(CHAINED);
    for path in
        ["/front/get/-?http://self.alt/tea", "/front/get/-?/tea", "/old/x?get=/tea", "/old/x?get=http://self.alt/tea"]
    {
        assert_eq!(get(&fixture, path).await.1, "200 stout", "{path}");
    }
    let (_, own) = get(&fixture, "/front/get/-?http://self.alt/front/headers/x").await;
    let url = format!("{}/front/headers/x", fixture.server.url);
    assert!(own.starts_with(&format!("200 {url}\n")), "{own}");
    assert!(own.contains("spin-path-info: /headers/x\n"), "{own}");
    let (_, answer) = get(&fixture, "/front/get/-?http://self.alt/nowhere").await;
    assert!(answer.starts_with("404"), "{answer}");
}

#[tokio::test]
async fn a_circle_of_calls_is_refused_and_harms_nobody() {
    let fixture = Fixture::start(CHAINED);
    let (status, answer) = get(&fixture, "/front/loop/front").await;
    assert_eq!(status, StatusCode::OK);
    assert!(answer.contains("LoopDetected") && answer.starts_with("200 200 200"), "{answer}");
    let line = fixture.server.log.line_with(&["refused: a chain of 17 calls"]);
    assert!(line.contains("front"), "{line}");
    assert_eq!(get(&fixture, "/tea").await.1, "stout");
}
