//! How many connections there are at a time: of one component by its manifest, of all by the operator.
//!
//! An HTTP request waits for its place, because it has a time for that. A socket does not: WASI 0.2
//! connects without waiting.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Result;
use wasmtime::component::{Accessor, Linker, Resource, ResourceType};
use wasmtime_wasi::p2;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpSocketAddress, Network as NetworkHandle};
use wasmtime_wasi::p2::bindings::sockets::tcp::{self, HostTcpSocket as _};
use wasmtime_wasi::p3::bindings::sockets::types::{self, HostTcpSocketWithStore as _};
use wasmtime_wasi::sockets::{TcpSocket, WasiSockets};

use super::sockets::{answer, sockets};
use super::{Network, SessionView};

/// A connection's place among those that there may be, until it is dropped.
pub(super) struct Place {
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Network {
    /// A place for a request, when there is one.
    pub(super) async fn place_of_request(&self, own: Arc<Semaphore>) -> Place {
        let config = &self.common.config;
        let mut permits = Vec::new();
        for semaphore in [Some(own), config.requests.clone(), config.total.clone()].into_iter().flatten() {
            // They are never closed.
            permits.extend(semaphore.acquire_owned().await);
        }
        Place { _permits: permits }
    }

    /// A place for a socket's connection; `None`, and a line in the log, if all are taken.
    fn place_of_socket(&self, own: &Arc<Semaphore>) -> Option<Place> {
        let config = &self.common.config;
        let semaphores = [Some(own), config.sockets.as_ref(), config.total.as_ref()];
        let permits: Option<Vec<_>> =
            semaphores.into_iter().flatten().map(|semaphore| Arc::clone(semaphore).try_acquire_owned().ok()).collect();
        if permits.is_none() {
            self.grants.exceeded.connections.increment();
            self.grants.warn(format_args!(
                "too many connections at a time for another socket (`limits.connections`, or a limit of the operator's \
                 in `[outbound_networking]`)"
            ));
        }
        permits.map(|permits| Place { _permits: permits })
    }
}

/// Takes a place for a socket until its handle is dropped. False if there is none.
fn enter<T: SessionView>(state: &mut T, socket: u32) -> bool {
    let session = state.session();
    if session.sockets.contains_key(&socket) {
        return true;
    }
    let own = Arc::clone(session.hooks.connections());
    let Some(place) = session.network().place_of_socket(&own) else { return false };
    session.sockets.insert(socket, place);
    true
}

/// The functions that connect sockets and end them, in front of `wasmtime-wasi`'s.
pub(super) fn add_to_linker<T: SessionView>(linker: &mut Linker<T>) -> Result<()> {
    let mut old = linker.instance("wasi:sockets/tcp@0.2.12")?;
    old.func_wrap("[method]tcp-socket.start-connect", |mut store, (socket, network, address)| {
        answer(start_connect(store.data_mut(), socket, network, address))
    })?;
    old.resource("tcp-socket", ResourceType::host::<p2::TcpSocket>(), |mut store, rep| {
        let state = store.data_mut();
        state.session().sockets.remove(&rep);
        tcp::HostTcpSocket::drop(&mut sockets(state), Resource::new_own(rep))
    })?;
    let mut new = linker.instance("wasi:sockets/types@0.3.0")?;
    new.func_wrap_concurrent("[method]tcp-socket.connect", |accessor, (socket, address)| {
        Box::pin(async move { Ok((connect(accessor, socket, address).await?,)) })
    })?;
    new.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut store, rep| {
        let state = store.data_mut();
        state.session().sockets.remove(&rep);
        types::HostTcpSocket::drop(&mut sockets(state), Resource::new_own(rep))
    })
}

fn start_connect<T: SessionView>(
    state: &mut T,
    socket: Resource<p2::TcpSocket>,
    network: Resource<NetworkHandle>,
    address: IpSocketAddress,
) -> Result<(), p2::SocketError> {
    if !enter(state, socket.rep()) {
        return Err(ErrorCode::NewSocketLimit.into());
    }
    sockets(state).start_connect(socket, network, address)
}

async fn connect<T: SessionView>(
    accessor: &Accessor<T>,
    socket: Resource<TcpSocket>,
    address: types::IpSocketAddress,
) -> Result<Result<(), types::ErrorCode>> {
    let rep = socket.rep();
    if !accessor.with(|mut access| enter(access.get(), rep)) {
        return Ok(Err(types::ErrorCode::Other(Some("too many connections at a time".to_owned()))));
    }
    match WasiSockets::connect(&accessor.with_getter::<WasiSockets>(sockets), socket, address).await {
        Ok(()) => Ok(Ok(())),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}
