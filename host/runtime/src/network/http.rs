//! Outgoing HTTP of WASI 0.2 and 0.3: to granted hosts, to other components by name
//! (`<component>.spin.internal`), and to the application itself by route (`self.alt`, or a URL
//! without a host).

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime::{AsContextMut as _, StoreContextMut};
use wasmtime_wasi::TrappableError;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types as p2};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p2::{HttpError as P2Error, HttpResult};
use wasmtime_wasi_http::p3::bindings::http::{client, types as p3};
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody, WasiHttp, WasiHttpHooks};

use super::{Call, Callee, MAX_DEPTH, Network, SessionView};
use crate::trace::{Kind, Work};

/// Names of components end like this.
const INTERNAL: &str = ".spin.internal";
/// An outgoing request waits this long at most until it may begin.
const WAIT: Duration = Duration::from_secs(10);
/// The application's own name in URLs. Some languages cannot do without one.
const OWN: &str = "self.alt";

/// Where a request goes.
enum Target {
    Remote,
    Component(String),
    Own,
}

impl Target {
    fn of(uri: &Uri) -> Self {
        match uri.host() {
            None | Some("" | OWN) => Self::Own,
            Some(host) => match host.strip_suffix(INTERNAL) {
                Some(id) if !id.contains('.') => Self::Component(id.to_owned()),
                _ => Self::Remote,
            },
        }
    }
}

impl Network {
    /// Where a granted request goes; a missing grant is logged.
    fn target(&self, uri: &Uri) -> Result<Target, HttpError> {
        let (scheme, host, port) = (uri.scheme_str().unwrap_or("https"), uri.host().unwrap_or(OWN), uri.port_u16());
        let target = Target::of(uri);
        let hosts = &self.grants.hosts;
        let granted = match &target {
            Target::Remote => hosts.allows(scheme, host, port),
            Target::Component(_) => hosts.allows_component(scheme, host, port),
            Target::Own => hosts.allows_own(),
        };
        if granted {
            return Ok(target);
        }
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        self.grants.denied("a request to", &format!("{scheme}://{host}{port}"), "allowed_outbound_hosts");
        Err(HttpError::HttpRequestDenied)
    }

    /// Sends a request that leaves the application, when there are few enough at a time.
    async fn send_remote(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        connections: Arc<Semaphore>,
    ) -> Result<Response<WasiBody>, HttpError> {
        let wait = options.and_then(|options| options.connect_timeout).unwrap_or(WAIT).min(WAIT);
        let Ok(place) = tokio::time::timeout(wait, self.place_of_request(connections)).await else {
            self.grants.exceeded.connections.increment();
            self.grants.warn(format_args!(
                "no outgoing request ended within {wait:?}, so that another could begin (`limits.connections`, or a \
                 limit of the operator's in `[outbound_http]` or `[outbound_networking]`)"
            ));
            return Err(HttpError::ConnectionLimitReached);
        };
        let response = self.client.send(request, options).await?;
        // Held until the answer's end.
        Ok(response.map(|body| {
            let body = body.map_frame(move |frame| {
                let _held = &place;
                frame
            });
            body.boxed_unsync()
        }))
    }

    async fn send(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        connections: Arc<Semaphore>,
        depth: u8,
    ) -> Result<Response<WasiBody>, HttpError> {
        let callee = match self.target(request.uri())? {
            Target::Remote => return self.send_remote(request, options, connections).await,
            Target::Component(id) => Callee::Component(id),
            Target::Own => Callee::Route,
        };
        let depth = depth.saturating_add(1);
        if depth > MAX_DEPTH {
            self.grants.warn(format_args!(
                "refused: a chain of {depth} calls between components, the last one to {}; do they call one another in a \
                 circle?",
                request.uri()
            ));
            return Err(HttpError::LoopDetected);
        }
        let call = (self.common.chain)(Call { callee, request, depth });
        match options.and_then(|options| options.first_byte_timeout) {
            Some(timeout) => tokio::time::timeout(timeout, call).await.map_err(|_| HttpError::ConnectionReadTimeout)?,
            None => call.await,
        }
    }
}

/// How an instance's requests are sent.
pub(crate) struct Hooks {
    network: Arc<Network>,
    /// One permit for each connection at a time, of all instances together.
    connections: Arc<Semaphore>,
    /// Of the task whose request is sent next.
    depth: u8,
}

impl Hooks {
    pub(crate) fn new(network: Arc<Network>, connections: Arc<Semaphore>) -> Self {
        Self { network, connections, depth: 0 }
    }

    /// Permits for connections.
    pub(super) fn connections(&self) -> &Arc<Semaphore> {
        &self.connections
    }

