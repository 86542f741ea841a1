//! What a component instance carries: its WASI context, its grants, its limits.

use std::sync::Arc;

use bytesize::ByteSize;
use tokio::sync::Semaphore;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings::spin;
use crate::cpu::Meter;
use crate::exceeded::Exceeded;
use crate::grants::Grants;
use crate::manifest::Limits;
use crate::network::{Names, Network, Session, SessionView};
use crate::stats::{Alive, Stats};
use crate::trace::Tasks;

/// The data of one instance's store.
pub(crate) struct State {
    pub(crate) limits: MemoryLimit,
    pub(crate) cpu: Arc<Meter>,
    /// Whose work its tasks do.
    pub(crate) tasks: Tasks,
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    spin: ResourceTable,
    network: Session,
}

impl State {
    pub(crate) fn new(
        network: Arc<Network>,
        wasi: WasiCtx,
        names: Arc<Names>,
        limits: &Limits,
        connections: &Arc<Semaphore>,
        stats: &Arc<Stats>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        let component = Arc::clone(&network.grants().component);
        Self {
            limits: MemoryLimit {
                stats: Arc::clone(stats),
                component: Arc::clone(&component),
                left: limits.memory,
                limit: limits.memory,
                alive: Alive::new(stats),
            },
            tasks: Tasks::default(),
            cpu: Arc::new(Meter::new(component, Arc::clone(stats))),
            network: Session::new(network, names, Arc::clone(connections)),
            wasi,
            table,
            http: WasiHttpCtx::new(),
            spin: spin::table(),
        }
    }

    pub(crate) fn grants(&mut self) -> &Arc<Grants> {
        self.network.network().grants()
    }

    pub(crate) fn spin(&mut self) -> spin::View<'_> {
        spin::View { grants: self.network.network().grants(), open: &mut self.spin }
    }
}

impl SessionView for State {
    fn session(&mut self) -> &mut Session {
        &mut self.network
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.network.hooks }
    }
}

/// The memory that all linear memories of an instance may have together.
///
/// Growing over it traps, so that the reason is in the log and in a failed delivery's history,
/// instead of an allocation failure somewhere in the guest.
pub(crate) struct MemoryLimit {
    stats: Arc<Stats>,
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
        self.left = self.left.checked_sub(growth).ok_or_else(|| {
            self.stats.exceeded.memory.increment();
            Exceeded::Memory { component: Arc::clone(&self.component), limit: ByteSize(self.limit as u64) }
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
