//! The manifest's version 1, which Spin has converted since its version 2: one type of trigger for
//! the whole application, and a list of components that each have one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::{Spanned, Table};

use super::super::{hosts, names};
use super::{
    Application, Build, Component, Executor, HttpTrigger, Manifest, Map, Placement, RedisTrigger, Source, StringOr,
    Tools, Triggers, Variable,
};
use crate::diagnostic::{Diagnostic, Invalid, Source as Text};

/// Databases that a component may reach unless it has `allowed_outbound_hosts`, which is younger.
const DATABASES: [&str; 3] = ["redis://*:*", "mysql://*:*", "postgres://*:*"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Manifest1 {
    #[serde(rename = "spin_manifest_version", alias = "spin_version")]
    _version: IgnoredAny,
    name: Spanned<String>,
    #[serde(default)]
    version: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default, rename = "authors")]
    _authors: Vec<String>,
    trigger: Spanned<Table>,
    #[serde(default)]
    variables: Map<Variable>,
    #[serde(default)]
    component: Vec<Spanned<Component1>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Component1 {
    id: Spanned<String>,
    source: Spanned<StringOr<Source>>,
    trigger: Spanned<Trigger1>,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    config: Map<Spanned<String>>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    files: Vec<Spanned<StringOr<Placement>>>,
    #[serde(default)]
    exclude_files: Vec<String>,
    #[serde(default)]
    allowed_http_hosts: Vec<Spanned<String>>,
    allowed_outbound_hosts: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    key_value_stores: Vec<Spanned<String>>,
    #[serde(default)]
    sqlite_databases: Vec<Spanned<String>>,
    #[serde(default)]
    ai_models: Vec<Spanned<String>>,
    build: Option<Build>,
}

/// The keys of all types of triggers; which of them belong to the application's is checked here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trigger1 {
    route: Option<Spanned<String>>,
    executor: Option<Executor>,
    channel: Option<Spanned<String>>,
    address: Option<Spanned<String>>,
}

impl Manifest1 {
    /// The same in version 2.
    ///
    /// # Errors
    /// What has no counterpart there.
    pub(in super::super) fn upgrade(self, source: &Arc<Text>) -> Result<Manifest, Invalid> {
        let mut faults = Vec::new();
        let span = self.trigger.span();
        let mut settings = self.trigger.into_inner();
        let kind = match settings.remove("type") {
            Some(toml::Value::String(kind)) => kind,
            _ => {
                let fault = Diagnostic::error(source, span, "the application's trigger has no type");
                return Err(Invalid(vec![fault.help("write `trigger = { type = \"http\" }`")]));
            }
        };
        let mut triggers = Triggers::default();
        if kind != "http" && kind != "redis" {
            triggers.others.push(Spanned::new(span.clone(), kind.clone()));
        }
        let mut component = Map::new();
        for table in self.component {
            let place = table.span();
            let (id, trigger, table) = table.into_inner().upgrade();
            let reference = Spanned::new(id.span(), StringOr::String(id.get_ref().clone()));
            let at = trigger.span();
            let Trigger1 { route, executor, channel, address } = trigger.into_inner();
            match (kind.as_str(), route, channel) {
                ("http", Some(route), None) if address.is_none() => {
                    let route = Spanned::new(route.span(), StringOr::String(route.into_inner()));
                    let id = format!("trigger-{}", id.get_ref());
                    let http = HttpTrigger {
                        id,
                        component: Some(reference),
                        static_response: None,
                        route,
                        executor,
                        dependencies: None,
                    };
                    triggers.http.push(Spanned::new(at, http));
                }
                ("redis", None, Some(channel)) if executor.is_none() => {
                    let redis = RedisTrigger { _id: String::new(), component: reference, channel, address };
                    triggers.redis.push(Spanned::new(at, redis));
                }
                ("http", ..) => faults.push(
                    Diagnostic::error(
                        source,
                        at,
                        "a trigger of the type `http` has a `route`, and perhaps an `executor`",
                    )
                    .help("write `route = \"/...\"`"),
                ),
                ("redis", ..) => faults.push(
                    Diagnostic::error(
                        source,
                        at,
                        "a trigger of the type `redis` has a `channel`, and perhaps an `address`",
                    )
                    .help("write `channel = \"…\"`"),
                ),
                _ => {}
            }
            if component.keys().any(|other: &Spanned<String>| other.get_ref() == id.get_ref()) {
                let fault = Diagnostic::error(source, place, format!("there are two components `{id}`"));
                faults.push(fault.help("give one of them another id"));
            }
            component.insert(id, table);
        }
        if !faults.is_empty() {
            return Err(Invalid(faults));
        }
        let application = Application {
            name: self.name,
            version: self.version,
            _description: String::new(),
            _authors: Vec::new(),
            _targets: IgnoredAny,
            trigger: BTreeMap::from([(kind, Spanned::new(span, settings))]),
            _tool: BTreeMap::new(),
        };
        Ok(Manifest {
            _version: IgnoredAny,
            application,
            variables: self.variables,
            trigger: Some(triggers),
            component,
        })
    }
}

