//! The public listeners: HTTP or HTTPS, and the one that sends plain HTTP to HTTPS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::cli;
use crate::config::Config;
use crate::server::{self, Limits, Tls, redirect, tls};
use crate::trigger::http;

/// Where to serve, and with which certificate.
#[derive(Debug, Args)]
pub(super) struct Listen {
    /// The address and port to serve HTTP on; port 0 picks a free one and prints it.
    #[arg(long, value_name = "ADDR", env = "SPIN_HTTP_LISTEN_ADDR", default_value = "127.0.0.1:3000", value_parser = cli::address)]
    listen: SocketAddr,
    /// Takes the next port that is free if that one is in use.
    #[arg(long)]
    find_free_port: bool,
    /// Serves HTTPS with this certificate: a PEM file, its chain included. Read again when it
    /// changes.
    #[arg(long, value_name = "FILE", env = "SPIN_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key: a PEM file.
    #[arg(long, value_name = "FILE", env = "SPIN_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// Listeners that are bound and not served yet.
pub(super) struct Public {
    listener: TcpListener,
    tls: Option<Tls>,
    redirect: Option<TcpListener>,
    /// Where clients find the application.
    pub(super) url: String,
    /// Where clients without TLS are sent from, if anywhere.
    pub(super) redirect_url: Option<String>,
}

impl Listen {
    /// Reads certificates and binds ports.
    ///
    /// # Errors
    /// If a file cannot be used or a port cannot be had.
    pub(super) fn open(&self, config: &Config) -> Result<Public> {
        let files = match (&self.tls_cert, &self.tls_key, &config.tls) {
            (Some(certificates), Some(key), _) => {
                Some(tls::Files { certificates: certificates.clone(), key: key.clone() })
            }
            (_, _, Some(tls)) => Some(tls::Files { certificates: tls.certificate.clone(), key: tls.key.clone() }),
            _ => None,
        };
        let tls = files.map(Tls::load).transpose()?;
        let listener = self.bind()?;
        let address = listener.local_addr()?;
        let redirect = config.tls.as_ref().and_then(|tls| tls.redirect);
        let redirect = redirect.map(|address| bind(address, "`redirect` of [tls]")).transpose()?;
        let redirect_url = match &redirect {
            Some(listener) => Some(format!("http://{}", listener.local_addr()?)),
            None => None,
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Public { listener, tls, redirect, url: format!("{scheme}://{address}"), redirect_url })
    }
}

impl Listen {
    fn bind(&self) -> Result<TcpListener> {
        let mut address = self.listen;
        while self.find_free_port && address.port() > 0 && address.port() < u16::MAX {
            match server::listen(address, &Limits::default()) {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    address.set_port(address.port().saturating_add(1));
                }
                Ok(listener) => return Ok(listener),
                Err(_) => break,
            }
        }
        bind(address, "--listen")
    }
}

fn bind(address: SocketAddr, option: &str) -> Result<TcpListener> {
    server::listen(address, &Limits::default()).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!("{address} is in use: stop what listens there, or choose another with {option}")
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow!("this user may not listen on {address}: choose a port from 1024 on with {option}, or allow it")
        }
        _ => anyhow!("cannot listen on {address}: {error}"),
    })
}

impl Public {
    /// What to do when the operator says that files changed.
    pub(super) fn certificate(&self) -> Option<Tls> {
        self.tls.clone()
    }

    /// Serves in `tasks` until `shutdown`, and lets requests end for at most `grace`.
    ///
    /// # Errors
    /// If the listener is gone.
    pub(super) fn serve(
        self,
        app: &Arc<App>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
        grace: Duration,
    ) -> Result<()> {
        let port = self.listener.local_addr()?.port();
        if let Some(tls) = self.tls.clone() {
            tasks.spawn(tls.follow(shutdown.clone()));
        } else if self.redirect.is_some() {
            bail!("there is no HTTPS to redirect to");
        }
        if let Some(redirect) = self.redirect {
            let answer = move |_peer, request| async move { redirect::to_https(&request, port) };
            tasks.spawn(server::serve(redirect, None, Limits::default(), shutdown.clone(), grace, answer));
        }
        tasks.spawn(http::serve(Arc::clone(app), self.listener, self.tls, shutdown.clone(), grace));
        Ok(())
    }
}
