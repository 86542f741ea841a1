//! From what is written to what is meant: every fault is recorded, then either all of it is valid
//! or nothing is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;

use super::check::Check;
use super::route::RESERVED;
use super::wire::{self, StringOr};
use super::{
    Build, Component, Dependency, Files, Handler, HttpTrigger, Inherit, Loaded, Manifest, Remote, Route,
    StaticResponse, Template,
};
use super::{executor, grants, graph, hosts, inline, names, queues, redis};
use crate::diagnostic::{Diagnostic, Invalid, Source, list, nearest, suggest};

/// The names that others are checked against.
pub(super) struct Known {
    components: BTreeSet<String>,
    variables: BTreeSet<String>,
}

pub(super) fn manifest(path: &Path, source: &Arc<Source>, mut wire: wire::Manifest) -> Result<Loaded, Invalid> {
    let mut check = Check { source: source.clone(), errors: Vec::new(), warnings: Vec::new() };
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    if wire.application.name.get_ref().is_empty() {
        check.error(wire.application.name.span(), "the application's name is empty", "give it a name");
    }
    if let Some(triggers) = &mut wire.trigger {
        inline::hoist(&mut triggers.http, &mut wire.component);
        inline::hoist_redis(&mut triggers.redis, &mut wire.component);
    }
    let known = Known {
        components: wire.component.keys().map(|id| id.get_ref().clone()).collect(),
        variables: wire.variables.keys().map(|name| name.get_ref().clone()).collect(),
    };
    let variables = variables(&mut check, wire.variables);
    let base = base(&mut check, &wire.application.trigger);
    let triggers = triggers(&mut check, wire.trigger);
    let mut programs = executor::programs(&mut check, &triggers.http);
    let http = http_triggers(&mut check, &known, &base, triggers.http);
    let mut redis = redis::triggers(&mut check, &known, wire.application.trigger.get("redis"), triggers.redis);
    let mut publications = queues::Publications::default();
    let mut spans = BTreeMap::new();
    let mut components = BTreeMap::new();
    for (id, table) in wire.component {
        check.named("a component", id.span(), id.get_ref(), names::kebab);
        spans.insert(id.get_ref().clone(), id.span());
        if let Some(mut component) = component(&mut check, &known, &directory, &id, table, &mut publications) {
            component.wagi = programs.remove(id.get_ref());
            component.redis = redis.remove(id.get_ref()).unwrap_or_default();
            components.insert(id.into_inner(), component);
        }
    }
    queues::separate_groups(&mut check, &components, &spans);
    queues::heard(&mut check, &components, &publications);
    graph::no_cycles(&mut check, &components, &spans);
    graph::all_used(&mut check, &http, &components, &spans);
    check.errors.sort_by_key(Diagnostic::start);
    check.warnings.sort_by_key(Diagnostic::start);
    if !check.errors.is_empty() {
        return Err(Invalid(check.errors));
    }
    let name = wire.application.name.into_inner();
    let version = wire.application.version;
    let manifest = Manifest { path: path.to_owned(), directory, name, version, variables, base, http, components };
    Ok(Loaded { manifest, warnings: check.warnings })
}

fn variables(
    check: &mut Check,
    variables: BTreeMap<Spanned<String>, wire::Variable>,
) -> BTreeMap<String, Option<String>> {
    let mut valid = BTreeMap::new();
    for (name, variable) in variables {
        check.named("a variable", name.span(), name.get_ref(), names::lower_snake);
        if variable.required == variable.default.is_some() {
            let message = format!("the variable `{name}` needs exactly one of `required` and `default`");
            check.error(name.span(), message, "write `required = true` or `default = \"…\"`");
        }
        valid.insert(name.into_inner(), variable.default);
    }
    valid
}

/// The path before all routes, which Spin had until its version 3.
fn base(check: &mut Check, settings: &BTreeMap<String, Spanned<toml::Table>>) -> String {
    let none = "/".to_owned();
    let Some(http) = settings.get("http") else { return none };
    match http.get_ref().get("base") {
        None => none,
        Some(toml::Value::String(base)) if Route::parse("/", base).is_ok_and(|base| base.is_literal()) => base.clone(),
        Some(_) => {
            check.error(http.span(), "`base` is not a path", "write a path such as \"/api\", or remove it");
            none
        }
    }
}

