//! WAGI: a program that is run for each request, as CGI (RFC 3875) says: the request is in its
//! environment, its arguments and its standard input, and what it prints is the response.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use wasmtime::error::Context as _;
use wasmtime::{Result, bail};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::whole::{MAX_BODY, prepare};
use crate::app::component::Component;
use crate::state::State;

/// A route's header that components of other kinds get, and the variable that says the same here.
const LABELS: &[(&str, &str)] = &[
    ("spin-path-info", "PATH_INFO"),
    ("spin-full-url", "X_FULL_URL"),
    ("spin-matched-route", "X_MATCHED_ROUTE"),
    ("spin-base-path", "X_BASE_PATH"),
    ("spin-raw-component-route", "X_RAW_COMPONENT_ROUTE"),
    ("spin-component-route", "X_COMPONENT_ROUTE"),
    ("spin-client-addr", "X_CLIENT_ADDR"),
];

/// Of these, no copy under `HTTP_…`: the first two have variables of their own, and secrets of the
/// client do not belong in an environment (RFC 3875, 4.1.18).
const UNCOPIED: &[&str] = &["content-length", "content-type", "authorization", "connection"];

/// A program and its arguments.
pub(crate) struct Script {
    command: CommandPre<State>,
    arguments: String,
}

impl Script {
    /// `arguments` as Spin writes them: `${SCRIPT_NAME}` is the path, `${ARGS}` the query's parts.
    ///
    /// # Errors
    /// If the component is no program.
    pub(super) fn new(component: &Component, arguments: &str) -> Result<Self> {
        let command = CommandPre::new(component.pre.clone())?;
        Ok(Self { command, arguments: arguments.to_owned() })
    }

    pub(super) async fn run(&self, component: &Component, parts: &Parts, body: Bytes) -> Result<Response<WasiBody>> {
        let output = MemoryOutputPipe::new(MAX_BODY);
        let environment = environment(parts, body.len());
        let arguments = arguments(&self.arguments, parts);
        let mut store = component.store_with(|wasi| {
            wasi.args(&arguments).envs(&environment);
            wasi.stdin(MemoryInputPipe::new(body)).stdout(output.clone());
        })?;
        let cpu = prepare(component, &mut store);
        let run = async {
            let command = self.command.instantiate_async(&mut store).await?;
            command.wasi_cli_run().call_run(&mut store).await
        };
        let ended = cpu.measure(run).await;
        let failed = match ended {
            Ok(result) => result.is_err(),
            // A program that exits ends by a trap; which one says how.
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(exit) => exit.0 != 0,
                None => return Err(error),
            },
        };
        drop(store);
        if failed {
            tracing::warn!(component = &*component.id, "the program ended with a failure");
        }
        response(output.contents())
    }
}

/// The program's arguments for this request.
fn arguments(template: &str, parts: &Parts) -> Vec<String> {
    let query = parts.uri.query().unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    let pairs: Vec<_> = pairs
        .map(|(name, value)| if value.is_empty() { name.into_owned() } else { format!("{name}={value}") })
        .collect();
    let words = template.split_whitespace();
    words
        .flat_map(|word| match word {
            "${SCRIPT_NAME}" => vec![parts.uri.path().to_owned()],
            "${ARGS}" => pairs.clone(),
            word => vec![word.to_owned()],
        })
        .collect()
}

