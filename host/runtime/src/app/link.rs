//! Linking: what a component imports is provided by the host or by another component.

use std::sync::{Arc, Weak};

use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem, Type};
use wasmtime::component::{Component as Compiled, Linker, Val};
use wasmtime::error::Context as _;
use wasmtime::{Engine, Result, bail, format_err};

use super::App;
use crate::bindings;
use crate::state::State;

/// An import that another component of the application provides.
pub(crate) struct Dependency {
    /// The interface, such as `tessera:auth/tokens@0.1.0`.
    pub(crate) interface: String,
    /// The component that exports it.
    pub(crate) component: Arc<str>,
}

/// A linker with everything that the host provides.
pub(crate) fn host(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    bindings::add_to_linker(&mut linker, State::grants)?;
    Ok(linker)
}

/// Provides `dependency` to a component by calls into the sandbox of another, `callee`, in the
/// application as it is at the time of the call: so the callee can be swapped alone.
///
/// # Errors
/// If the interface is not exported by the callee as the caller imports it, or has types that
/// cannot leave a sandbox.
pub(crate) fn provide(
    linker: &mut Linker<State>,
    engine: &Engine,
    caller: &Compiled,
    dependency: &Dependency,
    callee: &Compiled,
    app: &Weak<App>,
) -> Result<()> {
    let interface = &dependency.interface;
    let Some(wanted) = instance(caller, engine, interface, false) else {
        // Granted but not imported: harmless, as with any other grant.
        return Ok(());
    };
    let provided = instance(callee, engine, interface, true)
        .with_context(|| format!("component `{}` does not export `{interface}`", dependency.component))?;
    let mut linker = linker.instance(interface)?;
    for (name, item) in wanted.exports(engine) {
        let ComponentItem::ComponentFunc(function) = item.ty else { continue };
        let same = provided.get_export(engine, name).is_some_and(
            |item| matches!(item.ty, ComponentItem::ComponentFunc(provided) if same(&function, &provided)),
        );
        if !same {
            bail!("component `{}` does not export `{name}` of `{interface}` with the types it is imported with", dependency.component);
        }
        if function.params().map(|(_, ty)| ty).chain(function.results()).any(|ty| !is_plain(&ty)) {
            bail!("`{name}` of `{interface}` has resources or streams, which cannot go from one component to another");
        }
        let call = Arc::new(Call {
            app: app.clone(),
            component: Arc::clone(&dependency.component),
            interface: interface.clone(),
            function: name.to_owned(),
        });
        if function.async_() {
            linker.func_new_concurrent(name, move |_, _, params, results| {
                let call = Arc::clone(&call);
                Box::pin(async move { call.call(params, results).await })
            })?;
        } else {
            linker.func_new_async(name, move |_, _, params, results| {
                let call = Arc::clone(&call);
                Box::new(async move { call.call(params, results).await })
            })?;
        }
    }
    Ok(())
}

/// An imported or exported interface's type.
fn instance(component: &Compiled, engine: &Engine, interface: &str, exported: bool) -> Option<ComponentInstance> {
    let ty = component.component_type();
    let item = if exported { ty.get_export(engine, interface) } else { ty.get_import(engine, interface) };
    match item?.ty {
        ComponentItem::ComponentInstance(instance) => Some(instance),
        _ => None,
    }
}

fn same(one: &ComponentFunc, two: &ComponentFunc) -> bool {
    one.async_() == two.async_()
        && one.params().map(|(_, ty)| ty).eq(two.params().map(|(_, ty)| ty))
        && one.results().eq(two.results())
}

/// True for values that mean the same in every sandbox.
fn is_plain(ty: &Type) -> bool {
    match ty {
        Type::Own(_) | Type::Borrow(_) | Type::Future(_) | Type::Stream(_) | Type::ErrorContext => false,
        Type::List(list) => is_plain(&list.ty()),
        Type::FixedLengthList(list) => is_plain(&list.ty()),
        Type::Map(map) => is_plain(&map.key()) && is_plain(&map.value()),
        Type::Record(record) => record.fields().all(|field| is_plain(&field.ty)),
        Type::Tuple(tuple) => tuple.types().all(|ty| is_plain(&ty)),
        Type::Variant(variant) => variant.cases().all(|case| case.ty.is_none_or(|ty| is_plain(&ty))),
        Type::Option(option) => is_plain(&option.ty()),
        Type::Result(result) => [result.ok(), result.err()].iter().flatten().all(is_plain),
        _ => true,
    }
}

/// A function of another component.
struct Call {
    app: Weak<App>,
    component: Arc<str>,
    interface: String,
    function: String,
}

impl Call {
    async fn call(self: Arc<Self>, params: &[Val], results: &mut [Val]) -> Result<()> {
        let count = results.len();
        let params = params.to_vec();
        // A task of its own: what the callee computes must not hold up the other requests that
        // share the caller's instance. Dropping the call ends it.
        let task = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&self).run(params, count)));
        let values = task
            .await
            .map_err(wasmtime::Error::from)
            .flatten()
            .with_context(|| format!("call `{}` of `{}` in component `{}`", self.function, self.interface, self.component))?;
        for (slot, value) in results.iter_mut().zip(values) {
            *slot = value;
        }
        Ok(())
    }

    async fn run(self: Arc<Self>, params: Vec<Val>, count: usize) -> Result<Vec<Val>> {
        let app = self.app.upgrade().context("the application is gone")?;
        let snapshot = app.snapshot();
        let callee = snapshot.component(&self.component).context("the component is gone")?;
        let call = async {
            let _permit = callee.permits.acquire().await?;
            let interface = callee.compiled.get_export_index(None, self.interface.as_str());
            let function = callee
                .compiled
                .get_export_index(interface.as_ref(), self.function.as_str())
                .context("the component no longer exports it")?;
            let mut store = callee.store()?;
            let instance = callee.pre.instantiate_async(&mut store).await?;
            let function = instance.get_func(&mut store, function).context("the export is not a function")?;
            let mut results = vec![Val::Bool(false); count];
            store
                .run_concurrent(async |accessor| function.call_concurrent(accessor, &params, &mut results).await)
                .await??;
            Ok(results)
        };
        tokio::time::timeout(callee.limits.timeout, call)
            .await
            .map_err(|_| format_err!("no answer within {:?} (`limits.timeout` in the manifest)", callee.limits.timeout))?
    }
}

/// Explains the first import of `component` that `linker` does not provide.
pub(crate) fn missing_import(component: &Compiled, engine: &Engine, others: &[(Arc<str>, Compiled)]) -> Option<String> {
    let provided = |name: &str| {
        ["wasi:", "tessera:keyvalue/", "tessera:blob/", "tessera:queue/", "tessera:mail/", "spin:variables/"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    let ty = component.component_type();
    let (name, _) = ty.imports(engine).find(|(name, _)| !provided(name))?;
    let exporter = others.iter().find(|(_, other)| other.get_export_index(None, name).is_some());
    let exporter = exporter.map_or("<the component that exports it>", |(id, _)| id);
    Some(format!("imports `{name}`, which nothing provides; add\n\n    [component.ID.dependencies]\n    \"{name}\" = {{ component = \"{exporter}\" }}\n"))
}
