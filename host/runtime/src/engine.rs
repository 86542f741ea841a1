//! The Wasmtime engine: how components are compiled, cached, bounded and interrupted.

pub(crate) mod binary;

use std::path::Path;
use std::sync::Arc;

use wasmtime::error::Context as _;
use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store,
    UpdateDeadline,
};

use crate::cpu::{Places, TICK, Tick, Turns};
use crate::state::{MAX_TABLE, State};

/// The most component instances at a time, over all components.
pub(crate) const MAX_INSTANCES: u32 = 1000;

/// Core instances (and memories, tables) that one component instance has at most on average: the
/// module itself and the adapters that its toolchain adds.
const CORE_INSTANCES: u32 = 4;

/// What a guest may hand to the host in one call, in bytes: more than the longest mail, which is the
/// longest thing that is not a stream. What the host makes of it is bounded by it.
const HOST_CALL: usize = 24 << 20;

/// Wasmtime's own entries for a stream: its state and its two ends; a task has about as many.
const TABLE_ENTRIES: usize = 4;

/// Keeps this much of a memory slot's pages for the next instance instead of giving them back to
/// the operating system: resetting them is cheaper than faulting them in again.
const KEEP_RESIDENT: usize = 256 << 10;

/// An engine that keeps compiled components in `cache`, so that the next start need not compile.
///
/// Must be called within a Tokio runtime, which then drives the epochs as long as the engine lives.
///
/// # Errors
/// If the cache's directory cannot be made or this machine lacks what the pool needs.
pub(crate) fn new(cache: &Path) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(MAX_INSTANCES)
        .total_core_instances(MAX_INSTANCES.saturating_mul(CORE_INSTANCES))
        .total_memories(MAX_INSTANCES.saturating_mul(2))
        .total_tables(MAX_INSTANCES.saturating_mul(CORE_INSTANCES))
        .total_stacks(MAX_INSTANCES)
        .table_elements(MAX_TABLE)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(16 << 10);
    let mut cache_config = CacheConfig::new();
    cache_config.with_directory(cache);
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .cache(Some(Cache::new(cache_config).context("open the cache of compiled components")?));
    let engine = Engine::new(&config)?;
    let weak = engine.weak();
    std::thread::Builder::new().name("epochs".into()).spawn(move || {
        // A thread of its own: a guest that computes must be interrupted though it occupies every
        // thread of the asynchronous runtime.
        let mut places = Places::default();
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            places.tick();
            std::thread::sleep(TICK);
        }
    })?;
    Ok(engine)
}

/// A store in which a guest that computes lets others go first at every tick, for no longer than
/// it may in all, and in which it cannot have more memory or `resources` than it may.
pub(crate) fn store(engine: &Engine, state: State, turns: &Arc<Turns>, resources: usize) -> Store<State> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limits);
    store.set_max_component_handles(resources);
    store.set_hostcall_fuel(HOST_CALL);
    if let Some(table) = store.concurrent_resource_table() {
        table.set_max_capacity(resources.saturating_mul(TABLE_ENTRIES));
    }
    let turns = Arc::clone(turns);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |store| {
        let meter = &store.data().cpu;
        if meter.tick()? == Tick::Begun {
            return Ok(UpdateDeadline::Continue(1));
        }
        let (meter, turns) = (Arc::clone(meter), Arc::clone(&turns));
        let others_first = async move {
            tokio::task::yield_now().await;
            let turn = turns.turn(meter.component()).await;
            meter.begin(Some(turn));
        };
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(others_first)))
    });
    store
}
