//! Linking: what a component imports is provided by the host or by another component.

use std::sync::{Arc, Weak};

use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem, Type};
use wasmtime::component::{Component as Compiled, Linker, Val};
use wasmtime::error::Context as _;
use wasmtime::{AsContextMut as _, Engine, PoolConcurrencyLimitError, Result, StoreContextMut, bail, format_err};

use super::life::CutOff;
use super::{App, unsupported};
use crate::bindings::{self, legacy_http, snapshots};
use crate::cpu::aside;
use crate::engine::MAX_INSTANCES;
use crate::exceeded::Exceeded;
use crate::manifest::{AllowedHosts, Limits};
use crate::network::{self, SessionView as _};
use crate::state::State;
use crate::stats::Running;
use crate::trace::{self, Kind, Work};

/// Imports that another component of the application provides.
pub(crate) struct Dependency {
    /// Which imports: an interface with or without its version, or all of a package.
    pub(crate) import: String,
    /// The component that provides them.
    pub(crate) component: Arc<str>,
    /// The export to use; `None`: the one named as the import.
    pub(crate) export: Option<String>,
}

impl Dependency {
    pub(super) fn covers(&self, import: &str) -> bool {
        let unversioned = import.split_once('@').map_or(import, |(name, _)| name);
        import == self.import
            || unversioned == self.import
            || unversioned.split_once('/').is_some_and(|(package, _)| package == self.import)
    }
}

