//! Whole manifests: what a good one means, and what is said about bad ones.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use tessera_capability::queue::Policy;

use super::*;

/// Reads `text` with what every manifest begins with before it.
fn read(text: &str) -> Result<Loaded, Invalid> {
    let text = format!("spin_manifest_version = 2\n[application]\nname = \"app\"\n{text}");
    parse(Path::new("app/spin.toml"), &text)
}

/// A component with `keys`, triggered by `/`.
fn component(keys: &str) -> String {
    format!(
        "[[trigger.http]]\nroute = \"/\"\ncomponent = \"gateway\"\n[component.gateway]\nsource = \"gateway.wasm\"\n{keys}"
    )
}

/// A component with `keys` in its `tool.tessera`.
fn granted(keys: &str) -> String {
    component(&format!("[component.gateway.tool.tessera]\n{keys}"))
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

/// Asserts what is said about each of some bad manifests.
fn snapshots(cases: &[(&str, String)]) {
    for (name, text) in cases {
        let fault = read(text).expect_err(name).to_string();
        snapshot(name, &fault);
    }
}

const GOOD: &str = include_str!("tests/good.toml");

#[test]
fn a_whole_manifest() {
    let Loaded { manifest, warnings } = parse(Path::new("app/spin.toml"), GOOD).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    snapshot("a_whole_manifest", &format!("{manifest:#?}"));
}

#[test]
fn defaults_of_a_component() {
    let manifest = read(&granted("consume = [{ queue = \"video\" }]")).unwrap().manifest;
    let component = &manifest.components["gateway"];
    assert_eq!(component.limits, Limits::default());
    assert!(component.reuse.is_none() && component.mail.is_none() && component.publish.is_empty());
    let consume = &component.consume[0];
    assert_eq!(consume.group.as_str(), "gateway");
    assert_eq!((consume.concurrency, consume.timeout, consume.max_depth), (1, Duration::from_secs(60), 100_000));
    assert_eq!(consume.policy, Policy::default());
}

#[test]
fn entries_of_one_group_are_put_together() {
    let manifest =
        read(&granted("consume = [{ queue = \"mp3\" }, { queue = \"job.*\" }, { queue = \"#\", group = \"all\" }]"))
            .unwrap()
            .manifest;
    let groups: Vec<(&str, usize)> =
        manifest.components["gateway"].consume.iter().map(|c| (c.group.as_str(), c.patterns.len())).collect();
    assert_eq!(groups, [("gateway", 2), ("all", 1)]);
}

#[test]
fn mail_is_granted_by_true_or_by_senders() {
    let mail =
        |value: &str| read(&granted(&format!("mail = {value}"))).unwrap().manifest.components["gateway"].mail.clone();
    assert_eq!(mail("false"), None);
    assert_eq!(mail("true"), Some(MailGrant::default()));
    assert_eq!(mail("{ from = [\"a@b.example\"] }"), Some(MailGrant { from: vec!["a@b.example".to_owned()] }));
}

#[test]
fn components_inside_triggers_get_spins_ids() {
    let manifest = read(
        "[[trigger.http]]\nroute = \"/a\"\ncomponent = { source = \"a.wasm\" }\n\
         [[trigger.http]]\nroute = \"/b\"\nid = \"mine\"\n[trigger.http.component]\nsource = \"b.wasm\"\nkey_value_stores = [\"default\"]\n\
         [[trigger.http]]\nroute = \"/c\"\nid = \"not kebab\"\ncomponent = { source = \"c.wasm\" }\n\
         [[trigger.http]]\nroute = { private = true }\ncomponent = { source = \"d.wasm\" }\n",
    )
    .unwrap()
    .manifest;
    let sources: Vec<_> = manifest.components.iter().map(|(id, c)| (id.as_str(), c.source.to_str().unwrap())).collect();
    assert_eq!(
        sources,
        [
            ("http-trigger1-component", "app/a.wasm"),
            ("http-trigger2-component", "app/d.wasm"),
            ("inline-component1", "app/c.wasm"),
            ("mine-component", "app/b.wasm"),
        ]
    );
    assert!(manifest.components["mine-component"].key_value_stores.contains("default"));
    assert_eq!(manifest.http[1].handler, Handler::Component("mine-component".to_owned()));
}

#[test]
fn of_two_routes_for_the_same_paths_the_last_wins() {
    let text = "[[trigger.http]]\nroute = \"/a/:x\"\ncomponent = \"one\"\n[[trigger.http]]\nroute = \"/a/:y/\"\ncomponent = \"two\"\n\
                [component.one]\nsource = \"a.wasm\"\n[component.two]\nsource = \"a.wasm\"\n";
    let manifest = read(text).unwrap().manifest;
    assert_eq!(
        manifest.http.iter().map(|trigger| &trigger.handler).collect::<Vec<_>>(),
        [&Handler::Component("two".into())]
    );
}

#[test]
fn faults_of_the_whole() {
    snapshots(&[
        ("not_toml", "[trigger\n".to_owned()),
        ("unknown_top_level_key", "[trigger]\n[componet.a]\nsource = \"a.wasm\"\n".to_owned()),
        ("no_trigger_table", "[component.a]\nsource = \"a.wasm\"\n".to_owned()),
        ("unknown_trigger_type", "[[trigger.mqtt]]\ntopic = \"x\"\n".to_owned()),
        ("not_provided", component("ai_models = [\"llama2-chat\"]")),
        ("misspelt_trigger_type", "[[trigger.htpp]]\nroute = \"/\"\n".to_owned()),
        ("base_path", "[application.trigger.http]\nbase = \"/api/:id\"\n[trigger]\n".to_owned()),
        ("unknown_key_of_the_application", "titel = \"App\"\n[trigger]\n".to_owned()),
        ("application_tool_is_no_table", "[trigger]\n[application.tool]\nlint = true\n".to_owned()),
        ("several_faults", component("key_value_stores = [\"a b\"]\nallowed_outbound_hosts = [\"example.com\"]\n")),
    ]);
}

#[test]
fn faults_of_versions() {
    for (name, text) in [
        ("version_missing", "[application]\nname = \"app\"\n"),
        ("version_three", "spin_manifest_version = 3\nname = \"app\"\n"),
    ] {
        let fault = parse(Path::new("spin.toml"), text).unwrap_err().to_string();
        snapshot(name, &fault);
    }
}

#[test]
fn faults_of_triggers() {
    let trigger = |keys: &str| format!("[[trigger.http]]\n{keys}\n[component.gateway]\nsource = \"gateway.wasm\"\n");
    snapshots(&[
        ("unknown_component", trigger("route = \"/\"\ncomponent = \"gatway\"")),
        ("unknown_key_of_a_trigger", trigger("route = \"/\"\ncomponent = \"gateway\"\nrout = \"/\"")),
        ("route_missing", trigger("component = \"gateway\"")),
        ("route_malformed", trigger("route = \"/jobs/.../id\"\ncomponent = \"gateway\"")),
        ("route_not_private", trigger("route = { private = false }\ncomponent = \"gateway\"")),
        ("component_and_answer", trigger("route = \"/\"\ncomponent = \"gateway\"\nstatic_response = { body = \"x\" }")),
        ("inline_component", trigger("route = \"/\"\ncomponent = { source = \"x.wasm\", sauce = 1 }")),
        ("executor", trigger("route = \"/\"\ncomponent = \"gateway\"\nexecutor = { type = \"fastcgi\" }")),
        (
            "wagi_entrypoint",
            trigger("route = \"/\"\ncomponent = \"gateway\"\nexecutor = { type = \"wagi\", entrypoint = \"main\" }"),
        ),
        (
            "two_executors",
            trigger(
                "route = \"/a\"\ncomponent = \"gateway\"\nexecutor = { type = \"wagi\" }\n\n\
                 [[trigger.http]]\nroute = \"/b\"\ncomponent = \"gateway\"\nexecutor = { type = \"http\" }",
            ),
        ),
        ("status_out_of_range", trigger("route = \"/\"\nstatic_response = { status_code = 99 }")),
    ]);
}

#[test]
fn faults_of_components() {
    let other = "[component.other]\nsource = \"other.wasm\"\n";
    snapshots(&[
        ("unknown_key", component("enviroment = { A = \"b\" }")),
        ("source_missing", format!("[trigger]\n[component.a]\nfiles = []\n{other}")),
        (
            "source_remote",
            "[trigger]\n[component.a]\nsource = { url = \"https://a.example/a.wasm\", digest = \"sha256:0\" }"
                .to_owned(),
        ),
        ("component_id_malformed", format!("[trigger]\n[component.my_component]\nsource = \"a.wasm\"\n{other}")),
        ("label_malformed", component("key_value_stores = [\"jobs!\"]")),
        ("wrong_type", component("files = \"assets\"")),
        ("destination_outside", component("files = [{ source = \"assets\", destination = \"/a/../..\" }]")),
        ("unknown_key_in_a_short_table", component("files = [{ source = \"assets\", target = \"/\" }]")),
        ("build_without_command", component("[component.gateway.build]\nworkdir = \"x\"")),
        ("outbound_host_without_scheme", component("allowed_outbound_hosts = [\"example.com\"]")),
        ("outbound_host_without_port", component("allowed_outbound_hosts = [\"gopher://example.com\"]")),
        ("tool_is_no_table", component("tool.lint = 1")),
    ]);
}

#[test]
fn faults_of_variables() {
    snapshots(&[
        ("variable_neither_required_nor_default", "[trigger]\n[variables]\nadmin = { secret = true }\n".to_owned()),
        (
            "variable_required_with_default",
            "[trigger]\n[variables]\nadmin = { required = true, default = \"x\" }\n".to_owned(),
        ),
        ("variable_malformed_name", "[trigger]\n[variables]\nADMIN = { required = true }\n".to_owned()),
        (
            "variable_misspelt",
            format!(
                "{}\n[variables]\nadmin_email = {{ required = true }}",
                component("variables = { admin = \"{{ admin_mail }}\" }")
            ),
        ),
        ("variable_undeclared", component("variables = { admin = \"{{ admin_email }}\" }")),
        ("template_not_closed", component("variables = { admin = \"{{ admin_email\" }")),
    ]);
}

#[test]
fn faults_of_dependencies() {
    let dependency =
        |name: &str, value: &str| component(&format!("[component.gateway.dependencies]\n\"{name}\" = {value}\n"));
    let auth = |dependency: &str| {
        format!(
            "{}[component.auth]\nsource = \"auth.wasm\"\n[component.auth.dependencies]\n{dependency}",
            component("[component.gateway.dependencies]\n\"tessera:auth/tokens\" = { component = \"auth\" }\n")
        )
    };
    snapshots(&[
        ("dependency_unknown_component", dependency("tessera:auth/tokens", "{ component = \"auht\" }")),
        ("dependency_version", dependency("tessera:auth/tokens", "\">= 0.1.0\"")),
        (
            "dependency_from_a_registry",
            dependency("tessera:auth/tokens", "{ version = \"1.0.0\", registry = \"r.example\" }"),
        ),
        (
            "dependency_of_two_kinds",
            dependency("tessera:auth/tokens", "{ component = \"gateway\", path = \"a.wasm\" }"),
        ),
        ("dependency_unknown_key", dependency("tessera:auth/tokens", "{ componet = \"gateway\" }")),
        ("dependency_malformed_name", dependency("tessera/auth", "{ path = \"a.wasm\" }")),
        ("dependency_circle", auth("\"tessera:gateway/x\" = { component = \"gateway\" }\n")),
    ]);
}

#[test]
fn faults_of_grants() {
    snapshots(&[
        ("unknown_grant", granted("blob_store = { videos = \"read\" }")),
        ("unknown_blob_access", granted("blob_stores = { videos = \"reed\" }")),
        ("publish_malformed", granted("publish = [\"events..x\"]")),
        ("mail_wrong_type", granted("mail = \"yes\"")),
        ("mail_sender_malformed", granted("mail = { from = [\"Tessera\"] }")),
        ("memory_malformed", granted("limits = { memory = \"256 apples\" }")),
        ("memory_out_of_range", granted("limits = { memory = \"1KiB\" }")),
        ("duration_malformed", granted("limits = { timeout = \"60 parsecs\" }")),
        ("duration_of_zero", granted("limits = { timeout = \"0s\" }")),
        ("concurrency_wrong_type", granted("limits = { concurrency = \"many\" }")),
        ("concurrency_out_of_range", granted("limits = { concurrency = 0 }")),
        ("limit_misspelt", granted("limits = { cputime = \"1s\" }")),
        ("cpu_time_malformed", granted("limits = { cpu_time = \"long\" }")),
        ("waiting_out_of_range", granted("limits = { waiting = -1 }")),
        ("request_body_malformed", granted("limits = { request_body = \"much\" }")),
        ("response_body_out_of_range", granted("limits = { response_body = \"0B\" }")),
        ("resources_out_of_range", granted("limits = { resources = 1 }")),
        ("connections_out_of_range", granted("limits = { connections = 0 }")),
        ("log_rate_wrong_type", granted("limits = { log_rate = \"10/s\" }")),
        ("reuse_wrong_type", granted("reuse = false")),
        ("reuse_misspelt", granted("reuse = \"nevr\"")),
        ("reuse_unknown_key", granted("reuse = { request = 10 }")),
        ("reuse_more_at_a_time_than_in_all", granted("reuse = { requests = 2, concurrent = 3 }")),
    ]);
}

#[test]
fn faults_of_consumers() {
    let two = "[component.other]\nsource = \"other.wasm\"\n[component.other.tool.tessera]\n\
               consume = [{ queue = \"video\", group = \"gateway\" }]\n";
    snapshots(&[
        ("consumer_without_queue", granted("consume = [{ group = \"x\" }]")),
        ("consumer_pattern_malformed", granted("consume = [{ queue = \"vid*\" }]")),
        ("consumer_unknown_key", granted("consume = [{ queue = \"video\", attempts = 3 }]")),
        ("consumer_group_malformed", granted("consume = [{ queue = \"video\", group = \"a b\" }]")),
        ("consumer_number_out_of_range", granted("consume = [{ queue = \"video\", max_attempts = -1 }]")),
        (
            "consumer_backoff_reversed",
            granted("consume = [{ queue = \"video\", backoff = { first = \"1h\", max = \"1s\" } }]"),
        ),
        ("group_with_two_settings", granted("consume = [{ queue = \"video\" }, { queue = \"mp3\", concurrency = 2 }]")),
        ("group_consumes_twice", granted("consume = [{ queue = \"video\" }, { queue = \"video\" }]")),
        ("group_of_two_components", format!("{}\n{two}", granted("consume = [{ queue = \"video\" }]"))),
    ]);
}

#[test]
fn what_is_probably_not_meant() {
    for (name, text) in [
        (
            "warning_nobody_consumes",
            granted("publish = [\"video\", \"other\", \"events.*\"]\nconsume = [{ queue = \"video\" }]"),
        ),
        (
            "warning_similar_queue",
            granted(
                "publish = [\"vidoe\", \"other\"]\nconsume = [{ queue = \"video\" }, { queue = \"#\", group = \"all\" }]",
            ),
        ),
        (
            "warning_tool_misspelt",
            component("[component.gateway.tool.tesera]\nmail = true\n[component.gateway.tool.lint]\n"),
        ),
        (
            "warning_route_given_twice",
            component(
                "[[trigger.http]]\nroute = \"/a/:id\"\ncomponent = \"gateway\"\n[[trigger.http]]\nroute = \"/a/:name/\"\ncomponent = \"gateway\"",
            ),
        ),
        (
            "warning_route_reserved",
            component("[[trigger.http]]\nroute = \"/.well-known/spin/mine\"\ncomponent = \"gateway\""),
        ),
        ("warning_never_used", "[trigger]\n[component.a]\nsource = \"a.wasm\"\n".to_owned()),
        (
            "warning_unknown_component",
            component(
                "allowed_outbound_hosts = [\"http://gatewya.spin.internal\", \"http://nobody.spin.internal:80\", \
                 \"http://gateway.spin.internal\", \"http://*.spin.internal\", \"https://spin.internal\"]",
            ),
        ),
        ("warning_deprecated_hosts", component("allowed_http_hosts = [\"example.com\"]")),
        (
            "warning_inheritance",
            component(
                "dependencies = { \"a:b/c\" = { component = \"other\", inherit_configuration = true } }\n\
                 [component.other]\nsource = \"other.wasm\"",
            ),
        ),
    ] {
        let loaded = read(&text).expect(name);
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        snapshot(name, &warnings.join("\n\n"));
    }
}

#[test]
fn whoever_consumes_everything_hears_every_queue() {
    let text = granted("publish = [\"events.uploaded\"]\nconsume = [{ queue = \"video\" }, { queue = \"#\" }]");
    assert!(read(&text).unwrap().warnings.is_empty());
}

const VARIABLES: &str = r#"
[[trigger.http]]
route = "/"
component = "gateway"
[variables]
admin_email = { required = true }
host = { default = "a.example" }
[component.gateway]
source = "gateway.wasm"
variables = { admin = "<{{ admin_email }}>", plain = "x" }
allowed_outbound_hosts = ["https://{{ host }}"]
"#;

fn provided(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
}

#[test]
fn variables_come_from_the_command_line_then_other_sources_then_the_default() {
    let manifest = read(VARIABLES).unwrap().manifest;
    let found = |name: &str| (name == "host").then(|| "b.example".into());
    let resolved = resolve_variables(&manifest, &provided(&[("admin_email", "a@b.example")]), found).unwrap();
    let gateway = &resolved["gateway"];
    assert_eq!(gateway.variables["admin"].expose_secret(), "<a@b.example>");
    assert_eq!(gateway.variables["plain"].expose_secret(), "x");
    assert!(gateway.outbound_hosts.allows("https", "b.example", None));
    assert!(!gateway.outbound_hosts.allows("https", "a.example", None));
    assert!(!format!("{resolved:?}").contains("a@b.example"), "values are not for logs");
}

#[test]
fn a_missing_value_says_how_to_give_it() {
    let manifest = read(VARIABLES).unwrap().manifest;
    let error = resolve_variables(&manifest, &provided(&[("admin_mail", "x")]), |_| None).unwrap_err().to_string();
    snapshot("variable_without_value", &error);
}

#[test]
fn a_destination_is_checked_again_with_values_in_it_and_not_shown() {
    let manifest = read(VARIABLES).unwrap().manifest;
    let given = provided(&[("admin_email", "x"), ("host", "hunter2/path")]);
    let error = resolve_variables(&manifest, &given, |_| None).unwrap_err().to_string();
    assert!(error.contains("component `gateway`") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_missing_file_says_so() {
    let error = load(Path::new("no/such/spin.toml")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the manifest no/such/spin.toml"), "{error}");
}
