//! What an instance keeps about its network.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime_wasi::WasiView;
use wasmtime_wasi_http::WasiHttpView;

use super::connections::Place;
use super::{Depths, Hooks, Names, Network};

/// An instance's side of its component's network.
pub(crate) struct Session {
    /// How its requests are sent.
    pub(crate) hooks: Hooks,
    /// How deep in a chain of calls its tasks are.
    pub(crate) depths: Depths,
    /// What it looked up.
    pub(super) names: Arc<Names>,
    /// The places that its sockets take, by handle.
    pub(super) sockets: HashMap<u32, Place>,
    /// Look-ups of WASI 0.2 by handle. Handles are used again, so this is as small as their table.
    pub(super) lookups: HashMap<u32, Arc<str>>,
}

impl Session {
    /// A new instance's; it has `connections` in common with the others.
    pub(crate) fn new(network: Arc<Network>, names: Arc<Names>, connections: Arc<Semaphore>) -> Self {
        let hooks = Hooks::new(network, connections);
        Self { hooks, depths: Depths::default(), names, sockets: HashMap::new(), lookups: HashMap::new() }
    }

    /// The component's network.
    pub(crate) fn network(&self) -> &Arc<Network> {
        self.hooks.network()
    }
}

/// What the functions of this module need of a store's data.
pub(crate) trait SessionView: WasiView + WasiHttpView + 'static {
    /// The instance's.
    fn session(&mut self) -> &mut Session;
}
