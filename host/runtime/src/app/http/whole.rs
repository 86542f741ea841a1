//! Components that take a whole request and give a whole response, with an instance for each:
//! Spin's own interface before WASI had HTTP, and programs that are run as CGI scripts.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use wasmtime::error::Context as _;
use wasmtime::{Result, Store};
use wasmtime_wasi_http::handler::ExpirationError;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::activity::Activity;
use super::wagi;
use crate::app::component::Component;
use crate::app::life::CutOff;
use crate::bindings::legacy_http;
use crate::cpu::Meter;
use crate::manifest::Limits;
use crate::state::State;
use crate::trace;

/// The most bytes of a request's or a response's body. Both are also in the guest's memory.
pub(super) const MAX_BODY: usize = 64 << 20;

/// How a component is called.
pub(crate) enum Whole {
    /// By `fermyon:spin/inbound-http`.
    Inbound,
    /// By running it.
    Wagi(wagi::Script),
}

impl Whole {
    /// Lets a fresh instance answer.
    ///
    /// # Errors
    /// What the instance trapped with, [`ExpirationError`] or [`CutOff`].
    pub(super) async fn handle(
        &self,
        component: &Component,
        activity: Arc<Activity>,
        request: Request<WasiBody>,
    ) -> Result<Response<WasiBody>> {
        let timeout = component.limits.timeout;
        let (parts, body) = request.into_parts();
        // As long as the body moves, it may take its time.
        let body = tokio::select! {
            body = Limited::new(body, MAX_BODY).collect() => body,
            () = activity.stalled(timeout) => return Err(ExpirationError.into()),
            () = component.life.cut_off() => return Err(CutOff.into()),
        };
        let body = match body {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return empty(StatusCode::PAYLOAD_TOO_LARGE),
            Err(_) => return empty(StatusCode::BAD_REQUEST),
        };
        let answer = async {
            match self {
                Self::Inbound => inbound(component, &parts, &body).await,
                Self::Wagi(script) => script.run(component, &parts, body).await,
            }
        };
        tokio::select! {
            answer = tokio::time::timeout(timeout, answer) => answer.map_err(|_| ExpirationError)?,
            () = component.life.cut_off() => Err(CutOff.into()),
        }
    }
}

async fn inbound(component: &Component, parts: &Parts, body: &Bytes) -> Result<Response<WasiBody>> {
    let Some(request) = legacy_http::Request::new(parts, body) else { return empty(StatusCode::METHOD_NOT_ALLOWED) };
    let interface = component.compiled.get_export_index(None, legacy_http::INBOUND);
    let function = component
        .compiled
        .get_export_index(interface.as_ref(), legacy_http::HANDLE)
        .context("its `fermyon:spin/inbound-http` has no `handle-request`")?;
    let mut store = component.store()?;
    let cpu = prepare(component, &mut store);
    let compute = async {
        let instance = component.pre.instantiate_async(&mut store).await?;
        let function =
            instance.get_typed_func::<(legacy_http::Request,), (legacy_http::Response,)>(&mut store, function)?;
        function.call_async(&mut store, (request,)).await
    };
    let (response,) = cpu.measure(compute).await?;
    response.into_answer()
}

/// Lets an instance work for the current request, and answers what measures its CPU time and stops
/// it at the component's limit.
pub(super) fn prepare(component: &Component, store: &mut Store<State>) -> Arc<Meter> {
    store.data_mut().tasks.all(trace::current());
    let cpu = Arc::clone(&store.data().cpu);
    cpu.allow(component.limits.cpu_time.unwrap_or(Limits::CPU_TIME));
    cpu
}

fn empty(status: StatusCode) -> Result<Response<WasiBody>> {
    Ok(Response::builder().status(status).body(Empty::new().map_err(HttpError::from).boxed_unsync())?)
}
