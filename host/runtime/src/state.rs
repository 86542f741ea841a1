//! What a component instance carries: its WASI context, its grants, its limits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::bindings::spin;
use crate::cpu::Meter;
use crate::exceeded::Exceeded;
use crate::grants::Grants;
use crate::manifest::Limits;
use crate::stats::{Alive, Stats};

/// The data of one instance's store.
pub(crate) struct State {
    pub(crate) limits: MemoryLimit,
    pub(crate) cpu: Arc<Meter>,
    grants: Arc<Grants>,
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Outgoing,
    spin: ResourceTable,
}

impl State {
    pub(crate) fn new(
        grants: Arc<Grants>,
        wasi: WasiCtx,
        limits: &Limits,
        connections: &Arc<Semaphore>,
        stats: &Arc<Stats>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        Self {
            limits: MemoryLimit {
                component: Arc::clone(&grants.component),
                left: limits.memory,
                limit: limits.memory,
                alive: Alive::new(stats),
            },
            cpu: Arc::new(Meter::new(Arc::clone(&grants.component))),
            hooks: Outgoing { grants: Arc::clone(&grants), connections: Arc::clone(connections) },
            grants,
            wasi,
            table,
            http: WasiHttpCtx::new(),
            spin: spin::table(),
        }
    }

    pub(crate) fn grants(&mut self) -> &Arc<Grants> {
        &self.grants
    }

    pub(crate) fn spin(&mut self) -> spin::View<'_> {
        spin::View { grants: &self.grants, open: &mut self.spin }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// The memory that all linear memories of an instance may have together.
///
/// Growing over it traps, so that the reason is in the log and in a failed delivery's history,
/// instead of an allocation failure somewhere in the guest.
pub(crate) struct MemoryLimit {
    component: Arc<str>,
    left: usize,
    limit: usize,
    alive: Alive,
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let growth = desired.saturating_sub(current);
        self.left = self.left.checked_sub(growth).ok_or_else(|| Exceeded::Memory {
            component: Arc::clone(&self.component),
            limit: ByteSize(self.limit as u64),
        })?;
        self.alive.grew(growth);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        Ok(desired <= maximum.unwrap_or(MAX_TABLE).min(MAX_TABLE))
    }
}

/// The most elements of a table.
pub(crate) const MAX_TABLE: usize = 100_000;

/// An outgoing request waits this long at most until it may begin.
const WAIT: Duration = Duration::from_secs(10);

/// Outgoing HTTP: only to hosts that the manifest names.
struct Outgoing {
    grants: Arc<Grants>,
    /// One permit for each request at a time, of all instances together.
    connections: Arc<Semaphore>,
}

type Io = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _io: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), HttpError>> + Send> {
        let (grants, connections) = (Arc::clone(&self.grants), Arc::clone(&self.connections));
        Box::new(async move {
            let uri = request.uri();
            let scheme = uri.scheme_str().unwrap_or("https").to_owned();
            let host = uri.host().unwrap_or_default().to_owned();
            if !grants.hosts.allows(&scheme, &host, uri.port_u16()) {
                grants.denied("a request to", &format!("{scheme}://{host}"), "allowed_outbound_hosts");
                return Err(HttpError::HttpRequestDenied);
            }
            let wait = options.and_then(|options| options.connect_timeout).unwrap_or(WAIT).min(WAIT);
            let Ok(Ok(permit)) = tokio::time::timeout(wait, connections.acquire_owned()).await else {
                tracing::warn!(
                    component = &*grants.component,
                    "no outgoing request ended within {wait:?}, so that another could begin (`limits.connections`)"
                );
                return Err(HttpError::ConnectionLimitReached);
            };
            let (response, io) = wasmtime_wasi_http::default_send_request(request, options).await?;
            // Held as long as either half of the connection is.
            let permit = Arc::new(permit);
            let held = Arc::clone(&permit);
            let io = async move {
                let result = io.await;
                drop(permit);
                result
            };
            let response = response.map(|body| {
                let body = body.map_frame(move |frame| {
                    let _held = &held;
                    frame
                });
                body.boxed_unsync()
            });
            Ok((response, Box::new(io) as Io))
        })
    }
}
