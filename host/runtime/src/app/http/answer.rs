//! A request's way through its component's limits, to an instance and back.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use bytesize::ByteSize;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use wasmtime::{Error, PoolConcurrencyLimitError, WasmBacktrace};
use wasmtime_wasi_http::handler::{ExpirationError, InstantiationError, TrapOrPanicError};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::activity::{Activity, Waiting};
use super::body::{RequestBody, ResponseBody};
use super::handler::Handler;
use super::shared::{Cause, End};
use crate::app::component::Component;
use crate::app::life::CutOff;
use crate::exceeded::Exceeded;
use crate::network::Depth;
use crate::stats::Running;

/// Why there is no answer; the log has the details.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too much work at a time: come again.
    Overload,
    /// The request's body is larger than the component takes.
    RequestTooLarge,
    /// The answer's body is larger than the component may send.
    ResponseTooLarge,
    /// No answer in time.
    Late,
    /// Its version was replaced, and has had its time to drain.
    CutOff,
    /// The component failed, or was stopped at a limit.
    Failed,
    /// The instance failed while it had several requests; which of them is to blame is not known.
    FailedTogether,
}

impl Refused {
    /// What it means for the client.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Overload | Self::CutOff => StatusCode::SERVICE_UNAVAILABLE,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
            Self::ResponseTooLarge | Self::Failed | Self::FailedTogether => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Lets an instance behind `handler` answer, and counts that.
///
/// # Errors
/// As [`Refused`] says.
pub(crate) async fn answer<B>(
    component: &Arc<Component>,
    handler: &Handler,
    request: Request<B>,
) -> Result<Response<WasiBody>, Refused>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    HttpError: From<B::Error>,
{
    let running = Running::request(&component.stats);
    match attempt(component, handler, request).await {
        Ok((response, activity)) => {
            running.answered(response.status().as_u16());
            let limit = component.limits.response_body;
            Ok(response.map(|body| {
                let length = body.size_hint().exact();
                let component = Arc::clone(component);
                ResponseBody { body, activity, component, limit, left: limit, length, ended: false, _running: running }
                    .boxed_unsync()
            }))
        }
        Err(refused) => {
            match refused {
                Refused::Overload => running.rejected(),
                Refused::Late => running.timed_out(),
                Refused::Failed | Refused::FailedTogether => running.trapped(),
                Refused::CutOff | Refused::RequestTooLarge | Refused::ResponseTooLarge => {}
            }
            running.answered(refused.status().as_u16());
            Err(refused)
        }
    }
}

async fn attempt<B>(
    component: &Arc<Component>,
    handler: &Handler,
    request: Request<B>,
) -> Result<(Response<WasiBody>, Arc<Activity>), Refused>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    HttpError: From<B::Error>,
{
    let limits = &component.limits;
    component.stats.load.call();
    if request.body().size_hint().lower() > limits.request_body {
        return Err(too_large(component));
    }
    let permit = match tokio::time::timeout(limits.timeout, component.admission.enter()).await {
        Ok(Ok(permit)) => permit,
        Ok(Err(exceeded)) => return Err(refused(component, &Cause::Exceeded(exceeded))),
        Err(_) => return Err(Refused::Overload),
    };
    let (parts, body) = request.into_parts();
    let depth = parts.extensions.get::<Depth>().map_or(0, |depth| depth.0);
    let activity = Arc::new(Activity::at_depth(depth, permit));
    let waiting = Waiting::new(&activity);
    let handle = |body| handler.handle(component, Arc::clone(&activity), Request::from_parts(parts, body));
    let result = if body.is_end_stream() {
        handle(Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync()).await
    } else {
        let body = RequestBody { body, activity: Arc::clone(&activity), left: limits.request_body };
        tokio::select! {
            biased;
            () = activity.too_large() => return Err(too_large(component)),
            result = handle(body.boxed_unsync()) => result,
        }
    };
    waiting.answered();
    let response = match result {
        Ok(response) => response,
        Err(error) => {
            let refused = failed(component, &activity, &error).await;
            if let Refused::Failed | Refused::FailedTogether = refused {
                tokio::time::sleep(component.admission.failed()).await;
            }
            return Err(refused);
        }
    };
    let limit = limits.response_body;
    if response.body().size_hint().lower() > limit {
        let exceeded = Exceeded::ResponseBody { component: Arc::clone(&component.id), limit: ByteSize(limit) };
        return Err(refused(component, &Cause::Exceeded(exceeded)));
    }
    Ok((response, activity))
}

fn too_large(component: &Component) -> Refused {
    let limit = ByteSize(component.limits.request_body);
    component.stats.exceeded.request_body.increment();
    tracing::info!(component = &*component.id, "a request's body is longer than {limit} (`limits.request_body`)");
    Refused::RequestTooLarge
}

/// Finds out what is behind an error.
async fn failed(component: &Component, activity: &Activity, error: &Error) -> Refused {
    if let Some(error) = error.downcast_ref::<InstantiationError<Arc<Activity>>>() {
        return not_started(component, &error.error);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return not_started(component, error);
    }
    if error.is::<ExpirationError>() {
        return refused(component, &Cause::Late);
    }
    if error.is::<CutOff>() {
        return refused(component, &Cause::CutOff);
    }
    let Some(instance) = activity.instance() else {
        tracing::error!(component = &*component.id, "the request failed: {error:?}");
        return Refused::Failed;
    };
    if error.is::<TrapOrPanicError>() {
        // The instance has logged why.
        return instance.ended().await.map_or(Refused::Failed, together);
    }
    tracing::error!(component = &*component.id, "the request failed: {error:?}");
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        instance.ends(Cause::Exceeded(exceeded.clone()));
    } else if error.is::<WasmBacktrace>() {
        instance.ends(Cause::Trap);
    }
    instance.end().map_or(Refused::Failed, together)
}