    /// What the instance's component reaches.
    pub(crate) fn network(&self) -> &Arc<Network> {
        &self.network
    }
}

type Io = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _io: Io,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io), HttpError>> + Send> {
        let (network, connections, depth) = (Arc::clone(&self.network), Arc::clone(&self.connections), self.depth);
        let mut work = Work::begin(Kind::Client, || request.method().to_string().into());
        work.set("http.request.method", request.method().as_str());
        work.set("server.address", request.uri().host().unwrap_or(OWN));
        if let Some(context) = &work.context {
            context.inject(request.headers_mut());
        }
        Box::new(async move {
            let response = work.run(network.send(request, options, connections, depth)).await?;
            work.set("http.response.status_code", response.status().as_u16());
            // The pool drives the connection; what goes wrong with it is seen in the body.
            Ok((response, Box::new(std::future::ready(Ok(()))) as Io))
        })
    }
}

/// The functions that send requests, in front of `wasmtime-wasi-http`'s. The interfaces have the
/// versions under which it provides them; components may import other compatible ones.
pub(super) fn add_to_linker<T: SessionView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.instance("wasi:http/outgoing-handler@0.2.12")?.func_wrap(
        "handle",
        |store, (request, options)| match handle(store, request, options) {
            Ok(response) => Ok((Ok(response),)),
            Err(error) => Ok((Err(error.downcast()?),)),
        },
    )?;
    linker.instance("wasi:http/client@0.3.0")?.func_wrap_concurrent("send", |accessor, (request,)| {
        Box::pin(async move {
            match send(accessor, request).await {
                Ok(response) => Ok((Ok(response),)),
                Err(error) => Ok((Err(error.downcast()?),)),
            }
        })
    })
}

/// WASI 0.2. A request that is not granted fails here and not in its future: this is where
/// components look for it.
fn handle<T: SessionView>(
    mut store: StoreContextMut<'_, T>,
    request: Resource<HostOutgoingRequest>,
    options: Option<Resource<RequestOptions>>,
) -> HttpResult<Resource<HostFutureIncomingResponse>> {
    let depth = depth(&mut store).map_err(P2Error::trap)?;
    let state = store.data_mut();
    let sent = state.http().table.get_mut(&request)?;
    if sent.authority.as_deref().is_none_or(str::is_empty) {
        sent.authority = Some(OWN.to_owned());
        sent.scheme = Some(p2::Scheme::Http);
    }
    let uri = uri(sent)?;
    let hooks = &mut state.session().hooks;
    hooks.depth = depth;
    hooks.network.target(&uri).map_err(|_| p2::ErrorCode::HttpRequestDenied)?;
    outgoing_handler::Host::handle(&mut state.http(), request, options)
}

/// The request's scheme and authority.
fn uri(request: &HostOutgoingRequest) -> Result<Uri, p2::ErrorCode> {
    let scheme = match &request.scheme {
        None | Some(p2::Scheme::Https) => Scheme::HTTPS,
        Some(p2::Scheme::Http) => Scheme::HTTP,
        Some(p2::Scheme::Other(other)) => {
            Scheme::try_from(other.as_str()).map_err(|_| p2::ErrorCode::HttpProtocolError)?
        }
    };
    let authority = request.authority.as_deref().unwrap_or(OWN);
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
    uri.map_err(|_| p2::ErrorCode::HttpRequestUriInvalid)
}

/// WASI 0.3.
async fn send<T: SessionView>(
    accessor: &Accessor<T>,
    request: Resource<p3::Request>,
) -> Result<Resource<p3::Response>, TrappableError<p3::ErrorCode>> {
    accessor
        .with(|mut access| {
            let depth = depth(&mut access.as_context_mut())?;
            let state = access.get();
            state.session().hooks.depth = depth;
            let sent = state.http().table.get_mut(&request)?;
            if sent.authority.is_none() {
                sent.authority = Some(Authority::from_static(OWN));
                sent.scheme = Some(Scheme::HTTP);
            }
            Ok(())
        })
        .map_err(|error: wasmtime::Error| TrappableError::trap(error))?;
    // The hook is called before anything is awaited, so the depth is still this task's.
    client::HostWithStore::send(&accessor.with_getter::<WasiHttp>(T::http), request).await
}

/// How deep in a chain of calls the calling task is.
fn depth<T: SessionView>(store: &mut StoreContextMut<'_, T>) -> wasmtime::Result<u8> {
    let stack: Vec<_> = store.async_call_stack()?.collect();
    Ok(store.data_mut().session().depths.of(stack.into_iter()))
}
