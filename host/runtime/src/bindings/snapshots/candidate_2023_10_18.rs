//! What differs in 0.2.0-rc-2023-10-18, which Spin's Rust SDK 2 was made for.

use std::time::Duration;

use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource, ResourceType, flags};
use wasmtime::{Result, StoreContextMut, bail};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::clocks::WasiClocksView as _;
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::Host as _;
use wasmtime_wasi::p2::bindings::filesystem::types as files;
use wasmtime_wasi::p2::bindings::filesystem::types::HostDescriptor as _;
use wasmtime_wasi::p2::bindings::io::error::{Error as IoError, HostError};
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, Pollable};
use wasmtime_wasi_http::p2::HeaderError;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{
    self, ErrorCode, Fields, FutureIncomingResponse, FutureTrailers, HostFields, HostFutureIncomingResponse,
    HostFutureTrailers, HostOutgoingBody as _, HostOutgoingRequest, HostOutgoingResponse, HostRequestOptions,
    HostResponseOutparam, IncomingResponse, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
    Scheme,
};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::bindings::files::{code, note};
use crate::network::SessionView;

/// The error of this candidate's HTTP.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "invalid-url")]
    InvalidUrl(String),
    #[component(name = "timeout-error")]
    Timeout(String),
    #[component(name = "protocol-error")]
    Protocol(String),
    #[component(name = "unexpected-error")]
    Unexpected(String),
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        let text = code.to_string();
        match code {
            ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestUriTooLong => Self::InvalidUrl(text),
            ErrorCode::DnsTimeout
            | ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::HttpResponseTimeout => Self::Timeout(text),
            ErrorCode::HttpProtocolError => Self::Protocol(text),
            _ => Self::Unexpected(text),
        }
    }
}

impl From<Error> for ErrorCode {
    fn from(error: Error) -> Self {
        let (Error::InvalidUrl(text) | Error::Timeout(text) | Error::Protocol(text) | Error::Unexpected(text)) = error;
        Self::InternalError(Some(text))
    }
}

/// Options of a request, in milliseconds.
#[derive(ComponentType, Lift)]
#[component(record)]
struct RequestOptions {
    #[component(name = "connect-timeout-ms")]
    connect: Option<u32>,
    #[component(name = "first-byte-timeout-ms")]
    first_byte: Option<u32>,
    #[component(name = "between-bytes-timeout-ms")]
    between_bytes: Option<u32>,
}

flags! {
    Modes {
        #[component(name = "readable")]
        const READABLE;
        #[component(name = "writable")]
        const WRITABLE;
        #[component(name = "executable")]
        const EXECUTABLE;
    }
}