impl Component1 {
    fn upgrade(self) -> (Spanned<String>, Spanned<Trigger1>, Component) {
        let at = self.id.span();
        let modern = |text: &str| Spanned::new(at.clone(), text.to_owned());
        let mut allowed_outbound_hosts =
            self.allowed_outbound_hosts.unwrap_or_else(|| DATABASES.into_iter().map(modern).collect());
        for host in self.allowed_http_hosts {
            let span = host.span();
            let modern = hosts::from_http_host(host.get_ref()).into_iter();
            allowed_outbound_hosts.extend(modern.map(|modern| Spanned::new(span.clone(), modern)));
        }
        let component = Component {
            source: self.source,
            _description: String::new(),
            variables: self.config,
            environment: self.environment,
            files: self.files,
            exclude_files: self.exclude_files,
            allowed_http_hosts: Vec::new(),
            allowed_outbound_hosts,
            key_value_stores: self.key_value_stores,
            sqlite_databases: self.sqlite_databases,
            ai_models: self.ai_models,
            _targets: IgnoredAny,
            build: self.build,
            tool: Tools::default(),
            dependencies_inherit_configuration: None,
            dependencies: Map::new(),
            profile: BTreeMap::new(),
        };
        (modern_id(self.id), self.trigger, component)
    }
}

/// Ids were free once: `my_Component` is `my-component` now, as in Spin.
fn modern_id(id: Spanned<String>) -> Spanned<String> {
    if names::kebab(id.get_ref()).is_ok() {
        return id;
    }
    Spanned::new(id.span(), id.get_ref().replace('_', "-").to_lowercase())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::manifest::{Handler, Manifest, parse};

    fn read(text: &str) -> Result<Manifest, String> {
        let text = format!("spin_version = \"1\"\nname = \"old\"\n{text}");
        parse(Path::new("app/spin.toml"), &text).map(|loaded| loaded.manifest).map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_manifest_of_version_1_is_one_of_version_2() {
        let manifest = read(
            r#"
            version = "1.0.0"
            trigger = { type = "http", base = "/api" }
            [variables]
            object = { default = "teapot" }
            [[component]]
            id = "My_hello"
            source = "hello.wasm"
            files = [{ source = "assets", destination = "/" }]
            allowed_http_hosts = ["self", "https://example.com"]
            [component.trigger]
            route = "/hello/..."
            executor = { type = "wagi" }
            [component.config]
            message = "I'm a {{object}}"
            [component.build]
            command = "make"
            [[component]]
            id = "other"
            source = { url = "https://example.com/a.wasm", digest = "sha256:5f05b15f0f7cd353d390bc5ebffec7fe25c6a6d7a05b9366c86dcb1a346e9f0f" }
            allowed_outbound_hosts = []
            [component.trigger]
            route = "/other"
            "#,
        )
        .unwrap();
        let routes: Vec<_> = manifest.http.iter().map(|http| http.route.as_ref().unwrap().to_string()).collect();
        assert_eq!(routes, ["/api/hello/...", "/api/other"]);
        assert_eq!(manifest.http[0].handler, Handler::Component("my-hello".to_owned()));
        let hello = &manifest.components["my-hello"];
        assert!(hello.variables.contains_key("message") && hello.build.is_some() && hello.files.len() == 1);
        assert!(hello.wagi.is_some());
        assert!(manifest.components["other"].remote.is_some());
        let hosts = |id: &str| {
            let resolved = crate::manifest::resolve_variables(&manifest, &Default::default(), |_| None).unwrap();
            resolved[id].outbound_hosts.clone()
        };
        let of_hello = hosts("my-hello");
        assert!(of_hello.allows("http", "example.com", None) && of_hello.allows("https", "example.com", None));
        assert!(of_hello.allows_own() && of_hello.allows("redis", "cache.example", None));
        assert!(!hosts("other").allows("redis", "cache.example", None), "it says what it may reach");
    }

    #[test]
    fn messages_of_redis_come_to_components() {
        let manifest = read(
            "trigger = { type = \"redis\", address = \"redis://localhost:6379\" }\n[[component]]\nid = \"a\"\n\
             source = \"a.wasm\"\n[component.trigger]\nchannel = \"c\"\n",
        );
        assert_eq!(manifest.unwrap().components["a"].redis.len(), 1);
    }

    #[test]
    fn faults_have_their_place() {
        let component = |id: &str, trigger: &str| {
            format!("[[component]]\nid = \"{id}\"\nsource = \"a.wasm\"\n[component.trigger]\n{trigger}\n")
        };
        let http = "trigger = { type = \"http\" }\n";
        for (text, fault) in [
            ("trigger = {}\n".to_owned(), "the application's trigger has no type"),
            ("trigger = { type = \"mqtt\" }\n".to_owned(), "`mqtt` is not supported"),
            (format!("{http}{}", component("a", "channel = \"c\"")), "a trigger of the type `http` has a `route`"),
            (
                format!("{http}{}{}", component("a-b", "route = \"/a\""), component("a_b", "route = \"/b\"")),
                "there are two components `a-b`",
            ),
            (format!("{http}{}", component("a", "rout = \"/\"")), "did you mean `route`?"),
            (format!("{http}[component.a]\n"), "expected a list"),
        ] {
            let said = read(&text).unwrap_err();
            assert!(said.contains(fault), "{text}: {said}");
        }
    }
}
