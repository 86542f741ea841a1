//! Whole configurations: what good ones mean, and what is said about bad ones.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::engines::Smtp;
use super::*;

fn read(text: &str) -> Result<Config, Invalid> {
    let readers = Readers {
        environment: &|name| (name == "REDIS_URL").then(|| "redis://from-environment".to_owned()),
        file: &|path: &Path| match path.to_str() {
            Some("etc/url") => Ok("redis://from-file\n".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        },
    };
    parse(Path::new("etc/runtime-config.toml"), text, &readers)
}

fn key_value_url(keys: &str) -> String {
    match read(&format!("[key_value_store.jobs]\ntype = \"redis\"\n{keys}")).unwrap().key_value("jobs") {
        KeyValue::Redis(redis) => redis.url.expose_secret().to_owned(),
        KeyValue::Embedded { .. } => panic!("embedded"),
    }
}

#[test]
fn an_absent_section_is_embedded() {
    let config = read("").unwrap();
    assert!(matches!(config.key_value("any"), KeyValue::Embedded { path: None }));
    assert_eq!(config.blob("any"), Blob::Embedded { path: None });
    assert!(matches!(config.queue, Queue::Embedded));
    assert!(matches!(config.mail.engine, MailEngine::Outbox));
    assert_eq!(config.mail.from, "Tessera <tessera@localhost>");
}

#[test]
fn embedded_engines_may_be_named() {
    let config = read(
        "[key_value_store.a]\ntype = \"embedded\"\n[blob_store.b]\ntype = \"embedded\"\npath = \"blobs\"\n\
         [queue]\ntype = \"embedded\"\n[mail]\nfrom = \"a@b.example\"\n",
    )
    .unwrap();
    assert!(matches!(config.key_value("a"), KeyValue::Embedded { path: None }));
    assert_eq!(config.blob("b"), Blob::Embedded { path: Some("etc/blobs".into()) });
    assert!(matches!(config.queue, Queue::Embedded));
    assert_eq!(config.mail.from, "a@b.example");
}

#[test]
fn a_url_stands_in_the_file_in_another_or_in_the_environment() {
    assert_eq!(key_value_url("url = \"redis://here\""), "redis://here");
    assert_eq!(key_value_url("url_file = \"url\""), "redis://from-file");
    assert_eq!(key_value_url("url_env = \"REDIS_URL\""), "redis://from-environment");
    let queue = read("[queue]\ntype = \"redis\"\nurl = \"rediss://here\"\n").unwrap().queue;
    assert!(matches!(queue, Queue::Redis(redis) if redis.url.expose_secret() == "rediss://here"));
}

#[test]
fn redis_may_be_trusted_by_a_private_authority_and_be_shown_a_certificate() {
    let redis =
        |keys: &str| match read(&format!("[queue]\ntype = \"redis\"\nurl = \"rediss://a\"\n{keys}")).unwrap().queue {
            Queue::Redis(redis) => (redis.root_certificates, redis.identity),
            Queue::Embedded => panic!("embedded"),
        };
    assert_eq!(redis(""), (None, None));
    assert_eq!(redis("ca_file = \"ca.pem\""), (Some("etc/ca.pem".into()), None));
    let identity = redis("client_cert_file = \"c.pem\"\nclient_private_key_file = \"/k.pem\"").1;
    assert_eq!(identity, Some(("etc/c.pem".into(), "/k.pem".into())));
}

fn smtp(keys: &str) -> Smtp {
    let config =
        read(&format!("[mail]\ntype = \"smtp\"\nfrom = \"A <a@b.example>\"\nhost = \"mail.example\"\n{keys}")).unwrap();
    assert_eq!(config.mail.from, "A <a@b.example>");
    match config.mail.engine {
        MailEngine::Smtp(smtp) => smtp,
        MailEngine::Outbox => panic!("outbox"),
    }
}

#[test]
fn smtp_is_encrypted_by_default_and_knows_the_usual_ports() {
    let plain = smtp("");
    assert_eq!((plain.host.as_str(), plain.tls, plain.port), ("mail.example", Tls::StartTls, 587));
    assert_eq!(plain.timeout, Duration::from_secs(30));
    assert!(plain.credentials.is_none());
    assert_eq!(smtp("tls = \"tls\"").port, 465);
    assert_eq!(smtp("tls = \"none\"").port, 25);
    let full = smtp("tls = \"starttls\"\nport = 2525\nusername = \"u\"\npassword = \"hunter2\"\ntimeout = \"5s\"");
    assert_eq!((full.port, full.timeout), (2525, Duration::from_secs(5)));
    let (user, password) = full.credentials.as_ref().unwrap();
    assert_eq!((user.as_str(), password.expose_secret()), ("u", "hunter2"));
    assert!(!format!("{full:?}").contains("hunter2"));
}

#[test]
fn smtp_may_trust_a_private_authority() {
    assert_eq!(smtp("ca_file = \"ca.pem\"").root_certificates, Some("etc/ca.pem".into()));
    assert_eq!(smtp("").root_certificates, None);
}

#[test]
fn tls_has_its_files_beside_the_configuration() {
    assert_eq!(read("").unwrap().tls, None);
    let text = "[tls]\ncert_file = \"c.pem\"\nkey_file = \"/k.pem\"\nredirect = \"0.0.0.0:80\"\n";
    let tls = read(text).unwrap().tls.unwrap();
    assert_eq!((tls.certificate, tls.key), ("etc/c.pem".into(), "/k.pem".into()));
    assert_eq!(tls.redirect, Some("0.0.0.0:80".parse().unwrap()));
}

#[test]
fn a_password_may_go_in_the_clear_to_this_machine_only() {
    let text = |host: &str| {
        format!(
            "[mail]\ntype = \"smtp\"\nfrom = \"a@b.example\"\nhost = \"{host}\"\ntls = \"none\"\nusername = \"u\"\npassword = \"hunter2\"\n"
        )
    };
    assert!(read(&text("127.0.0.1")).is_ok());
    assert!(read(&text("localhost")).is_ok());
    assert!(read(&text("mail.example")).unwrap_err().to_string().contains("in the clear"));
}

#[test]
fn faults() {
    let mail =
        |keys: &str| format!("[mail]\ntype = \"smtp\"\nfrom = \"a@b.example\"\nhost = \"mail.example\"\n{keys}\n");
    let store = |keys: &str| format!("[key_value_store.jobs]\n{keys}\n");
    for (name, text) in [
        ("not_toml", "[mail\n".to_owned()),
        ("unknown_section", "[key_value_stores.jobs]\ntype = \"redis\"\n".to_owned()),
        ("section_is_no_table", "queue = \"redis\"\n".to_owned()),
        ("labels_missing", "key_value_store = 1\n".to_owned()),
        ("type_missing", store("url = \"redis://:hunter2@here\"")),
        ("type_unknown", store("type = \"reddis\"")),
        ("type_unknown_and_unlike", store("type = \"dynamo\"")),
        ("type_of_another_contract", "[blob_store.videos]\ntype = \"redis\"\n".to_owned()),
        ("key_of_another_engine", store("type = \"embedded\"\nurl = \"redis://:hunter2@here\"")),
        ("unknown_key", store("type = \"redis\"\nurl_fiel = \"hunter2\"")),
        ("url_missing", store("type = \"redis\"")),
        ("url_twice", store("type = \"redis\"\nurl = \"redis://:hunter2@here\"\nurl_env = \"REDIS_URL\"")),
        ("url_of_something_else", store("type = \"redis\"\nurl = \"https://:hunter2@here\"")),
        ("url_file_missing", store("type = \"redis\"\nurl_file = \"nowhere\"")),
        ("url_env_not_set", store("type = \"redis\"\nurl_env = \"NOWHERE\"")),
        ("url_wrong_type", store("type = \"redis\"\nurl = [\"hunter2\"]")),
        ("port_wrong_type", mail("port = \"hunter2\"")),
        ("tls_unknown", mail("tls = \"ssl\"")),
        ("password_without_username", mail("password = \"hunter2\"")),
        ("username_without_password", mail("username = \"u\"")),
        ("timeout_malformed", mail("timeout = \"soon\"")),
        ("host_missing", "[mail]\ntype = \"smtp\"\nfrom = \"a@b.example\"\n".to_owned()),
        ("redis_ca_without_tls", store("type = \"redis\"\nurl = \"redis://a\"\nca_file = \"ca.pem\"")),
        ("certificate_without_key", store("type = \"redis\"\nurl = \"rediss://a\"\nclient_cert_file = \"c.pem\"")),
        ("ca_without_tls", mail("tls = \"none\"\nca_file = \"ca.pem\"")),
        ("tls_key_missing", "[tls]\ncert_file = \"c.pem\"\n".to_owned()),
        ("tls_redirect_malformed", "[tls]\ncert_file = \"c\"\nkey_file = \"k\"\nredirect = \"80\"\n".to_owned()),
        ("from_malformed", "[mail]\nfrom = \"nobody\"\n".to_owned()),
    ] {
        let fault = read(&text).expect_err(name).to_string();
        assert!(!fault.contains("hunter2"), "{name}: {fault}");
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, fault);
        });
    }
}