/// Headers are made whole, and what is wrong in a call traps.
pub(super) fn http_types<T: WasiHttpView + 'static>(linker: &mut LinkerInstance<'_, T>) -> Result<()> {
    fields(linker)?;
    linker.func_wrap(
        "[constructor]outgoing-request",
        |mut store: StoreContextMut<'_, T>,
         (method, path, scheme, authority, headers): (
            Method,
            Option<String>,
            Option<Scheme>,
            Option<String>,
            Resource<Fields>,
        )| { Ok((request(&mut store.data_mut().http(), method, path, scheme, authority, headers)?,)) },
    )?;
    linker.func_wrap(
        "[method]outgoing-request.write",
        |mut store: StoreContextMut<'_, T>, (request,): (Resource<OutgoingRequest>,)| {
            Ok((HostOutgoingRequest::body(&mut store.data_mut().http(), request)?,))
        },
    )?;
    linker.func_wrap(
        "[constructor]outgoing-response",
        |mut store: StoreContextMut<'_, T>, (status, headers): (u16, Resource<Fields>)| {
            let mut http = store.data_mut().http();
            let headers = copy(&mut http, headers)?;
            let response = HostOutgoingResponse::new(&mut http, headers)?;
            if http.set_status_code(Resource::new_borrow(response.rep()), status)?.is_err() {
                bail!("{status} is not a status of HTTP");
            }
            Ok((response,))
        },
    )?;
    linker.func_wrap(
        "[method]outgoing-response.write",
        |mut store: StoreContextMut<'_, T>, (response,): (Resource<OutgoingResponse>,)| {
            Ok((HostOutgoingResponse::body(&mut store.data_mut().http(), response)?,))
        },
    )?;
    linker.func_wrap(
        "[static]outgoing-body.finish",
        |mut store: StoreContextMut<'_, T>, (body, trailers): (Resource<OutgoingBody>, Option<Resource<Fields>>)| {
            Ok(store.data_mut().http().finish(body, trailers)?)
        },
    )?;
    linker.func_wrap(
        "[static]response-outparam.set",
        |mut store: StoreContextMut<'_, T>,
         (outparam, response): (Resource<ResponseOutparam>, Result<Resource<OutgoingResponse>, Error>)| {
            HostResponseOutparam::set(&mut store.data_mut().http(), outparam, response.map_err(ErrorCode::from))
        },
    )?;
    linker.func_wrap(
        "[method]future-trailers.get",
        |mut store: StoreContextMut<'_, T>, (trailers,): (Resource<FutureTrailers>,)| {
            let mut http = store.data_mut().http();
            Ok((match HostFutureTrailers::get(&mut http, trailers)? {
                None => None,
                Some(Ok(Ok(Some(trailers)))) => Some(Ok(trailers)),
                // It could not say that there are none.
                Some(Ok(Ok(None))) => Some(Ok(HostFields::new(&mut http)?)),
                Some(Ok(Err(error))) => Some(Err(Error::from(error))),
                Some(Err(())) => bail!("the trailers were taken before"),
            },))
        },
    )?;
    linker.func_wrap(
        "[method]future-incoming-response.get",
        |mut store: StoreContextMut<'_, T>, (future,): (Resource<FutureIncomingResponse>,)| {
            type Got = Option<Result<Result<Resource<IncomingResponse>, Error>, ()>>;
            let got = HostFutureIncomingResponse::get(&mut store.data_mut().http(), future)?;
            let got: Got = got.map(|taken| taken.map(|result| result.map_err(Error::from)));
            Ok((got,))
        },
    )
}

fn fields<T: WasiHttpView + 'static>(linker: &mut LinkerInstance<'_, T>) -> Result<()> {
    linker.func_wrap(
        "[constructor]fields",
        |mut store: StoreContextMut<'_, T>, (entries,): (Vec<(String, Vec<u8>)>,)| {
            Ok((store.data_mut().http().from_list(entries).map_err(malformed)?,))
        },
    )?;
    linker.func_wrap(
        "[method]fields.set",
        |mut store: StoreContextMut<'_, T>, (fields, name, values): (Resource<Fields>, String, Vec<Vec<u8>>)| {
            HostFields::set(&mut store.data_mut().http(), fields, name, values).map_err(malformed)
        },
    )?;
    linker.func_wrap(
        "[method]fields.delete",
        |mut store: StoreContextMut<'_, T>, (fields, name): (Resource<Fields>, String)| {
            store.data_mut().http().delete(fields, name).map_err(malformed)
        },
    )?;
    linker.func_wrap(
        "[method]fields.append",
        |mut store: StoreContextMut<'_, T>, (fields, name, value): (Resource<Fields>, String, Vec<u8>)| {
            store.data_mut().http().append(fields, name, value).map_err(malformed)
        },
    )
}

/// Headers that are none trap: the candidate had no error for them.
fn malformed(error: HeaderError) -> wasmtime::Error {
    match error.downcast() {
        Ok(error) => wasmtime::format_err!("a header is malformed or not allowed: {error}"),
        Err(trap) => trap,
    }
}

/// The release takes headers over that were only lent here.
fn copy(http: &mut WasiHttpCtxView<'_>, headers: Resource<Fields>) -> Result<Resource<Fields>> {
    HostFields::clone(http, headers)
}

fn request(
    http: &mut WasiHttpCtxView<'_>,
    method: Method,
    path: Option<String>,
    scheme: Option<Scheme>,
    authority: Option<String>,
    headers: Resource<Fields>,
) -> Result<Resource<OutgoingRequest>> {
    let headers = copy(http, headers)?;
    let request = HostOutgoingRequest::new(http, headers)?;
    let borrow = || Resource::new_borrow(request.rep());
    if http.set_method(borrow(), method)?.is_err() {
        bail!("the request's method is not one of HTTP");
    }
    if http.set_path_with_query(borrow(), path)?.is_err() {
        bail!("the request's path is malformed");
    }
    if http.set_scheme(borrow(), scheme)?.is_err() {
        bail!("the request's scheme is malformed");
    }
    if http.set_authority(borrow(), authority)?.is_err() {
        bail!("the request's authority is malformed");
    }
    Ok(request)
}