/// The request as CGI's variables, and Spin's own.
fn environment(parts: &Parts, length: usize) -> Vec<(String, String)> {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = header("host");
    let host =
        if host.is_empty() { parts.uri.authority().map_or("localhost", |authority| authority.as_str()) } else { host };
    let authority = host.parse::<http::uri::Authority>().ok();
    let name = authority.as_ref().map_or("localhost", |authority| authority.host());
    let port = authority.as_ref().and_then(|authority| authority.port_u16()).unwrap_or(80);
    // Without its port.
    let client = header("spin-client-addr");
    let client = client.parse::<std::net::SocketAddr>().map_or(client.to_owned(), |address| address.ip().to_string());
    let query = parts.uri.query().unwrap_or_default();
    let mut variables: Vec<(String, String)> = [
        ("AUTH_TYPE", ""),
        ("CONTENT_LENGTH", &length.to_string()),
        ("CONTENT_TYPE", header("content-type")),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("PATH_INFO", parts.uri.path()),
        ("PATH_TRANSLATED", header("spin-path-info")),
        ("QUERY_STRING", query),
        ("REMOTE_ADDR", &client),
        ("REMOTE_HOST", &client),
        ("REMOTE_USER", ""),
        ("REQUEST_METHOD", parts.method.as_str()),
        ("SCRIPT_NAME", header("spin-component-route")),
        ("SERVER_NAME", name),
        ("SERVER_PORT", &port.to_string()),
        ("SERVER_PROTOCOL", &format!("{:?}", parts.version)),
        ("SERVER_SOFTWARE", concat!("tessera/", env!("CARGO_PKG_VERSION"))),
        ("X_RAW_PATH_INFO", header("spin-path-info")),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    for (name, value) in &parts.headers {
        let (name, Ok(value)) = (name.as_str(), value.to_str()) else { continue };
        if let Some((_, variable)) = LABELS.iter().find(|(label, _)| *label == name) {
            set(&mut variables, variable, value);
        } else if let Some(parameter) = name.strip_prefix("spin-path-match-") {
            set(&mut variables, &format!("X_PATH_MATCH_{}", variable(parameter)), value);
        } else if !UNCOPIED.contains(&name) {
            set(&mut variables, &format!("HTTP_{}", variable(name)), value);
        }
    }
    variables
}

/// A later header of a name wins, and a route's label over what was there.
fn set(variables: &mut Vec<(String, String)>, name: &str, value: &str) {
    match variables.iter_mut().find(|(other, _)| other == name) {
        Some((_, other)) => value.clone_into(other),
        None => variables.push((name.to_owned(), value.to_owned())),
    }
}

fn variable(header: &str) -> String {
    header.to_ascii_uppercase().replace('-', "_")
}

/// What a program printed, as a response: headers to the first empty line, then the body.
fn response(output: Bytes) -> Result<Response<WasiBody>> {
    if output.is_empty() {
        bail!("it printed nothing, though its route's executor is `wagi`");
    }
    let mut response = Response::new(());
    let (mut at, mut status, mut typed) = (0, None, false);
    loop {
        let rest = output.get(at..).unwrap_or_default();
        let length =
            rest.iter().position(|byte| *byte == b'\n').context("its headers do not end with an empty line")?;
        at = at.saturating_add(length).saturating_add(1);
        let line = rest.get(..length).unwrap_or_default();
        let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line))?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').with_context(|| format!("its line `{line}` is no header"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split_whitespace().next().unwrap_or_default();
            let code: Result<StatusCode, _> = code.parse();
            status = Some(code.with_context(|| format!("its status `{value}` is none"))?);
            continue;
        }
        let parsed: Result<HeaderName, _> = name.trim().parse();
        let name = parsed.with_context(|| format!("`{name}` is no name of a header"))?;
        typed |= name == CONTENT_TYPE || name == LOCATION;
        if name == LOCATION {
            status = status.or(Some(StatusCode::FOUND));
        }
        // The length is what is there.
        if name != CONTENT_LENGTH {
            response.headers_mut().append(name, HeaderValue::from_str(value)?);
        }
    }
    if !typed {
        bail!("it printed neither a `content-type` nor a `location`");
    }
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    let body = Full::new(output.slice(at.min(output.len())..));
    Ok(response.map(|()| body.map_err(HttpError::from).boxed_unsync()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn arguments_are_the_path_and_the_query() {
        let parts = parts("http://a/b/c?x=1%202&flag&y=", &[]);
        assert_eq!(arguments("${SCRIPT_NAME} ${ARGS}", &parts), ["/b/c", "x=1 2", "flag", "y"]);
        assert_eq!(arguments("run --fast", &parts), ["run", "--fast"]);
    }

    #[test]
    fn the_request_is_in_the_environment() {
        let headers = [
            ("host", "example.com:8080"),
            ("content-type", "text/plain"),
            ("authorization", "secret"),
            ("x-one", "1"),
            ("spin-path-info", "/rest"),
            ("spin-path-match-id", "7"),
            ("spin-client-addr", "10.0.0.1:999"),
        ];
        let environment = environment(&parts("http://example.com:8080/a/rest?q=1", &headers), 5);
        let get = |name: &str| environment.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        assert_eq!(get("REQUEST_METHOD"), Some("POST"));
        assert_eq!(get("CONTENT_LENGTH"), Some("5"));
        assert_eq!(get("CONTENT_TYPE"), Some("text/plain"));
        assert_eq!(get("QUERY_STRING"), Some("q=1"));
        assert_eq!((get("SERVER_NAME"), get("SERVER_PORT")), (Some("example.com"), Some("8080")));
        assert_eq!((get("PATH_INFO"), get("X_PATH_MATCH_ID")), (Some("/rest"), Some("7")));
        assert_eq!((get("REMOTE_ADDR"), get("X_CLIENT_ADDR")), (Some("10.0.0.1"), Some("10.0.0.1:999")));
        assert_eq!((get("HTTP_X_ONE"), get("HTTP_AUTHORIZATION")), (Some("1"), None));
    }

    #[tokio::test]
    async fn what_is_printed_is_the_response() {
        let printed = "Content-Type: text/plain\r\nstatus: 201 Created\nX-A: b\n\nhello\n\nthere";
        let answer = response(Bytes::from(printed)).unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(
            (answer.headers()["content-type"].as_bytes(), answer.headers()["x-a"].as_bytes()),
            (&b"text/plain"[..], &b"b"[..])
        );
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello\n\nthere");
        let moved = response(Bytes::from("Location: /there\n\n")).unwrap();
        assert_eq!((moved.status(), moved.headers()["location"].as_bytes()), (StatusCode::FOUND, &b"/there"[..]));
        for wrong in
            ["", "hello", "content-type: a\n", "X-A: b\n\nbody", "status: x\ncontent-type: a\n\n", "no header\n\n"]
        {
            assert!(response(Bytes::from(wrong)).is_err(), "{wrong:?}");
        }
    }
}
