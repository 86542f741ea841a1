//! What components may import elsewhere and not here. Whoever is granted its use is refused at start,
//! by name. Whoever is not may import it all the same, as components of Python do, which import
//! whatever their SDK knows: calls are answered as those of what is not granted.

use std::sync::Arc;

use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem, Type};
use wasmtime::component::{Component as Compiled, Linker, ResourceType, Val};
use wasmtime::{Result, bail};

use super::link::Dependency;
use crate::manifest::AllowedHosts;
use crate::state::State;

/// An interface that is not provided.
struct Interface {
    /// Its name without its version; all of a package if it ends with `/`.
    name: &'static str,
    what: &'static str,
    /// What to do without it.
    instead: &'static str,
    use_of: Use,
}

/// How a manifest grants the use of an interface.
#[derive(Clone, Copy)]
enum Use {
    /// By `ai_models`, which the manifest's reader refuses.
    Models,
    /// By an entry of `allowed_outbound_hosts` with this scheme.
    Scheme(&'static str),
    /// In no way: who imports it uses it.
    Import,
}

const INTERFACES: &[Interface] = &[
    interface("fermyon:spin/llm", "large language models (Spin's Serverless AI)", MODELS, Use::Models),
    interface("fermyon:spin/mqtt", "outgoing MQTT", QUEUES, Use::Scheme("mqtt")),
    interface("spin:mqtt/mqtt", "outgoing MQTT", QUEUES, Use::Scheme("mqtt")),
    interface("fermyon:spin/mysql", "MySQL", DATABASES, Use::Scheme("mysql")),
    interface("spin:mysql/mysql", "MySQL", DATABASES, Use::Scheme("mysql")),
    interface("fermyon:spin/postgres", "PostgreSQL", DATABASES, Use::Scheme("postgres")),
    interface("spin:postgres/postgres", "PostgreSQL", DATABASES, Use::Scheme("postgres")),
    interface("wasi:blobstore/", "`wasi:blobstore`", "use `tessera:blob/store@0.1.0`", Use::Import),
    interface("wasi:messaging/", "`wasi:messaging`", QUEUES, Use::Import),
    interface("wasi:otel/", "`wasi:otel`", "build the component without it: the host traces every call", Use::Import),
    interface("wasi:nn/", "neural networks (`wasi:nn`)", MODELS, Use::Import),
];

const MODELS: &str = "call a model behind an HTTP API, which `allowed_outbound_hosts` has to name";
const QUEUES: &str = "use `tessera:queue/producer@0.1.0` and `consume`, or Redis";
const DATABASES: &str =
    "use SQLite (`sqlite_databases`), a key-value store, or a client that connects by `wasi:sockets`";

const fn interface(name: &'static str, what: &'static str, instead: &'static str, use_of: Use) -> Interface {
    Interface { name, what, instead, use_of }
}

fn find(import: &str) -> Option<&'static Interface> {
    INTERFACES.iter().find(|Interface { name, .. }| {
        import.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('@') || name.ends_with('/'))
    })
}

/// Why an import is refused to a component that may reach `hosts`, if it is.
pub(super) fn reason(import: &str, hosts: &AllowedHosts) -> Option<String> {
    let Interface { what, instead, use_of, .. } = find(import)?;
    let granted = match use_of {
        Use::Import => true,
        Use::Scheme(scheme) => hosts.names_scheme(scheme),
        Use::Models => false,
    };
    granted.then(|| format!("{what} is not provided here: {instead}"))
}

/// Answers the calls of what component `id` imports and may not use. Imports that its dependencies
/// cover are theirs.
///
/// # Errors
/// If the linker has them already.
pub(crate) fn deny(
    linker: &mut Linker<State>,
    id: &str,
    component: &Compiled,
    dependencies: &[Dependency],
) -> Result<()> {
    let engine = component.engine();
    let ty = component.component_type();
    for (import, item) in ty.imports(engine) {
        let (Some(interface), ComponentItem::ComponentInstance(wanted)) = (find(import), item.ty) else { continue };
        if !dependencies.iter().any(|dependency| dependency.covers(import)) {
            deny_interface(linker, id, import, interface, &wanted, component)?;
        }
    }
    Ok(())
}