/// Refuses what Spin knows about triggers and this host does not.
fn triggers(check: &mut Check, triggers: Option<wire::Triggers>) -> wire::Triggers {
    let Some(triggers) = triggers else {
        check.error(0..0, "the table `trigger` is missing", "add a `[[trigger.http]]`, or an empty `[trigger]`");
        return wire::Triggers::default();
    };
    for kind in &triggers.others {
        let help = match nearest(kind.get_ref(), ["http", "redis"]) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "use `http` or `redis`; queues are consumed with `consume` in `[component.<id>.tool.tessera]`"
                .to_owned(),
        };
        check.error(kind.span(), format!("the trigger type `{kind}` is not supported"), help);
    }
    triggers
}

fn http_triggers(
    check: &mut Check,
    known: &Known,
    base: &str,
    triggers: Vec<Spanned<wire::HttpTrigger>>,
) -> Vec<HttpTrigger> {
    let mut valid: Vec<HttpTrigger> = Vec::new();
    for trigger in triggers {
        let span = trigger.span();
        let trigger = trigger.into_inner();
        if let Some(middleware) = &trigger.dependencies {
            let help = "remove it; a component calls another by `http://<component>.spin.internal`";
            check.error(middleware.span(), "middleware (`dependencies` of a trigger) is not supported", help);
        }
        let route = route(check, &mut valid, base, trigger.route);
        let handler = match (trigger.component, trigger.static_response) {
            (Some(component), None) => component_reference(check, known, component).map(Handler::Component),
            (None, Some(response)) => static_response(check, response).map(Handler::Static),
            _ => {
                check.error(
                    span,
                    "a trigger needs exactly one of `component` and `static_response`",
                    "name the component",
                );
                None
            }
        };
        if let (Some(route), Some(handler)) = (route, handler) {
            valid.push(HttpTrigger { route, handler });
        }
    }
    valid
}

/// `None`: a fault; `Some(None)`: a private route.
fn route(
    check: &mut Check,
    earlier: &mut Vec<HttpTrigger>,
    base: &str,
    route: Spanned<StringOr<wire::PrivateRoute>>,
) -> Option<Option<Route>> {
    let span = route.span();
    let text = match route.into_inner() {
        StringOr::Long(wire::PrivateRoute { private: true }) => return Some(None),
        StringOr::Long(wire::PrivateRoute { private: false }) => {
            check.error(span, "a route is a path or `{ private = true }`", "write the path");
            return None;
        }
        StringOr::String(text) => text,
    };
    match Route::parse(base, &text) {
        Ok(route) => {
            let count = earlier.len();
            earlier.retain(|trigger| !trigger.route.as_ref().is_some_and(|other| other.same_paths(&route)));
            if earlier.len() < count {
                let message = format!("the route `{route}` is given twice, and this one wins");
                check.warn(span.clone(), message, "change or remove one of them");
            }
            if route.is_reserved() {
                let message = format!("the route `{route}` is never reached");
                check.warn(span, message, format!("the host answers what is below `{RESERVED}`; use another path"));
            }
            Some(Some(route))
        }
        Err(why) => {
            let help = format!("{why}; routes look like `/`, `/jobs/:id` or `/static/...`");
            check.error(span, format!("`{text}` is not a route"), help);
            None
        }
    }
}

pub(super) fn component_reference<T>(
    check: &mut Check,
    known: &Known,
    reference: Spanned<StringOr<T>>,
) -> Option<String> {
    let span = reference.span();
    match reference.into_inner() {
        StringOr::String(id) if known.components.contains(&id) => Some(id),
        StringOr::String(id) => {
            let help = suggest(&id, known.components.iter().map(String::as_str));
            check.error(span, format!("there is no component `{id}`"), help);
            None
        }
        // Those of triggers were hoisted, and dependencies have none.
        StringOr::Long(_) => None,
    }
}

fn static_response(check: &mut Check, response: Spanned<wire::StaticResponse>) -> Option<StaticResponse> {
    let span = response.span();
    let wire::StaticResponse { status_code, headers, body } = response.into_inner();
    let status = status_code.unwrap_or(200);
    if !(200..=599).contains(&status) {
        check.error(span, format!("`{status}` is not the status of an answer"), "give 200 to 599");
        return None;
    }
    Some(StaticResponse { status, headers, body })
}