pub(super) fn outgoing_handler<T: WasiHttpView + 'static>(linker: &mut LinkerInstance<'_, T>) -> Result<()> {
    linker.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, T>, (request, options): (Resource<OutgoingRequest>, Option<RequestOptions>)| {
            let mut http = store.data_mut().http();
            let options = options.map(|options| timeouts(&mut http, &options)).transpose()?;
            Ok((match http.handle(request, options) {
                Ok(future) => Ok::<Resource<FutureIncomingResponse>, _>(future),
                Err(error) => Err(Error::from(error.downcast()?)),
            },))
        },
    )
}

fn timeouts(http: &mut WasiHttpCtxView<'_>, options: &RequestOptions) -> Result<Resource<types::RequestOptions>> {
    let nanoseconds = |milliseconds: Option<u32>| {
        milliseconds.and_then(|milliseconds| u64::try_from(Duration::from_millis(milliseconds.into()).as_nanos()).ok())
    };
    let made = HostRequestOptions::new(http)?;
    let borrow = || Resource::new_borrow(made.rep());
    // A host may not know an option; this one knows all.
    _ = http.set_connect_timeout(borrow(), nanoseconds(options.connect))?;
    _ = http.set_first_byte_timeout(borrow(), nanoseconds(options.first_byte))?;
    _ = http.set_between_bytes_timeout(borrow(), nanoseconds(options.between_bytes))?;
    Ok(made)
}

pub(super) fn poll<T: WasiView + 'static>(linker: &mut LinkerInstance<'_, T>) -> Result<()> {
    linker.func_wrap_async("poll-list", |mut store: StoreContextMut<'_, T>, (list,): (Vec<Resource<Pollable>>,)| {
        Box::new(async move { Ok((store.data_mut().ctx().table.poll(list).await?,)) })
    })?;
    linker.func_wrap_async("poll-one", |mut store: StoreContextMut<'_, T>, (one,): (Resource<Pollable>,)| {
        Box::new(async move { store.data_mut().ctx().table.poll(vec![one]).await.map(drop) })
    })
}

/// Errors belonged to the streams.
pub(super) fn streams<T: WasiView + 'static>(linker: &mut LinkerInstance<'_, T>) -> Result<()> {
    linker.resource("error", ResourceType::host::<IoError>(), |mut store, index| {
        HostError::drop(store.data_mut().ctx().table, Resource::new_own(index))
    })?;
    linker.func_wrap(
        "[method]error.to-debug-string",
        |mut store: StoreContextMut<'_, T>, (error,): (Resource<IoError>,)| {
            Ok((store.data_mut().ctx().table.to_debug_string(error)?,))
        },
    )
}

pub(super) fn monotonic_clock<T: WasiView + 'static>(linker: &mut LinkerInstance<'_, T>) -> Result<()> {
    linker.func_wrap("subscribe", |mut store: StoreContextMut<'_, T>, (when, absolute): (u64, bool)| {
        let mut clocks = store.data_mut().clocks();
        let pollable = if absolute { clocks.subscribe_instant(when)? } else { clocks.subscribe_duration(when)? };
        Ok((pollable,))
    })
}

/// Opening had the permissions of a new file; components can make none.
pub(super) fn filesystem<T: SessionView>(linker: &mut LinkerInstance<'_, T>) -> Result<()> {
    linker.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store: StoreContextMut<'_, T>,
         (directory, path_flags, path, open_flags, flags, _): (
            Resource<files::Descriptor>,
            files::PathFlags,
            String,
            files::OpenFlags,
            files::DescriptorFlags,
            Modes,
        )| {
            Box::new(async move {
                let mut files = store.data_mut().filesystem();
                let opened = files.open_at(directory, path_flags, path.clone(), open_flags, flags).await;
                let opened = code(opened)?;
                note(&opened, store.data_mut().session().network().grants(), &path);
                Ok((opened,))
            })
        },
    )
}