/// What a request is told whose instance ended.
fn together(end: &End) -> Refused {
    match &end.cause {
        Cause::Late | Cause::Abandoned => Refused::Late,
        Cause::CutOff => Refused::CutOff,
        Cause::Exceeded(exceeded) if exceeded.is_overload() => Refused::Overload,
        _ if end.requests > 1 => Refused::FailedTogether,
        Cause::Exceeded(_) | Cause::Trap => Refused::Failed,
    }
}

/// There is no instance, so nothing has run.
fn not_started(component: &Component, error: &Error) -> Refused {
    if error.is::<PoolConcurrencyLimitError>() || error.downcast_ref().is_some_and(Exceeded::is_overload) {
        component.stats.exceeded.instances.increment();
        if let Some(refused) = component.admission.refused() {
            tracing::warn!(component = &*component.id, refused, "no room for another instance: {error:#}");
        }
        return Refused::Overload;
    }
    tracing::error!(component = &*component.id, "cannot instantiate: {error:?}");
    Refused::Failed
}

fn refused(component: &Component, cause: &Cause) -> Refused {
    match cause {
        Cause::Late | Cause::Abandoned => {
            tracing::error!(component = &*component.id, "{}", super::instances::LATE);
            Refused::Late
        }
        Cause::CutOff => {
            tracing::warn!(component = &*component.id, "{CutOff}");
            Refused::CutOff
        }
        Cause::Exceeded(exceeded) if exceeded.is_overload() => {
            if let Some(refused) = component.admission.refused() {
                tracing::warn!(component = &*component.id, refused, "requests are refused: {exceeded}");
            }
            Refused::Overload
        }
        Cause::Exceeded(exceeded @ Exceeded::ResponseBody { .. }) => {
            component.stats.exceeded.response_body.increment();
            tracing::error!(component = &*component.id, "the response was refused: {exceeded}");
            Refused::ResponseTooLarge
        }
        Cause::Exceeded(_) | Cause::Trap => Refused::Failed,
    }
}
