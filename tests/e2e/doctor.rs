//! `tessera doctor`: what is wrong is found, with what to do about it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::fixtures::{manifest, wasm};
use crate::support::server::binary;
use crate::support::services::{Certificates, Smtp, TcpRedis};

const PROBE: &str = "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"<probe>\"\nkey_value_stores = [\"jobs\"]\n";

fn examine(directory: &Path, arguments: &[&str]) -> (bool, Vec<Value>) {
    let mut command = Command::new(binary());
    command.args(["doctor", "--json", "--from"]).arg(directory.join("spin.toml")).args(arguments);
    let output = command.output().unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.success(), findings.as_array().unwrap().clone())
}

fn finding<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["check"].as_str().unwrap().starts_with(check));
    found.unwrap_or_else(|| panic!("no {check} in {findings:#?}"))
}

#[test]
fn a_sound_application_passes() {
    let directory = tempfile::tempdir().unwrap();
    manifest(directory.path(), PROBE);
    let (healthy, findings) = examine(directory.path(), &["--listen", "127.0.0.1:0"]);
    assert!(healthy, "{findings:#?}");
    assert_eq!(finding(&findings, "component probe")["status"], "ok");
    assert_eq!(finding(&findings, "clock")["status"], "ok");
}

#[test]
fn every_fault_is_named_with_its_remedy() {
    let directory = tempfile::tempdir().unwrap();
    manifest(directory.path(), &PROBE.replace("<probe>", "nowhere.wasm"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = directory.path().join("runtime-config.toml");
    let text = format!("[key_value_store.jobs]\ntype = \"redis\"\nurl = \"redis://:hunter2@{silent}\"\n");
    write(&config, &text, 0o644);
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    write(&state.join("admin.token"), "x", 0o644);
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["--listen", &address, "--runtime-config-file", config.to_str().unwrap()];
    let arguments = [&arguments[..], &["--state-dir", state.to_str().unwrap()]].concat();
    let (healthy, findings) = examine(directory.path(), &arguments);
    assert!(!healthy);
    for (check, fix) in [
        ("component probe", "tessera build"),
        ("Redis 127.0.0.1", "url"),
        ("address 127.0.0.1", "--listen"),
        ("admin token", "chmod 600"),
    ] {
        let finding = finding(&findings, check);
        assert_eq!(finding["status"], "error", "{finding}");
        assert!(finding["fix"].as_str().unwrap().contains(fix), "{finding}");
    }
    let secrets = finding(&findings, "secrets in the runtime configuration");
    assert!(secrets["status"] == "warning" && secrets["message"].to_string().contains("644"), "{secrets}");
    assert!(!format!("{findings:?}").contains("hunter2"));
}

/// The looks are real ones: with TLS, a certificate that is checked, and a login.
#[test]
fn engines_are_looked_at_as_they_are_used() {
    let (certificates, password) = (Certificates::new(), "hunter2");
    let Some(redis) = TcpRedis::encrypted(&certificates, password) else { return };
    let Some(smtp) = Smtp::encrypted(&certificates, "user", password) else { return };
    let directory = tempfile::tempdir().unwrap();
    manifest(directory.path(), PROBE);
    let ca = format!("ca_file = \"{}\"\n", certificates.ca());
    let config = |scheme: &str, ca: &str, password: &str, tls: &str| {
        let (redis, smtp) = (redis.port, smtp.port);
        format!(
            "[key_value_store.jobs]\ntype = \"redis\"\nurl = \"{scheme}://:{password}@localhost:{redis}\"\n{ca}\
             [mail]\ntype = \"smtp\"\nfrom = \"a@example.org\"\nhost = \"localhost\"\nport = {smtp}\n\
             tls = \"{tls}\"\nusername = \"user\"\npassword = \"{password}\"\n{ca}"
        )
    };
    // What is said of Redis and what to do about it, then the same of SMTP; nothing where all is well.
    for (config, expected) in [
        (config("rediss", &ca, password, "starttls"), [None, None]),
        (config("rediss", "", password, "starttls"), [Some(("not trusted", "ca_file")); 2]),
        (
            config("rediss", &ca, "wrong-one", "starttls"),
            [Some(("password", "`url`")), Some(("login", "`username` and `password`"))],
        ),
        (
            config("redis", "", password, "tls").replace("[mail]", &format!("[mail]\n{ca}")),
            [Some(("expects TLS", "`rediss://`")), Some(("does not begin with TLS", "starttls"))],
        ),
    ] {
        let file = directory.path().join("runtime-config.toml");
        write(&file, &config, 0o600);
        let (_, findings) =
            examine(directory.path(), &["--listen", "127.0.0.1:0", "--runtime-config-file", file.to_str().unwrap()]);
        for (check, expected) in ["Redis localhost", "SMTP localhost"].iter().zip(expected) {
            let finding = finding(&findings, check);
            let Some((message, fix)) = expected else {
                assert_eq!(finding["status"], "ok", "{finding}");
                continue;
            };
            assert_eq!(finding["status"], "error", "{finding}");
            assert!(finding["message"].as_str().unwrap().contains(message), "{message}: {finding}");
            assert!(finding["fix"].as_str().unwrap().contains(fix), "{fix}: {finding}");
        }
        let text = format!("{findings:?}");
        assert!(!text.contains(password) && !text.contains("wrong-one"), "{text}");
    }
    assert!(smtp.taken().is_empty());
}

/// Those that no engine is on: what variables, triggers and telemetry need.
#[test]
fn servers_of_variables_triggers_and_telemetry_are_looked_at() {
    let (certificates, password) = (Certificates::new(), "hunter2");
    let Some(redis) = TcpRedis::encrypted(&certificates, password) else { return };
    let directory = tempfile::tempdir().unwrap();
    let trigger = format!(
        "[variables]\npassword = {{ required = true, secret = true }}\n[[trigger.redis]]\ncomponent = \"probe\"\n\
         channel = \"news\"\naddress = \"redis://:{{{{ password }}}}@localhost:{}\"\n",
        redis.port
    );
    manifest(directory.path(), &format!("{trigger}{PROBE}"));
    let config = directory.path().join("runtime-config.toml");
    let look = |text: &str, more: &[&str]| {
        write(&config, text, 0o600);
        let always = ["--listen", "127.0.0.1:0", "--runtime-config-file", config.to_str().unwrap()];
        let (_, findings) = examine(directory.path(), &[&always[..], more].concat());
        assert!(!format!("{findings:?}").contains(password), "{findings:?}");
        findings
    };
    let check = |findings: &[Value], name: &str, status: &str, message: &str| {
        let finding = finding(findings, name);
        assert_eq!(finding["status"], status, "{finding}");
        assert!(finding["message"].as_str().unwrap().contains(message), "{finding}");
    };
    check(&look("", &[]), "variables", "error", "`password` has no value");

    // This Redis wants TLS: it was really spoken to.
    let given = format!("password={password}");
    let findings = look("", &["--variable", &given]);
    check(&findings, "variables", "ok", "each of 1 has a value");
    check(&findings, "Redis localhost", "error", "expects TLS");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let vault =
        format!("[[variables_provider]]\ntype = \"vault\"\nurl = \"http://{silent}\"\ntoken = \"t\"\nmount = \"m\"\n");
    check(&look(&vault, &[]), "variables", "error", &format!("Vault at http://{silent}"));

    let telemetry = |address: std::net::SocketAddr| format!("[telemetry]\nendpoint = \"http://{address}\"\n");
    check(&look(&telemetry(silent), &[]), "telemetry http://127.0.0.1", "error", "takes no messages");
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    let message = std::thread::spawn(move || {
        let (mut connection, _) = collector.accept().unwrap();
        let mut message = vec![0; 4096];
        let mut length = 0;
        while !message[..length].ends_with(b"}") {
            length += connection.read(&mut message[length..]).unwrap();
        }
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    });
    check(&look(&telemetry(address), &[]), "telemetry http://127.0.0.1", "ok", "takes messages");
    let message = message.join().unwrap();
    assert!(message.starts_with("POST /v1/traces ") && message.ends_with("{\"resourceSpans\":[]}"), "{message}");
}

#[test]
fn secrets_that_others_can_read_are_found() {
    let directory = tempfile::tempdir().unwrap();
    manifest(directory.path(), PROBE);
    let file = |name: &str| directory.path().join(name);
    let config = "[key_value_store.jobs]\ntype = \"redis\"\nurl_file = \"jobs.url\"\n\
                  [tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n";
    let names = ["jobs.url", "key.pem", "other.pem"];
    for (mode, all) in [(0o644, true), (0o602, true), (0o640, false), (0o600, false)] {
        for name in names {
            write(&file(name), "redis://localhost:1", mode);
        }
        // Nothing in these is secret.
        write(&file("cert.pem"), "certificate", 0o644);
        write(&file("runtime-config.toml"), config, 0o644);
        let [config, key] = ["runtime-config.toml", "other.pem"].map(|name| file(name).to_str().unwrap().to_owned());
        let (_, findings) = examine(directory.path(), &["--runtime-config-file", &config, "--tls-key", &key]);
        let found: Vec<_> =
            findings.iter().filter(|finding| finding["check"].as_str().unwrap().starts_with("secret")).collect();
        assert_eq!(found.len(), if all { names.len() } else { 0 }, "{mode:o}: {found:#?}");
        for (name, finding) in names.iter().zip(found) {
            assert_eq!(finding["status"], "warning");
            assert!(finding["message"].as_str().unwrap().contains(&format!("{mode:o}")), "{finding}");
            let fix = finding["fix"].as_str().unwrap();
            assert!(fix.starts_with("chmod o-rwx") && fix.ends_with(name), "{finding}");
        }
    }
}

#[test]
fn a_component_older_than_its_sources_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for path in ["src/deep", "src/target"] {
        std::fs::create_dir_all(root.join(path)).unwrap();
    }
    std::fs::copy(wasm("probe"), root.join("probe.wasm")).unwrap();
    let build = "[component.probe.build]\ncommand = \"true\"\nwatch = [\"src/**/*.rs\", \"Cargo.toml\"]\n";
    manifest(root, &format!("{}{build}", PROBE.replace("<probe>", "probe.wasm")));
    let built = SystemTime::now() - Duration::from_secs(1000);
    let age = |name: &str, time: SystemTime| {
        let file = File::options().create(true).append(true).open(root.join(name)).unwrap();
        file.set_modified(time).unwrap();
    };
    age("probe.wasm", built);
    let (before, after) = (built - Duration::from_secs(1), built + Duration::from_secs(1));
    let status = || {
        let (healthy, findings) = examine(root, &["--listen", "127.0.0.1:0"]);
        assert!(healthy, "{findings:#?}");
        finding(&findings, "component probe").clone()
    };
    for name in ["src/lib.rs", "src/deep/mod.rs", "Cargo.toml"] {
        age(name, before);
    }
    // Neither of these is named by `watch`.
    for name in ["README.md", "src/notes.txt", "src/target/made.rs"] {
        age(name, after);
    }
    assert_eq!(status()["status"], "ok");
    for name in ["src/lib.rs", "src/deep/mod.rs", "Cargo.toml"] {
        age(name, after);
        let finding = status();
        assert_eq!(finding["status"], "warning", "{name}: {finding}");
        assert!(finding["message"].as_str().unwrap().contains(name), "{finding}");
        assert_eq!(finding["fix"], "tessera build --component-id probe");
        age(name, before);
    }
    assert_eq!(status()["status"], "ok");
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