fn deny_interface(
    linker: &mut Linker<State>,
    id: &str,
    import: &str,
    interface: &'static Interface,
    wanted: &ComponentInstance,
    component: &Compiled,
) -> Result<()> {
    let mut linker = linker.instance(import)?;
    for (name, item) in wanted.exports(component.engine()) {
        match item.ty {
            // None of them ever exists: what would make one is denied.
            ComponentItem::Resource(_) => linker.resource(name, ResourceType::host::<Interface>(), |_, _| Ok(()))?,
            ComponentItem::ComponentFunc(function) => {
                let denied = Arc::new(Denied { id: id.to_owned(), import: import.to_owned(), interface });
                if function.async_() {
                    linker.func_new_concurrent(name, move |_, ty, params, results| {
                        let denied = Arc::clone(&denied);
                        Box::pin(async move { denied.answer(&ty, params, results) })
                    })?;
                } else {
                    linker.func_new(name, move |_, ty, params, results| denied.answer(&ty, params, results))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A function whose every call is denied.
struct Denied {
    id: String,
    import: String,
    interface: &'static Interface,
}

impl Denied {
    /// The error that the interface has for what is not granted, in Spin's words.
    fn answer(&self, ty: &ComponentFunc, params: &[Val], results: &mut [Val]) -> Result<()> {
        let Interface { what, use_of, .. } = self.interface;
        let grant = if matches!(use_of, Use::Models) { "ai_models" } else { "allowed_outbound_hosts" };
        tracing::warn!(component = self.id, "denied: {what} is not granted by `{grant}` in the manifest");
        let first = match params.first() {
            Some(Val::String(first)) => first.as_str(),
            _ => "",
        };
        let error = match ty.results().next() {
            Some(Type::Result(result)) => result.err(),
            _ => None,
        };
        if let (Some(Type::Variant(error)), Some(slot)) = (error, results.first_mut()) {
            for (case, text) in [
                ("connection-failed", format!("address {first} is not permitted")),
                (
                    "invalid-input",
                    format!(
                        "The component does not have access to use '{first}'. To give the component access, add \
                         '{first}' to the 'ai_models' key for the component in your spin.toml manifest"
                    ),
                ),
            ] {
                if error.cases().any(|known| known.name == case && matches!(known.ty, Some(Type::String))) {
                    let text = Val::String(text);
                    let error = Val::Variant(case.to_owned(), Some(Box::new(text)));
                    *slot = Val::Result(Err(Some(Box::new(error))));
                    return Ok(());
                }
            }
        }
        bail!("`{}`: {what} is not provided here", self.import)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::AllowedHosts;

    #[test]
    fn what_is_not_provided_is_named_in_any_version() {
        let hosts = AllowedHosts::parse(["postgres://db.example", "mqtt://mqtt.example"]).unwrap();
        for import in [
            "fermyon:spin/mqtt@2.0.0",
            "fermyon:spin/postgres",
            "spin:postgres/postgres@4.2.0",
            "wasi:otel/tracing@0.2.0-rc.2",
        ] {
            assert!(reason(import, &hosts).is_some(), "{import}");
        }
        let none = AllowedHosts::default();
        for import in ["spin:postgres/postgres@4.2.0", "fermyon:spin/llm", "fermyon:spin/llm@2.0.0"] {
            assert!(reason(import, &none).is_none() && find(import).is_some(), "{import}");
        }
        for import in ["fermyon:spin/key-value@2.0.0", "fermyon:spin/llms", "wasi:http/types@0.2.0"] {
            assert!(find(import).is_none(), "{import}");
        }
    }
}
