//! The Wasmtime engine: how components are compiled, cached, bounded and interrupted.

use std::path::Path;
use std::time::Duration;

use wasmtime::error::Context as _;
use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store,
};

use crate::state::{MAX_TABLE, State};

/// How long a guest computes before it lets other work run on its thread.
const TICK: Duration = Duration::from_millis(10);

/// The most component instances at a time, over all components.
pub(crate) const MAX_INSTANCES: u32 = 1000;

/// Core instances (and memories, tables) that one component instance has at most on average: the
/// module itself and the adapters that its toolchain adds.
const CORE_INSTANCES: u32 = 4;

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
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(engine)
}

/// A store in which a guest that computes yields at every tick, and cannot outgrow its memory.
pub(crate) fn store(engine: &Engine, state: State) -> Store<State> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limits);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store
}
