//! Where variables get their values: command line, environment, `.env`, files, and Vault, here a
//! server that speaks the key-value API of version 2 as HashiCorp documents it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::fixtures;
use crate::support::server::{Launch, Server};

const TOKEN: &str = "hvs.the-token";

/// What the server knows: mounts of version 2, and the data of their secrets' latest versions.
#[derive(Default)]
struct Store {
    secrets: BTreeMap<(&'static str, String), Value>,
    sealed: bool,
    asked: Vec<String>,
}

struct Vault {
    url: String,
    store: Arc<Mutex<Store>>,
}

impl Vault {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let store = Arc::new(Mutex::new(Store::default()));
        let shared = Arc::clone(&store);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let answer = answer(&mut shared.lock().unwrap(), &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                tokio::spawn(async move { server.serve_connection(TokioIo::new(connection), service).await.ok() });
            }
        });
        Self { url, store }
    }

    /// Writes a secret's latest version.
    fn put(&self, mount: &'static str, path: &str, data: Value) {
        self.store.lock().unwrap().secrets.insert((mount, path.to_owned()), data);
    }

    fn asked(&self) -> Vec<String> {
        self.store.lock().unwrap().asked.clone()
    }
}

fn answer(store: &mut Store, request: &Request<Incoming>) -> Response<String> {
    let respond = |status: u16, body: &Value| {
        let response = Response::builder().status(status).header("content-type", "application/json");
        response.body(body.to_string()).unwrap()
    };
    if store.sealed {
        return respond(503, &json!({"errors": ["Vault is sealed"]}));
    }
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if header("x-vault-token") != Some(TOKEN) || header("x-vault-request") != Some("true") {
        return respond(403, &json!({"errors": ["permission denied"]}));
    }
    let path = request.uri().path();
    store.asked.push(format!("{} {path}", request.method()));
    let mounts = ["secret", "team/kv"];
    let path = path.strip_prefix("/v1/").unwrap_or_default();
    let found = mounts.into_iter().find_map(|mount| Some((mount, path.strip_prefix(mount)?.strip_prefix('/')?)));
    let Some((mount, path)) = found else {
        return respond(404, &json!({"errors": [format!("no handler for route \"{path}\". route entry not found.")]}));
    };
    if path.starts_with("data/moved") {
        let response = Response::builder().status(307).header("location", "http://127.0.0.1:1/v1/secret/data/moved");
        return response.body(String::new()).unwrap();
    }
    let secret = path.strip_prefix("data/").and_then(|path| store.secrets.get(&(mount, path.to_owned())));
    let metadata =
        json!({"created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": false, "version": 1});
    match secret {
        None => respond(404, &json!({"errors": []})),
        // A deleted version.
        Some(Value::Null) => respond(404, &json!({"data": {"data": null, "metadata": metadata}})),
        Some(data) => respond(200, &json!({"request_id": "1", "data": {"data": data, "metadata": metadata}})),
    }
}

/// An application whose probe sees the variables that the manifest declares.
fn application(directory: &Path, declared: &[(&str, Option<&str>)]) -> PathBuf {
    let (mut variables, mut seen) = (String::new(), String::new());
    for (name, default) in declared {
        let value = default.map_or_else(|| "required = true".to_owned(), |text| format!("default = \"{text}\""));
        variables.push_str(&format!("{name} = {{ {value} }}\n"));
        seen.push_str(&format!("{name} = \"{{{{ {name} }}}}\"\n"));
    }
    let content = format!(
        "[variables]\n{variables}[[trigger.http]]\nroute = \"/x/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = \"<probe>\"\n[component.probe.variables]\n{seen}"
    );
    fixtures::manifest(directory, &content)
}

fn launch(directory: &Path, declared: &[(&str, Option<&str>)], config: &str) -> Launch {
    let file = directory.join("runtime-config.toml");
    fs::write(&file, config).unwrap();
    let manifest = application(directory, declared);
    // Not where the tests run, which may have a `.env`.
    Launch::manifest(&manifest)
        .working_directory(directory)
        .argument("--runtime-config-file")
        .argument(file.to_str().unwrap())
}

async fn value(server: &Server, name: &str) -> String {
    let url = format!("{}/x/variable/{name}", server.url);
    reqwest::get(url).await.unwrap().error_for_status().unwrap().text().await.unwrap()
}