fn component(
    check: &mut Check,
    known: &Known,
    directory: &Path,
    id: &Spanned<String>,
    table: wire::Component,
    publications: &mut queues::Publications,
) -> Option<Component> {
    let mut variables = BTreeMap::new();
    for (name, text) in table.variables {
        check.named("a variable", name.span(), name.get_ref(), names::lower_snake);
        if let Some(template) = template(check, known, &text) {
            variables.insert(name.into_inner(), template);
        }
    }
    for model in &table.ai_models {
        let help = "remove it; a model behind an HTTP API can be called through `allowed_outbound_hosts`";
        check.error(model.span(), format!("AI models such as `{model}` are not provided here"), help);
    }
    let inherited = match table.dependencies_inherit_configuration.as_ref().map(Spanned::get_ref) {
        Some(true) => Inherit::ALL,
        _ => Inherit::default(),
    };
    for other in &table.tool.others {
        if nearest(other.get_ref(), ["tessera"]).is_some() {
            check.warn(other.span(), format!("nothing here reads the tool table `{other}`"), "did you mean `tessera`?");
        }
    }
    let outbound_hosts = outbound_hosts(check, known, table.allowed_outbound_hosts, table.allowed_http_hosts);
    let dependencies = dependencies(check, known, directory, table.dependencies, inherited);
    let files = table.files.into_iter().filter_map(|files| file_mount(check, files)).collect();
    let build = table.build.map(|build| Build {
        commands: match build.command {
            StringOr::String(command) => vec![command],
            StringOr::Long(commands) => commands,
        },
        workdir: build.workdir.map_or_else(|| directory.to_owned(), |workdir| directory.join(workdir)),
        environment: build.environment,
        watch: build.watch,
    });
    let mut key_value_stores = BTreeSet::new();
    for label in table.key_value_stores {
        check.named("a store", label.span(), label.get_ref(), names::label);
        key_value_stores.insert(label.into_inner());
    }
    let mut sqlite_databases = BTreeSet::new();
    for label in table.sqlite_databases {
        check.named("a database", label.span(), label.get_ref(), names::label);
        sqlite_databases.insert(label.into_inner());
    }
    let source = local_source(check, directory, table.source);
    let tessera = grants::read(check, id, table.tool.tessera, publications);
    let (source, remote) = source?;
    Some(Component {
        line: check.source.line(id.span().start),
        source,
        remote,
        environment: table.environment,
        files,
        exclude_files: table.exclude_files,
        variables,
        key_value_stores,
        redis: Vec::new(),
        sqlite_databases,
        blob_stores: tessera.blob_stores,
        outbound_hosts,
        publish: tessera.publish,
        mail: tessera.mail,
        consume: tessera.consume,
        limits: tessera.limits,
        reuse: tessera.reuse,
        build,
        dependencies,
        wagi: None,
    })
}

fn local_source(
    check: &mut Check,
    directory: &Path,
    source: Spanned<StringOr<wire::Source>>,
) -> Option<(PathBuf, Option<Remote>)> {
    let span = source.span();
    match source.into_inner() {
        StringOr::String(path) if path.is_empty() => {
            check.error(span, "the source is empty", "give the Wasm file's path")
        }
        StringOr::String(path) => return Some((directory.join(path), None)),
        StringOr::Long(wire::Source { url: Some(url), digest, .. }) => {
            return remote(check, url, digest).map(|remote| (PathBuf::new(), Some(remote)));
        }
        StringOr::Long(_) => {
            check.error(span, "registries are not supported", "give a path, or a `url` with its `digest`");
        }
    }
    None
}

/// A file by URL; only one whose digest is known is the one that was meant.
fn remote(check: &mut Check, url: Spanned<String>, digest: Option<Spanned<String>>) -> Option<Remote> {
    if !["https://", "http://"].iter().any(|scheme| url.get_ref().starts_with(scheme)) {
        check.error(url.span(), format!("`{url}` is not a URL of HTTP"), "begin it with `https://`");
        return None;
    }
    let Some(digest) = digest else {
        check.error(url.span(), "a URL needs a `digest`", "add `digest = \"sha256:…\"`, as `sha256sum` prints it");
        return None;
    };
    let hexadecimal = digest.get_ref().strip_prefix("sha256:").unwrap_or_default();
    if hexadecimal.len() != 64 || !hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        check.error(digest.span(), format!("`{digest}` is not a digest"), "write `sha256:` and 64 hexadecimal digits");
        return None;
    }
    Some(Remote { sha256: hexadecimal.to_ascii_lowercase(), url: url.into_inner() })
}

pub(super) fn template(check: &mut Check, known: &Known, text: &Spanned<String>) -> Option<Template> {
    let template = match Template::parse(text.get_ref()) {
        Ok(template) => template,
        Err(why) => {
            check.error(text.span(), why, "write `{{ name }}` where a variable's value should be");
            return None;
        }
    };
    let mut declared = true;
    for name in template.variables().filter(|name| !known.variables.contains(*name)) {
        declared = false;
        let help = match nearest(name, known.variables.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it: `[variables] {name} = {{ required = true }}`"),
        };
        check.error(text.span(), format!("there is no variable `{name}`"), help);
    }
    declared.then_some(template)
}

