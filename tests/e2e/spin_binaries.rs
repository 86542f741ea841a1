//! What Spin's SDKs and their predecessors produce runs as it is: core modules, release candidates
//! of WASI, Spin's own HTTP, and programs.

use reqwest::{Client, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::fixtures::{Fixture, manifest};
use crate::support::server::Launch;

/// A server on a port of its own that answers every request with 203 and the request's line.
async fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = connection.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let line = request.lines().next().unwrap_or_default();
            let head = format!("HTTP/1.1 203 Fine\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", line.len());
            _ = connection.write_all(format!("{head}{line}").as_bytes()).await;
        }
    });
    port
}

/// An application of one component, from the fixture `name`, that may reach `port` alone.
fn start(name: &str, port: u16) -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("public.txt"), "for everybody").expect("room");
    let content = format!(
        r#"
        [[trigger.http]]
        route = "/..."
        component = "guest"
        [component.guest]
        source = "<{name}>"
        allowed_outbound_hosts = ["http://127.0.0.1:{port}"]
        environment = {{ COLOUR = "blue" }}
        files = [{{ source = "public.txt", destination = "/public.txt" }}]
        [component.guest.tool.tessera]
        limits = {{ cpu_time = "300ms" }}
        "#
    );
    Fixture::start_in(directory, &content)
}

async fn post(fixture: &Fixture, path: &str, body: &str) -> (StatusCode, String) {
    let request = Client::new().post(format!("{}{path}", fixture.server.url)).header("x-colour", "red");
    let response = request.body(body.to_owned()).send().await.expect("an answer");
    (response.status(), response.text().await.expect("text"))
}

#[tokio::test]
async fn a_core_module_of_sdk_2_runs() {
    let port = upstream().await;
    let guest = start("sdk2", port);
    let (status, text) = post(&guest, "/a/b", "hello").await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "POST /a/b hello"));
    // A longer body goes through in pieces, both ways.
    let long = "0123456789".repeat(100_000);
    let (_, text) = post(&guest, "/long", &long).await;
    assert_eq!(text.len(), "POST /long ".len() + long.len());
    let (_, text) = post(&guest, "/fetch", &format!("http://127.0.0.1:{port}/there?x")).await;
    assert_eq!(text, "203 GET /there?x HTTP/1.1");
    let (_, text) = post(&guest, "/fetch", "http://127.0.0.2:1/").await;
    assert!(text.starts_with("error: "), "{text}");
    let (_, text) = post(&guest, "/file", "").await;
    assert_eq!(text, "for everybody");
    let (_, text) = post(&guest, "/environment", "").await;
    assert_eq!(text, "blue");
}

#[tokio::test]
async fn a_component_of_sdk_6_runs() {
    let port = upstream().await;
    let guest = start("sdk6", port);
    let (status, text) = post(&guest, "/a/b", "hello").await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "POST /a/b hello"));
    let (_, text) = post(&guest, "/fetch", &format!("http://127.0.0.1:{port}/there?x")).await;
    assert_eq!(text, "203 GET /there?x HTTP/1.1");
    let (_, text) = post(&guest, "/fetch", "http://127.0.0.2:1/").await;
    assert!(text.contains("HttpRequestDenied"), "{text}");
}

#[tokio::test]
async fn spins_own_http_is_served_and_sent() {
    let port = upstream().await;
    let guest = start("inbound", port);
    let request = Client::new().post(format!("{}/a/b?c=d", guest.server.url)).header("x-colour", "red").body("hello");
    let response = request.send().await.expect("an answer");
    assert_eq!((response.status(), response.headers()["x-kind"].as_bytes()), (StatusCode::CREATED, &b"inbound"[..]));
    assert_eq!(response.text().await.expect("text"), "Method::Post /a/b?c=d red hello");
    let (_, text) = post(&guest, "/fetch", &format!("http://127.0.0.1:{port}/there?x")).await;
    assert_eq!(text, "203 GET /there?x HTTP/1.1");
    let (_, text) = post(&guest, "/fetch", "http://127.0.0.2:1/").await;
    assert!(text.contains("destination-not-allowed"), "{text}");
    let (_, text) = post(&guest, "/fetch", "http://").await;
    assert!(text.contains("invalid-url"), "{text}");
}

