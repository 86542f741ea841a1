//! What a component instance carries: its WASI context, its grants, its limits.

use std::future::Future;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::grants::Grants;

/// The data of one instance's store.
pub(crate) struct State {
    pub(crate) limits: MemoryLimit,
    grants: Arc<Grants>,
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Outgoing,
}

impl State {
    pub(crate) fn new(grants: Arc<Grants>, wasi: WasiCtx, memory: usize) -> Self {
        Self {
            limits: MemoryLimit { left: memory, limit: memory },
            hooks: Outgoing(Arc::clone(&grants)),
            grants,
            wasi,
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
        }
    }

    pub(crate) fn grants(&mut self) -> &Arc<Grants> {
        &self.grants
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
    left: usize,
    limit: usize,
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let growth = desired.saturating_sub(current);
        self.left = self.left.checked_sub(growth).ok_or_else(|| {
            wasmtime::format_err!(
                "the component needs more memory than its limit of {} KiB (`limits.memory` in the manifest)",
                self.limit / 1024
            )
        })?;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        Ok(desired <= maximum.unwrap_or(MAX_TABLE).min(MAX_TABLE))
    }
}

/// The most elements of a table.
pub(crate) const MAX_TABLE: usize = 100_000;

/// Outgoing HTTP: only to hosts that the manifest names.
struct Outgoing(Arc<Grants>);

type Io = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _io: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), HttpError>> + Send> {
        let grants = Arc::clone(&self.0);
        Box::new(async move {
            let uri = request.uri();
            let scheme = uri.scheme_str().unwrap_or("https").to_owned();
            let host = uri.host().unwrap_or_default().to_owned();
            if !grants.hosts.allows(&scheme, &host, uri.port_u16()) {
                grants.denied("a request to", &format!("{scheme}://{host}"), "allowed_outbound_hosts");
                return Err(HttpError::HttpRequestDenied);
            }
            let (response, io) = wasmtime_wasi_http::default_send_request(request, options).await?;
            Ok((response.map(|body| body.boxed_unsync()), Box::new(io) as Io))
        })
    }
}
