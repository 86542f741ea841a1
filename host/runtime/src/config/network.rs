//! Spin's tables about outgoing connections: `[outbound_networking]`, `[outbound_http]` and
//! `[[client_tls]]`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use tokio::sync::Semaphore;
use toml::Spanned;
use toml::de::DeValue;

use super::reader::Reader;

/// What the operator says about outgoing connections.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// Nobody connects to these, whatever the manifest says.
    pub(crate) blocked: Arc<[IpNet]>,
    /// Nobody connects to an address that is not public, whatever the manifest says.
    pub(crate) block_private: bool,
    /// Whether connections are kept for further requests.
    pub(crate) pooling: bool,
    /// How servers are known, where not by this machine's authorities.
    pub(crate) tls: Arc<[ClientTls]>,
    /// Outgoing HTTP requests at a time, of all components together.
    pub(crate) requests: Cap,
    /// Connections of sockets at a time, of all components together.
    pub(crate) sockets: Cap,
    /// Both at a time, of all components together.
    pub(crate) total: Cap,
}

/// A number of permits; `None`: without end.
pub(crate) type Cap = Option<Arc<Semaphore>>;

fn cap(number: Option<usize>) -> Cap {
    number.map(|number| Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS))))
}

impl Default for Network {
    fn default() -> Self {
        Self {
            blocked: Arc::default(),
            block_private: false,
            pooling: true,
            tls: Arc::default(),
            requests: None,
            sockets: None,
            total: None,
        }
    }
}

/// TLS for some hosts, as some components reach them.
#[derive(Debug)]
pub(crate) struct ClientTls {
    /// Ids of components.
    pub(crate) components: Vec<String>,
    /// Names or addresses.
    pub(crate) hosts: Vec<String>,
    /// By whom servers' certificates have to be signed.
    pub(crate) roots: Roots,
    /// What the component shows to a server that asks.
    pub(crate) identity: Option<Identity>,
}

/// Where trusted authorities come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roots {
    /// Those of this machine.
    pub(crate) platform: bool,
    /// Mozilla's, as compiled in.
    pub(crate) webpki: bool,
    /// Further ones.
    pub(crate) own: Vec<CertificateDer<'static>>,
}

/// A client's certificate, with those that it is signed by, and its key. The key's `Debug` shows
/// nothing of it.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, Arc<PrivateKeyDer<'static>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutboundNetworking {
    #[serde(default)]
    block_networks: Vec<Spanned<String>>,
    max_socket_connections: Option<usize>,
    max_total_connections: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutboundHttp {
    connection_pooling: Option<bool>,
    max_connections: Option<usize>,
    /// The older name; there, one more is let through.
    max_concurrent_requests: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientTlsTable {
    component_ids: Vec<String>,
    hosts: Vec<String>,
    ca_use_platform_roots: Option<bool>,
    ca_use_webpki_roots: Option<bool>,
    ca_roots_file: Option<Spanned<String>>,
    client_cert_file: Option<Spanned<String>>,
    client_private_key_file: Option<Spanned<String>>,
}

/// `[outbound_networking]`
pub(super) fn networking(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>, network: &mut Network) {
    let Some(table) = reader.table::<OutboundNetworking>(value) else { return };
    let mut blocked = Vec::new();
    for entry in table.block_networks {
        let text = entry.get_ref();
        if text == "private" {
            network.block_private = true;
        } else if let Ok(parsed) = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            blocked.push(parsed.trunc());
        } else {
            reader.error(entry.span(), "this is not a network", "write one such as \"10.0.0.0/8\", or \"private\"");
        }
    }
    network.blocked = blocked.into();
    network.sockets = cap(table.max_socket_connections);
    network.total = cap(table.max_total_connections);
}

/// `[outbound_http]`
pub(super) fn http(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>, network: &mut Network) {
    let Some(table) = reader.table::<OutboundHttp>(value) else { return };
    network.pooling = table.connection_pooling.unwrap_or(true);
    network.requests = cap(match (table.max_connections, table.max_concurrent_requests) {
        (Some(_), Some(older)) => {
            let help = "remove it: `max_connections` is its newer name";
            reader.error(older.span(), "`max_concurrent_requests` and `max_connections` are both given", help);
            None
        }
        (Some(number), None) => Some(number),
        (None, older) => older.map(|number| number.get_ref().saturating_add(1)),
    });
}

