//! The administration's listener.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;

use anstream::eprintln;
use anyhow::Result;
use clap::Args;

use crate::admin::{self, Bound, Error};
use crate::cli;
use crate::server::Tls;

/// Where the administration is unless somebody says otherwise.
const DEFAULT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3001));

/// Where to be administrated.
#[derive(Debug, Args)]
pub(super) struct Administration {
    /// The address and port of the administration, for `tessera ps` and its like; port 0 picks a
    /// free one. Other than loopback addresses need the TLS of the public listener. [default:
    /// 127.0.0.1:3001, or a free port if that is in use]
    #[arg(long, value_name = "ADDR", value_parser = cli::address, conflicts_with = "no_admin")]
    admin: Option<SocketAddr>,
    /// Runs without administration.
    #[arg(long)]
    no_admin: bool,
}

impl Administration {
    /// Binds its port, if it is wanted; with `tls` also where other machines reach it.
    ///
    /// # Errors
    /// If the port cannot be had or the token cannot be kept.
    pub(super) fn open(&self, tls: Option<Tls>, state_dir: &Path) -> Result<Option<Bound>> {
        if self.no_admin {
            return Ok(None);
        }
        match admin::bind(self.admin.unwrap_or(DEFAULT), tls, state_dir) {
            // Several applications may run on one machine: if nobody chose the address, another does.
            Err(Error::InUse(address)) if self.admin.is_none() => {
                let bound = admin::bind(SocketAddr::new(address.ip(), 0), None, state_dir)?;
                eprintln!("{address} is in use, so the administration is at {}", bound.url());
                Ok(Some(bound))
            }
            other => Ok(Some(other?)),
        }
    }
}