#[tokio::test]
async fn spins_own_http_is_within_the_limits() {
    let guest = start("inbound", 1);
    assert_eq!(post(&guest, "/trap", "").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    guest.server.log.line_with(&["as asked", "guest"]);
    assert!(post(&guest, "/loop", "").await.0.is_server_error());
    let url = format!("{}/x", guest.server.url);
    let response = Client::new().request(reqwest::Method::TRACE, url).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(post(&guest, "/still", "there").await.0, StatusCode::CREATED);
}

/// A handler of some version of `wasi:http` that asks another interface of the same version for
/// something, and traps then.
const HANDLER: &str = r#"(component
    (import "wasi:random/random@VERSION" (instance $random (export "get-random-u64" (func (result u64)))))
    (import "wasi:http/types@VERSION" (instance $types
        (export "incoming-request" (type (sub resource)))
        (export "response-outparam" (type (sub resource)))))
    (alias export $types "incoming-request" (type $request))
    (alias export $types "response-outparam" (type $out))
    (core func $random-core (canon lower (func $random "get-random-u64")))
    (core module $module
        (import "host" "random" (func $random (result i64)))
        (func $ends_as_asked (export "handle") (param i32 i32) (drop (call $random)) unreachable))
    (core instance $host (export "random" (func $random-core)))
    (core instance $instance (instantiate $module (with "host" (instance $host))))
    (type $handle (func (param "request" (own $request)) (param "response-out" (own $out))))
    (func $handler (type $handle) (canon lift (core func $instance "handle")))
    (instance $exported (export "handle" (func $handler)))
    (export "wasi:http/incoming-handler@VERSION" (instance $exported)))"#;

#[tokio::test]
async fn every_version_of_wasi_02_is_served() {
    // The release candidates, the first, the last, and one that is yet to come.
    for version in
        ["0.2.0-rc-2023-10-18", "0.2.0-rc-2023-11-10", "0.2.0", "0.2.1", "0.2.3", "0.2.6", "0.2.12", "0.2.99"]
    {
        let directory = tempfile::tempdir().expect("a directory");
        let component = wat::parse_str(HANDLER.replace("VERSION", version)).expect("a component");
        std::fs::write(directory.path().join("handler.wasm"), component).expect("room");
        let content =
            "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"guest\"\n[component.guest]\nsource = \"handler.wasm\"\n";
        let guest = Fixture::start_in(directory, content);
        assert_eq!(post(&guest, "/", "").await.0, StatusCode::INTERNAL_SERVER_ERROR, "{version}");
        guest.server.log.line_with(&["ends_as_asked"]);
    }
}

const WAGI: &str = r#"
[[trigger.http]]
route = "/cgi/:id/..."
component = "program"
executor = { type = "wagi", argv = "program ${SCRIPT_NAME} ${ARGS}" }
[component.program]
source = "<wagi>"
environment = { COLOUR = "green" }
"#;

#[tokio::test]
async fn a_program_answers_as_a_cgi_script() {
    let guest = Fixture::start(WAGI);
    let request = Client::new().post(format!("{}/cgi/7/rest?a=1&exit", guest.server.url)).header("x-colour", "red");
    let response = request.body("the body").send().await.expect("an answer");
    assert_eq!((response.status(), response.headers()["x-kind"].as_bytes()), (StatusCode::ACCEPTED, &b"wagi"[..]));
    let text = response.text().await.expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            r#"["program", "/cgi/7/rest", "a=1", "exit"]"#,
            "REQUEST_METHOD=POST",
            "QUERY_STRING=a=1&exit",
            "CONTENT_LENGTH=8",
            "PATH_INFO=/rest",
            "HTTP_X_COLOUR=red",
            "COLOUR=green",
            "the body",
        ]
    );
    guest.server.log.line_with(&["to the log", "program"]);
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_the_reason() {
    let refused = |source: &[u8], executor: &str| {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("guest.wasm"), source).expect("room");
        let content = format!(
            "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"guest\"\n{executor}\n[component.guest]\nsource = \"guest.wasm\"\n"
        );
        let path = manifest(directory.path(), &content);
        Launch::manifest(&path).refused(directory.path())
    };
    let empty = b"\0asm\x01\0\0\0";
    let text = refused(empty, "");
    assert!(text.contains("`guest`") && text.contains("exports neither a world of WIT nor `_start`"), "{text}");
    let program = std::fs::read(crate::support::fixtures::wasm("wagi")).expect("the fixture");
    let text = refused(&program, "");
    assert!(text.contains("executor = { type = \"wagi\" }"), "{text}");
    let text = refused(b"no Wasm at all", "");
    assert!(text.contains("`guest`"), "{text}");
    let text = refused(empty, "executor = { type = \"wagi\", entrypoint = \"other\" }");
    assert!(text.contains("begins at `_start`"), "{text}");
}