#[test]
fn a_label_that_nothing_uses_is_told() {
    let config =
        read("[key_value_store.job]\ntype = \"embedded\"\n[blob_store.videos]\ntype = \"embedded\"\n").unwrap();
    let unused = config.unused(&BTreeSet::from(["jobs", "users"]), &BTreeSet::new(), &BTreeSet::from(["videos"]));
    assert_eq!(unused, ["[key_value_store.job] is configured, but no component uses it; did you mean `jobs`?"]);
}

#[test]
fn a_missing_file_says_so() {
    let error = load(Path::new("no/such/runtime-config.toml")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the runtime configuration no/such/runtime-config.toml"), "{error}");
}

#[test]
fn variables_providers_keep_their_order_and_show_no_secret() {
    let text = "[[variables_provider]]\ntype = \"vault\"\nurl = \"https://vault.example:8200/\"\ntoken_env = \"TOKEN\"\n\
                mount = \"/secret/\"\nprefix = \"a/b\"\n[[variables_provider]]\ntype = \"file\"\ndirectory = \"d\"\n\
                [[variables_provider]]\ntype = \"static\"\nvalues = { a = \"hunter2\" }\n";
    let readers = Readers {
        environment: &|name| (name == "TOKEN").then(|| "hvs.token".to_owned()),
        file: &|_| Err(std::io::ErrorKind::NotFound.into()),
    };
    let config = parse(Path::new("etc/runtime-config.toml"), text, &readers).unwrap();
    let shown = format!("{:?}", config.variables);
    assert!(!shown.contains("hunter2") && !shown.contains("hvs.token"), "{shown}");
    let [VariablesProvider::Vault(vault), VariablesProvider::Files(directory), VariablesProvider::Static(_)] =
        &config.variables[..]
    else {
        panic!("{shown}")
    };
    assert_eq!((vault.url.as_str(), vault.mount.as_str()), ("https://vault.example:8200", "secret"));
    assert_eq!(vault.prefix.as_deref(), Some("a/b"));
    assert_eq!(directory, Path::new("etc/d"));
}

#[test]
fn faults_of_variables_providers() {
    let vault = "[[variables_provider]]\ntype = \"vault\"\nurl = \"https://v\"\ntoken = \"t\"\nmount = \"m\"\n";
    for (text, expected) in [
        ("[variables_provider]\ntype = \"env\"\n".to_owned(), "this must be an array of tables"),
        ("[[variables_provider]]\ntype = \"azure_key_vault\"\n".to_owned(), "unknown type `azure_key_vault`"),
        ("[[variables_provider]]\ntype = \"env\"\nprefx = \"A\"\n".to_owned(), "prefx"),
        (vault.replace("https://v", "vault:8200"), "not that of a Vault server"),
        (vault.replace("token = \"t\"\n", ""), "the key `token` is missing"),
        (vault.replace("\"m\"", "\"a/../sys\""), "not a path in Vault"),
        (format!("{vault}prefix = \"a?b\"\n"), "not a path in Vault"),
    ] {
        let readers = Readers { environment: &|_| None, file: &|_| Err(std::io::ErrorKind::NotFound.into()) };
        let error = parse(Path::new("runtime-config.toml"), &text, &readers).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}{error}");
    }
}