fn vault_config(url: &str, more: &str) -> String {
    format!(
        "[[variables_provider]]\ntype = \"vault\"\nurl = \"{url}\"\ntoken = \"{TOKEN}\"\nmount = \"secret\"\n{more}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_source_with_a_value_wins() {
    let vault = Vault::start().await;
    let directory = tempfile::tempdir().unwrap();
    let secrets = directory.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    let names = ["cli", "cli_file", "environment", "named", "dotenv", "file", "fixed", "vaulted", "fallback"];
    for (index, name) in names.iter().enumerate() {
        vault.put("secret", name, json!({"value": "vault", "other": 1}));
        if index < 7 {
            // `fixed` is the last that the static provider behind the files has to answer.
            if index < 6 {
                fs::write(secrets.join(name), "file\n").unwrap();
            }
        }
    }
    vault.put("secret", "fallback", Value::Null);
    fs::write(directory.path().join("named.txt"), "named\r\n").unwrap();
    let dotenv = "# a comment\nSPIN_VARIABLE_DOTENV=\"from .env\"\nSPIN_VARIABLE_ENVIRONMENT=no\n";
    fs::write(directory.path().join(".env"), dotenv).unwrap();
    let more = directory.path().join("more.json");
    fs::write(&more, "{\"cli_file\": \"json\", \"cli\": \"no\"}").unwrap();
    let config = format!(
        "[[variables_provider]]\ntype = \"file\"\ndirectory = \"secrets\"\n\
         [[variables_provider]]\ntype = \"static\"\nvalues = {{ fixed = \"static\", file = \"no\" }}\n{}",
        vault_config(&vault.url, "")
    );
    let declared = names.map(|name| (name, Some("default")));
    let server = launch(directory.path(), &declared, &config)
        .argument("--variable")
        .argument(&format!("@{}", more.display()))
        .variable("cli", "cli")
        .environment("SPIN_VARIABLE_CLI", "no")
        .environment("SPIN_VARIABLE_ENVIRONMENT", "environment")
        .environment("SPIN_VARIABLE_NAMED_FILE", "named.txt")
        .start(directory.path());
    let expected = ["cli", "json", "environment", "named", "from .env", "file", "static", "vault", "default"];
    for (name, expected) in names.iter().zip(expected) {
        assert_eq!(value(&server, name).await, expected, "{name}");
    }
    // Only for what no source before it has.
    assert_eq!(vault.asked(), ["GET /v1/secret/data/fallback", "GET /v1/secret/data/vaulted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vault_is_asked_with_mount_prefix_and_token_file() {
    let vault = Vault::start().await;
    vault.put("team/kv", "app/prod/api_key", json!({"value": "s3cr3t"}));
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let config = format!(
        "[[config_provider]]\ntype = \"vault\"\nurl = \"{}/\"\ntoken_file = \"token\"\nmount = \"team/kv\"\n\
         prefix = \"app/prod\"\n",
        vault.url
    );
    let server = launch(directory.path(), &[("api_key", None)], &config).start(directory.path());
    assert_eq!(value(&server, "api_key").await, "s3cr3t");
    assert_eq!(vault.asked(), ["GET /v1/team/kv/data/app/prod/api_key"]);
    assert!(!server.log.text().contains("s3cr3t"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_vault_refuses_stops_the_start_and_shows_no_secret() {
    let vault = Vault::start().await;
    for (name, data) in [("number", json!({"value": 5_550_123})), ("fieldless", json!({"password": "hunter2"}))] {
        vault.put("secret", name, data);
    }
    let right = vault_config(&vault.url, "");
    let closed = format!("http://127.0.0.1:{}", {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        port.local_addr().unwrap().port()
    });
    let cases = [
        ("number", right.clone(), "needs a field `value` that is a text"),
        ("fieldless", right.clone(), "has no field `value`"),
        ("absent", right.clone(), "SPIN_VARIABLE_ABSENT"),
        ("moved", right.clone(), "sends clients elsewhere"),
        ("x", right.replace(TOKEN, "hvs.wrong"), "refused the token"),
        ("x", right.replace("mount = \"secret\"", "mount = \"nowhere\""), "no engine is mounted at `nowhere`"),
        ("x", vault_config(&closed, ""), "cannot be asked"),
    ];
    for (name, config, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        let output = launch(directory.path(), &[(name, None)], &config).refused(directory.path());
        assert!(output.contains(expected), "{name}: {output}");
        for secret in ["5550123", "hunter2", TOKEN, "hvs.wrong"] {
            assert!(!output.contains(secret), "{name}: {output}");
        }
    }
    vault.store.lock().unwrap().sealed = true;
    let directory = tempfile::tempdir().unwrap();
    // Not even where there is a default: it may be the wrong one.
    let output = launch(directory.path(), &[("x", Some("default"))], &right).refused(directory.path());
    assert!(output.contains("it is sealed"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_files_are_refused_and_not_shown() {
    let declared = [("a", None), ("b", Some("b"))];
    let cases: [(&str, &str, &str); 5] = [
        (".env", "SPIN_VARIABLE_A=hunter2 hunter3", ".env: write lines like"),
        ("values.toml", "a = \"hunter2\"\nb = 5", "values.toml: write lines like"),
        ("values.json", "{\"a\": \"hunter2\"", "values.json: write an object like"),
        ("values.yaml", "a: hunter2", "*.toml or *.json"),
        ("named", "", "both SPIN_VARIABLE_A and SPIN_VARIABLE_A_FILE are set"),
    ];
    for (file, text, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(file), text).unwrap();
        let mut launch = launch(directory.path(), &declared, "");
        if file.starts_with("values") {
            launch = launch.argument("--variable").argument(&format!("@{file}"));
        }
        if file == "named" {
            launch = launch.environment("SPIN_VARIABLE_A", "hunter2").environment("SPIN_VARIABLE_A_FILE", file);
        }
        let output = launch.refused(directory.path());
        assert!(output.contains(expected) && !output.contains("hunter"), "{file}: {output}");
    }
}