/// `[[client_tls]]`
pub(super) fn client_tls(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>, network: &mut Network) {
    let span = value.span();
    let Some(tables) = reader.table::<Vec<ClientTlsTable>>(value) else { return };
    let mut all = Vec::new();
    for table in tables {
        if table.component_ids.is_empty() || table.hosts.is_empty() {
            reader.error(span.clone(), "`component_ids` and `hosts` must not be empty", "name at least one of each");
        }
        let given = table.ca_roots_file.is_some() || table.ca_use_webpki_roots.is_some();
        let roots = Roots {
            // As in Spin: the machine's, unless something else is said.
            platform: table.ca_use_platform_roots.unwrap_or(!given),
            webpki: table.ca_use_webpki_roots.unwrap_or(false),
            own: table.ca_roots_file.as_ref().map(|file| certificates(reader, file)).unwrap_or_default(),
        };
        let identity = match (&table.client_cert_file, &table.client_private_key_file) {
            (Some(certificate), Some(key)) => {
                private_key(reader, key).map(|key| (certificates(reader, certificate), Arc::new(key)))
            }
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => {
                let help = "give both `client_cert_file` and `client_private_key_file`, or neither";
                reader.error(one.span(), "a client certificate needs its key, and a key its certificate", help);
                None
            }
        };
        all.push(ClientTls { components: table.component_ids, hosts: table.hosts, roots, identity });
    }
    network.tls = all.into();
}

fn certificates(reader: &mut Reader<'_>, file: &Spanned<String>) -> Vec<CertificateDer<'static>> {
    let Some(text) = reader.file(file) else { return Vec::new() };
    match CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => found,
        _ => {
            reader.error(file.span(), "the file has no certificates", "give a file in PEM format");
            Vec::new()
        }
    }
}

fn private_key(reader: &mut Reader<'_>, file: &Spanned<String>) -> Option<PrivateKeyDer<'static>> {
    let text = reader.file(file)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok();
    if key.is_none() {
        reader.error(file.span(), "the file has no private key", "give a file in PEM format");
    }
    key
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::super::{Config, Readers, parse};
    use crate::diagnostic::Invalid;

    fn read(text: &str) -> Result<Config, Invalid> {
        let file = |_: &Path| Err(io::ErrorKind::NotFound.into());
        parse(Path::new("runtime-config.toml"), text, &Readers { environment: &|_| None, file: &file })
    }

    #[test]
    fn networks_are_blocked_and_pooling_is_turned_off() {
        let config = read(
            "[outbound_networking]\nblock_networks = [\"1.1.1.1/8\", \"::1\", \"private\"]\n\
             [outbound_http]\nconnection_pooling = false\n",
        )
        .unwrap();
        let blocked: Vec<_> = config.network.blocked.iter().map(ToString::to_string).collect();
        assert_eq!(blocked, ["1.0.0.0/8", "::1/128"]);
        assert!(config.network.block_private && !config.network.pooling);
        let permits = |cap: &super::Cap| cap.as_ref().map(|permits| permits.available_permits());
        let config = read(
            "[outbound_networking]\nmax_socket_connections = 2\nmax_total_connections = 9\n\
             [outbound_http]\nmax_connections = 0\n",
        )
        .unwrap();
        let network = &config.network;
        assert_eq!([&network.requests, &network.sockets, &network.total].map(permits), [Some(0), Some(2), Some(9)]);
        let config = read("[outbound_http]\nmax_concurrent_requests = 0\n").unwrap();
        assert_eq!(permits(&config.network.requests), Some(1));
        let config = read("").unwrap();
        assert_eq!(permits(&config.network.requests), None);
        assert!(config.network.pooling && !config.network.block_private && config.network.blocked.is_empty());
    }

    #[test]
    fn faults_are_found() {
        for text in [
            "[outbound_networking]\nblock_networks = [\"private-ish\"]\n",
            "[outbound_networking]\nblock = 1\n",
            "[outbound_http]\nconnection_pooling = \"yes\"\n",
            "[outbound_http]\nmax_connections = 1\nmax_concurrent_requests = 1\n",
            "[outbound_networking]\nmax_socket_connections = -1\n",
            "[[client_tls]]\ncomponent_ids = [\"a\"]\nhosts = []\n",
            "[[client_tls]]\ncomponent_ids = [\"a\"]\nhosts = [\"b\"]\nca_roots_file = \"missing.pem\"\n",
            "[[client_tls]]\ncomponent_ids = [\"a\"]\nhosts = [\"b\"]\nclient_cert_file = \"a.pem\"\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