/// The gateway with the accounts' component as a file, which needs stores and more.
fn with_dependency(dependency: &str) -> String {
    format!(
        r##"
        [[trigger.http]]
        route = "/..."
        component = "gateway"
        [component.gateway]
        source = "<gateway>"
        key_value_stores = ["jobs", "accounts", "keys"]
        variables = {{ max_upload_bytes = "1000", admin_email = "", admin_password = "" }}
        [component.gateway.dependencies]
        "tessera:auth/accounts@0.1.0" = {dependency}
        "tessera:auth/tokens@0.1.0" = {dependency}
        [component.gateway.tool.tessera]
        publish = ["events.registered"]
        [component.sink]
        source = "<consumer>"
        key_value_stores = ["attempts"]
        [component.sink.tool.tessera]
        consume = [{{ queue = "#" }}]
        "##
    )
}

#[tokio::test]
async fn a_file_dependency_has_what_it_inherits() {
    let body = r#"{"email": "a@example.org", "password": "correct horse battery staple"}"#;
    let register = async |dependency: &str| {
        let app = Fixture::start(&with_dependency(dependency));
        post(&app, "/registration", body).await.0
    };
    assert!(register(r#"{ path = "<auth>", inherit_configuration = true }"#).await.is_success());
    assert!(register(r#"{ path = "<auth>", inherit_configuration = ["variables"] }"#).await.is_server_error());
    assert!(register(r#"{ path = "<auth>" }"#).await.is_server_error());
}

#[tokio::test]
async fn a_source_by_url_is_fetched_once_and_checked() {
    let bytes = std::fs::read(crate::support::fixtures::wasm("wasi02")).expect("the fixture");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = tokio::spawn({
        let bytes = bytes.clone();
        async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                _ = connection.read(&mut [0; 4096]).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
                _ = connection.write_all(head.as_bytes()).await;
                _ = connection.write_all(&bytes).await;
            }
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let write = |digest: &str| {
        let content = format!(
            "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"guest\"\n[component.guest]\n\
             source = {{ url = \"http://127.0.0.1:{port}/guest.wasm\", digest = \"sha256:{digest}\" }}\n"
        );
        manifest(directory.path(), &content)
    };
    // What `sha256sum` prints for the file is not known beforehand: the refusal names it.
    let path = write(&"0".repeat(64));
    let state = directory.path().to_owned();
    let refusal = tokio::task::spawn_blocking({
        let state = state.clone();
        move || Launch::manifest(&path).refused(&state)
    });
    let refusal = refusal.await.expect("a refusal");
    let digest =
        refusal.split("its digest is sha256:").nth(1).and_then(|rest| rest.get(..64)).expect(&refusal).to_owned();
    let path = write(&digest);
    let launch = |path: std::path::PathBuf, state: std::path::PathBuf| {
        tokio::task::spawn_blocking(move || Launch::manifest(&path).start(&state))
    };
    let first = launch(path.clone(), state.clone()).await.expect("it starts");
    assert_eq!(reqwest::get(&first.url).await.expect("an answer").status(), StatusCode::OK);
    first.kill();
    // The second start needs no server.
    server.abort();
    let second = launch(path, state).await.expect("it starts");
    assert_eq!(reqwest::get(&second.url).await.expect("an answer").status(), StatusCode::OK);
}
