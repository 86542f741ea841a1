//! What components reach over the network, and how they reach one another by URL.
//!
//! One [`Network`] for each component: every connection is looked at twice, once by its name and
//! once by the addresses that the name has, and only to those addresses it is made. Nothing is
//! listened on.

mod client;
mod connect;
mod connections;
mod depth;
mod http;
mod session;
mod sockets;
mod tls;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use self::client::Client;
use self::depth::MAX_DEPTH;
pub(crate) use self::depth::{Depth, Depths};
pub(crate) use self::http::Hooks;
pub(crate) use self::session::{Session, SessionView};
pub(crate) use self::sockets::Names;
use crate::config;
use crate::grants::Grants;
use crate::manifest::{Destination, is_public};

/// Who is called by a URL that does not leave the application.
pub(crate) enum Callee {
    /// The component with this id.
    Component(String),
    /// Whoever has the route.
    Route,
}

/// A request from one component to another.
pub(crate) struct Call {
    pub(crate) callee: Callee,
    pub(crate) request: ::http::Request<WasiBody>,
    /// How many such calls led to this one, itself included.
    pub(crate) depth: u8,
}

/// What a call comes to.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<::http::Response<WasiBody>, HttpError>> + Send>>;

/// Makes calls between components.
pub(crate) type Chain = dyn Fn(Call) -> Answer + Send + Sync;

/// What all components' networks have in common.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) chain: Arc<Chain>,
    /// What the operator says.
    pub(crate) config: config::Network,
}

/// A component's network.
pub(crate) struct Network {
    grants: Arc<Grants>,
    common: Common,
    client: Client,
}

/// Why a connection may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The manifest names no such destination.
    NotGranted,
    /// The destination is granted, but none of its addresses is.
    Address,
}

impl Network {
    /// The network of the component with these grants.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(crate) fn new(grants: Arc<Grants>, common: Common) -> Result<Arc<Self>, rustls::Error> {
        let tls = tls::Configs::new(&grants.component, &common.config.tls)?;
        Ok(Arc::new_cyclic(|network| {
            let client = Client::new(network.clone(), tls, common.config.pooling);
            Self { grants, common, client }
        }))
    }

    /// What the component may use.
    pub(crate) fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// Leaves those addresses that the component may connect to as `to`. The reason for refusing
    /// all of them is logged.
    fn filter(&self, to: Destination<'_>, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Refusal> {
        let text = || format!("{}://{}{}", to.scheme, to.host, to.port.map(|p| format!(":{p}")).unwrap_or_default());
        if !self.grants.hosts.allows(to.scheme, to.host, to.port) {
            self.grants.denied("a connection to", &text(), "allowed_outbound_hosts");
            return Err(Refusal::NotGranted);
        }
        let (open, blocked): (Vec<_>, Vec<_>) =
            addresses.into_iter().map(|address| address.to_canonical()).partition(|address| !self.is_blocked(*address));
        let granted: Vec<_> =
            open.iter().copied().filter(|address| self.grants.hosts.allows_address(to, *address)).collect();
        if granted.is_empty() {
            let reason = if let Some(address) = open.first() {
                format!(
                    "{address}, which is not public and not named by `allowed_outbound_hosts` in the manifest; name the \
                     address or its network to allow it"
                )
            } else if let Some(address) = blocked.first() {
                format!("{address}, which `[outbound_networking] block_networks` in the runtime configuration blocks")
            } else {
                return Ok(granted);
            };
            self.grants.warn(format_args!("denied: `{}` leads to {reason}", text()));
            return Err(Refusal::Address);
        }
        Ok(granted)
    }

    fn is_blocked(&self, address: IpAddr) -> bool {
        (self.common.config.block_private && !is_public(address))
            || self.common.config.blocked.iter().any(|network| network.contains(&address))
    }
}

/// Provides the interfaces that look at grants before they reach `wasmtime-wasi`'s.
pub(crate) fn add_to_linker<T: SessionView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    http::add_to_linker(linker)?;
    connections::add_to_linker(linker)?;
    sockets::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}