/// A linker with everything that the host provides.
pub(crate) fn host(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    network::add_to_linker(&mut linker)?;
    bindings::add_to_linker(&mut linker, State::grants, State::spin)?;
    legacy_http::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// The host's linker for one component: with what older versions of WASI had otherwise, if the
/// component is of their time.
pub(crate) fn for_component(host: &Linker<State>, component: &Compiled) -> Result<Linker<State>> {
    let mut linker = host.clone();
    let ty = component.component_type();
    snapshots::add_to_linker(&mut linker, ty.imports(component.engine()).map(|(import, _)| import))?;
    Ok(linker)
}

/// Provides what `dependency` covers of a component's imports by calls into the sandbox of another,
/// `callee`, in the application as it is at the time of the call: so the callee can be swapped
/// alone.
///
/// # Errors
/// If an interface is not exported by the callee as the caller imports it, or has types that
/// cannot leave a sandbox.
pub(crate) fn provide(
    linker: &mut Linker<State>,
    caller: &Compiled,
    dependency: &Dependency,
    callee: &Compiled,
    app: &Weak<App>,
) -> Result<()> {
    let engine = caller.engine();
    let ty = caller.component_type();
    for (import, item) in ty.imports(engine) {
        let ComponentItem::ComponentInstance(wanted) = item.ty else { continue };
        if !dependency.covers(import) {
            continue;
        }
        let export = dependency.export.as_deref().unwrap_or(import);
        let Some(ComponentItem::ComponentInstance(provided)) =
            callee.component_type().get_export(engine, export).map(|item| item.ty)
        else {
            bail!("component `{}` does not export `{export}`", dependency.component);
        };
        interface(linker, import, &wanted, &provided, engine, |function| Call {
            app: app.clone(),
            component: Arc::clone(&dependency.component),
            interface: export.to_owned(),
            function: function.to_owned(),
        })?;
    }
    Ok(())
}

/// Defines the functions of one imported interface.
fn interface(
    linker: &mut Linker<State>,
    import: &str,
    wanted: &ComponentInstance,
    provided: &ComponentInstance,
    engine: &Engine,
    call: impl Fn(&str) -> Call,
) -> Result<()> {
    let mut linker = linker.instance(import)?;
    for (name, item) in wanted.exports(engine) {
        let ComponentItem::ComponentFunc(function) = item.ty else { continue };
        let call = Arc::new(call(name));
        let Some(ComponentItem::ComponentFunc(other)) = provided.get_export(engine, name).map(|item| item.ty) else {
            bail!("component `{}` does not export `{name}` of `{import}`", call.component);
        };
        if !same(&function, &other) {
            bail!("`{name}` of `{import}` has other types in component `{}` than it is imported with", call.component);
        }
        if function.params().map(|(_, ty)| ty).chain(function.results()).any(|ty| !is_plain(&ty)) {
            bail!("`{name}` of `{import}` has resources or streams, which cannot go from one component to another");
        }
        if function.async_() {
            linker.func_new_concurrent(name, move |accessor, _, params, results| {
                let call = Arc::clone(&call);
                Box::pin(async move {
                    let depth = accessor.with(|mut access| depth(access.as_context_mut()))?;
                    call.call(depth, params, results).await
                })
            })?;
        } else {
            linker.func_new_async(name, move |store, _, params, results| {
                let call = Arc::clone(&call);
                Box::new(async move {
                    let depth = depth(store)?;
                    call.call(depth, params, results).await
                })
            })?;
        }
    }
    Ok(())
}

/// How deep in a chain of calls by URL the caller is: a chain goes on behind other calls.
fn depth(mut store: StoreContextMut<'_, State>) -> Result<u8> {
    let stack: Vec<_> = store.async_call_stack()?.collect();
    Ok(store.data_mut().session().depths.of(stack.into_iter()))
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
    async fn call(self: Arc<Self>, depth: u8, params: &[Val], results: &mut [Val]) -> Result<()> {
        let count = results.len();
        let params = params.to_vec();
        // A task of its own: what the callee computes must not hold up the other requests that
        // share the caller's instance. Dropping the call ends it.
        let mut work = Work::begin(Kind::Internal, || format!("call {}", self.function).into());
        work.set("tessera.component", &*self.component);
        work.set("tessera.interface", &*self.interface);
        let run = trace::scope(work.context.clone(), Arc::clone(&self).run(depth, params, count));
        let task = AbortOnDropHandle::new(tokio::spawn(aside(run)));
        let called = work.run(async { task.await.map_err(wasmtime::Error::from).flatten() }).await;
        let values = called.with_context(|| {
            format!("call `{}` of `{}` in component `{}`", self.function, self.interface, self.component)
        })?;
        for (slot, value) in results.iter_mut().zip(values) {
            *slot = value;
        }
        Ok(())
    }

    async fn run(self: Arc<Self>, depth: u8, params: Vec<Val>, count: usize) -> Result<Vec<Val>> {
        let app = self.app.upgrade().context("the application is gone")?;
        let callee = app.load().component(&self.component).cloned().context("the component is gone")?;
        let limits = &callee.limits;
        let call = async {
            let _permit = callee.admission.enter().await?;
            let interface = callee.compiled.get_export_index(None, self.interface.as_str());
            let function = callee
                .compiled
                .get_export_index(interface.as_ref(), self.function.as_str())
                .context("the component no longer exports it")?;
            let mut store = callee.store()?;
            store.data_mut().session().depths.set_base(depth);
            store.data_mut().tasks.all(trace::current());
            let cpu = Arc::clone(&store.data().cpu);
            cpu.allow(limits.cpu_time.unwrap_or(Limits::CPU_TIME));
            let compute = async {
                let instance = callee.pre.instantiate_async(&mut store).await.map_err(|error| {
                    if !error.is::<PoolConcurrencyLimitError>() {
                        return error;
                    }
                    callee.stats.exceeded.instances.increment();
                    Exceeded::Instances { component: Arc::clone(&callee.id), most: MAX_INSTANCES as usize }.into()
                })?;
                let function = instance.get_func(&mut store, function).context("the export is not a function")?;
                let mut results = vec![Val::Bool(false); count];
                store
                    .run_concurrent(async |accessor| function.call_concurrent(accessor, &params, &mut results).await)
                    .await??;
                Ok::<_, wasmtime::Error>(results)
            };
            cpu.measure(compute).await
        };
        let running = Running::call(&callee.stats);
        let late = |_| {
            running.timed_out();
            format_err!("no answer within {:?} (`limits.timeout` in the manifest)", limits.timeout)
        };
        tokio::select! {
            answer = tokio::time::timeout(limits.timeout, call) => {
                running.ended(matches!(answer, Ok(Ok(_))));
                match answer.map_err(late)? {
                    Err(error) if error.downcast_ref::<Exceeded>().is_some_and(Exceeded::is_overload) => {
                        running.rejected();
                        Err(error)
                    }
                    Err(error) => {
                        running.trapped();
                        callee.grants().note_trap(&error);
                        Err(error)
                    }
                    values => values,
                }
            }
            () = callee.life.cut_off() => Err(CutOff.into()),
        }
    }
}

/// What the host provides, by the beginnings of their names.
const PROVIDED: &[&str] =
    &["wasi:", "tessera:keyvalue/", "tessera:blob/", "tessera:queue/", "tessera:mail/", "spin:", "fermyon:spin/"];

/// Says which import of component `id`, which may reach `hosts`, nothing provides, and what to add to
/// the manifest.
pub(crate) fn explain<'a>(
    id: &str,
    component: &Compiled,
    hosts: &AllowedHosts,
    dependencies: &[Dependency],
    mut others: impl Iterator<Item = (&'a str, &'a Compiled)>,
) -> Option<String> {
    let ty = component.component_type();
    let covered = |import: &str| dependencies.iter().any(|dependency| dependency.covers(import));
    let refused = ty.imports(component.engine()).filter(|(import, _)| !covered(import)).find_map(|(import, _)| {
        unsupported::reason(import, hosts).map(|reason| format!("component `{id}` imports `{import}`: {reason}\n"))
    });
    if refused.is_some() {
        return refused;
    }
    let (import, _) = ty.imports(component.engine()).find(|(import, _)| {
        !PROVIDED.iter().any(|prefix| import.starts_with(prefix))
            && !dependencies.iter().any(|dependency| dependency.covers(import))
    })?;
    let exporter = others.find(|(_, other)| other.get_export_index(None, import).is_some());
    let line = exporter.map_or_else(
        || format!("no component that runs exports it; if another one does, add\n\n  [component.{id}.dependencies]\n  \"{import}\" = {{ component = \"<id>\" }}\n\nand `{{ path = \"<file>.wasm\" }}` for a component file"),
        |(exporter, _)| format!("component `{exporter}` exports it, so add\n\n  [component.{id}.dependencies]\n  \"{import}\" = {{ component = \"{exporter}\" }}"),
    );
    Some(format!("component `{id}` imports `{import}`, which nothing provides: {line}\n"))
}
