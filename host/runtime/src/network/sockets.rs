//! Sockets of WASI 0.2 and 0.3: connections and datagrams to granted addresses, and look-ups of
//! granted names. Nobody listens.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::Result;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::SocketError;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup as p2;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network as NetworkHandle};
use wasmtime_wasi::p3::bindings::sockets::{ip_name_lookup as p3, types};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSockets, WasiSocketsCtxView};

use super::{Network, SessionView};
use crate::manifest::Destination;

/// So many names are remembered for an instance.
const MAX_NAMES: usize = 64;

/// The addresses that an instance got for names: what is granted by name is connected to by
/// address.
#[derive(Default)]
pub(crate) struct Names(Mutex<VecDeque<(Arc<str>, IpAddr)>>);

impl Names {
    fn add(&self, name: &Arc<str>, address: IpAddr) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = (Arc::clone(name), address.to_canonical());
        if names.contains(&entry) {
            return;
        }
        if names.len() >= MAX_NAMES {
            names.pop_front();
        }
        names.push_back(entry);
    }

    /// The names that led to this address.
    fn of(&self, address: IpAddr) -> Vec<Arc<str>> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().filter(|(_, other)| *other == address).map(|(name, _)| Arc::clone(name)).collect()
    }
}

impl Network {
    /// Lets an instance use sockets as far as it is granted.
    pub(crate) fn open_sockets(self: &Arc<Self>, wasi: &mut WasiCtxBuilder, names: &Arc<Names>) {
        let (network, names) = (Arc::clone(self), Arc::clone(names));
        // Spin lets nobody make a socket who reaches nothing; here the attempt to connect is denied,
        // because that says to where and is logged.
        wasi.allow_ip_name_lookup(true).allow_tcp(true).allow_udp(true);
        wasi.socket_addr_check(move |address, usage| {
            let granted = network.allows_socket(address, usage, &names);
            Box::pin(std::future::ready(granted))
        });
    }

    fn allows_socket(&self, address: SocketAddr, usage: SocketAddrUse, names: &Names) -> bool {
        let scheme = match usage {
            // Every connection and every datagram begins with such a bind. By itself it leads
            // nowhere: nobody is let in.
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind if address.ip().is_unspecified() && address.port() == 0 => {
                return true;
            }
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind | SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => {
                self.grants.warn(format_args!(
                    "denied: listening on `{address}`; components cannot listen, whatever the manifest grants"
                ));
                return false;
            }
            SocketAddrUse::TcpConnect => "tcp",
            SocketAddrUse::UdpSend => "udp",
            // Answers of whom it may send to. Others are dropped in silence: they are no attempt
            // of the component's.
            SocketAddrUse::UdpReceive => return self.reaches("udp", address, names).is_some(),
        };
        if self.reaches(scheme, address, names).is_some() {
            return true;
        }
        // Says why, for the address as it is.
        let host = address.ip().to_string();
        let to = Destination { scheme, host: &host, port: Some(address.port()) };
        self.filter(to, vec![address.ip()]).is_ok_and(|granted| !granted.is_empty())
    }

    /// By which name the address may be reached.
    fn reaches(&self, scheme: &str, address: SocketAddr, names: &Names) -> Option<Arc<str>> {
        let ip = address.ip().to_canonical();
        if self.is_blocked(ip) {
            return None;
        }
        let granted =
            |host: &str| self.grants.hosts.allows_address(Destination { scheme, host, port: Some(address.port()) }, ip);
        let literal: Arc<str> = ip.to_string().into();
        if granted(&literal) { Some(literal) } else { names.of(ip).into_iter().find(|name| granted(name)) }
    }

    /// Whether a name may be looked up; logged if not. Looking up is telling: the name reaches
    /// whoever answers for its domain.
    fn allows_lookup(&self, name: &str) -> bool {
        let granted = self.grants.hosts.allows_lookup(name);
        if !granted {
            self.grants.denied("looking up", name, "allowed_outbound_hosts");
        }
        granted
    }
}

/// The functions that look names up, in front of `wasmtime-wasi`'s. The interfaces have the versions
/// under which it provides them; components may import other compatible ones.
pub(super) fn add_to_linker<T: SessionView>(linker: &mut Linker<T>) -> Result<()> {
    let mut p2 = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    p2.func_wrap("resolve-addresses", |mut store, (network, name): (_, String)| {
        answer(resolve(store.data_mut(), network, name))
    })?;
    p2.func_wrap("[method]resolve-address-stream.resolve-next-address", |mut store, (stream,)| {
        answer(next(store.data_mut(), stream))
    })?;
    let mut p3 = linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?;
    p3.func_wrap_concurrent("resolve-addresses", |accessor, (name,): (String,)| {
        Box::pin(async move { Ok((lookup(accessor, name).await?,)) })
    })
}

pub(super) fn sockets<T: SessionView>(state: &mut T) -> WasiSocketsCtxView<'_> {
    let view = state.ctx();
    WasiSocketsCtxView { ctx: view.ctx.sockets(), table: view.table }
}

/// What the guest is told, unless it is a trap.
pub(super) fn answer<T>(result: Result<T, SocketError>) -> Result<(Result<T, ErrorCode>,)> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn resolve<T: SessionView>(
    state: &mut T,
    network: Resource<NetworkHandle>,
    name: String,
) -> Result<Resource<p2::ResolveAddressStream>, SocketError> {
    if !state.session().network().allows_lookup(&name) {
        return Err(ErrorCode::AccessDenied.into());
    }
    let stream = p2::Host::resolve_addresses(&mut sockets(state), network, name.clone())?;
    state.session().lookups.insert(stream.rep(), name.into());
    Ok(stream)
}

fn next<T: SessionView>(
    state: &mut T,
    stream: Resource<p2::ResolveAddressStream>,
) -> Result<Option<IpAddress>, SocketError> {
    let name = state.session().lookups.get(&stream.rep()).cloned();
    let next = p2::HostResolveAddressStream::resolve_next_address(&mut sockets(state), stream)?;
    if let (Some(address), Some(name)) = (&next, name) {
        let address = match *address {
            IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
            IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
        };
        state.session().names.add(&name, address);
    }
    Ok(next)
}

async fn lookup<T: SessionView>(
    accessor: &Accessor<T>,
    name: String,
) -> Result<Result<Vec<types::IpAddress>, p3::ErrorCode>> {
    let granted = accessor.with(|mut access| access.get().session().network().allows_lookup(&name));
    if !granted {
        return Ok(Err(p3::ErrorCode::AccessDenied));
    }
    let inner = accessor.with_getter::<WasiSockets>(sockets);
    let found = p3::HostWithStore::resolve_addresses(&inner, name.clone()).await?;
    if let Ok(addresses) = &found {
        let name: Arc<str> = name.into();
        let names = accessor.with(|mut access| Arc::clone(&access.get().session().names));
        addresses.iter().for_each(|address| names.add(&name, (*address).into()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_names_are_remembered() {
        let names = Names::default();
        for number in 0..u8::try_from(MAX_NAMES).unwrap() + 1 {
            names.add(&format!("{number}.example").into(), IpAddr::from([10, 0, 0, number]));
        }
        assert!(names.of(IpAddr::from([10, 0, 0, 0])).is_empty());
        assert_eq!(*names.of(IpAddr::from([10, 0, 0, 1]))[0], *"1.example");
        names.add(&"other.example".into(), "::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(names.of(IpAddr::from([10, 0, 0, 1])).len(), 1);
    }
}