fn file_mount(check: &mut Check, files: Spanned<StringOr<wire::Placement>>) -> Option<Files> {
    match files.into_inner() {
        StringOr::String(pattern) => Some(Files::Pattern(pattern)),
        StringOr::Long(wire::Placement { source, destination }) => {
            let inside = destination.get_ref().split('/').all(|part| part != "..");
            if !destination.get_ref().starts_with('/') || !inside {
                let message = format!("`{destination}` is not a place in the guest");
                check.error(destination.span(), message, "give an absolute path without `..`");
                return None;
            }
            Some(Files::Placed { source, destination: destination.into_inner() })
        }
    }
}

fn outbound_hosts(
    check: &mut Check,
    known: &Known,
    mut allowed: Vec<Spanned<String>>,
    deprecated: Vec<Spanned<String>>,
) -> Vec<Template> {
    for host in deprecated {
        let modern = hosts::from_http_host(host.get_ref());
        let help = format!("use `allowed_outbound_hosts` with {}", list(modern.iter().map(String::as_str)));
        check.warn(host.span(), "`allowed_http_hosts` is deprecated", help);
        allowed.extend(modern.into_iter().map(|modern| Spanned::new(host.span(), modern)));
    }
    let mut valid = Vec::new();
    for host in allowed {
        let Some(template) = template(check, known, &host) else { continue };
        if let Some(Err(why)) = template.literal().map(hosts::check) {
            check.error(host.span(), format!("`{host}` is not a destination"), why);
        }
        if let Some(id) = template.literal().and_then(hosts::component).filter(|id| !known.components.contains(*id)) {
            let message = format!("`{host}` names a component that is not in the manifest");
            let others = known.components.iter().map(String::as_str);
            let help = nearest(id, others).map_or_else(
                || "nothing answers there: remove it, or add the component".to_owned(),
                |near| format!("did you mean `{near}.spin.internal`?"),
            );
            check.warn(host.span(), message, help);
        }
        valid.push(template);
    }
    valid
}

fn dependencies(
    check: &mut Check,
    known: &Known,
    directory: &Path,
    dependencies: BTreeMap<Spanned<String>, Spanned<StringOr<wire::Dependency>>>,
    inherited: Inherit,
) -> BTreeMap<String, Dependency> {
    let mut valid = BTreeMap::new();
    for (import, dependency) in dependencies {
        check.named("an import", import.span(), import.get_ref(), names::import);
        let span = dependency.span();
        let StringOr::Long(dependency) = dependency.into_inner() else {
            remote_dependency(check, span);
            continue;
        };
        let written = dependency.inherit_configuration;
        let inherit = written.as_ref().map_or(inherited, |written| Inherit::read(check, written));
        if let (Some(_), Some(written)) = (&dependency.component, &written)
            && inherit != Inherit::default()
        {
            let message = "a dependency that is a component inherits nothing here";
            check.warn(written.span(), message, "it has grants of its own: write them in its table");
        }
        let export = dependency.export;
        let (path, url, digest) = (dependency.path, dependency.url, dependency.digest);
        let dependency = match (dependency.component, path, url, dependency.version) {
            (Some(component), None, None, None) => {
                let reference = Spanned::new(component.span(), StringOr::<()>::String(component.into_inner()));
                component_reference(check, known, reference).map(|id| Dependency::Component { id, export })
            }
            (None, Some(path), None, None) => {
                Some(Dependency::File { path: directory.join(path), remote: None, inherit, export })
            }
            (None, None, Some(url), None) => remote(check, url, digest).map(|remote| Dependency::File {
                path: PathBuf::new(),
                remote: Some(remote),
                inherit,
                export,
            }),
            (None, None, None, Some(_)) => {
                remote_dependency(check, span);
                None
            }
            _ => {
                let help = "write `{ component = \"<id>\" }` or `{ path = \"<file>\" }`";
                check.error(span, "a dependency is exactly one component or one file", help);
                None
            }
        };
        if let Some(dependency) = dependency {
            valid.insert(import.into_inner(), dependency);
        }
    }
    valid
}

fn remote_dependency(check: &mut Check, span: Range<usize>) {
    check.error(
        span,
        "registries are not supported",
        "write `{ path = \"<file>\" }`, or `{ url = \"…\", digest = \"sha256:…\" }`, or use a component of this application: `{ component = \"<id>\" }`",
    );
}
