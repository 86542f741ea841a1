//! By whom the certificates of servers have to be signed: Spin's `[[client_tls]]`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig, RootCertStore};

use crate::config::{ClientTls, Identity, Roots};

/// The TLS configurations of a component.
pub(super) struct Configs {
    default: Arc<ClientConfig>,
    by_host: HashMap<String, Arc<ClientConfig>>,
}

impl Configs {
    pub(super) fn new(component: &str, configured: &[ClientTls]) -> Result<Self, rustls::Error> {
        let mut by_host = HashMap::new();
        for tls in configured.iter().filter(|tls| tls.components.iter().any(|id| id == component)) {
            let config = Arc::new(config(&tls.roots, tls.identity.as_ref())?);
            for host in &tls.hosts {
                by_host.insert(host.to_ascii_lowercase(), Arc::clone(&config));
            }
        }
        let default = config(&Roots { platform: true, ..Roots::default() }, None)?;
        Ok(Self { default: Arc::new(default), by_host })
    }

    /// That for a server with this name.
    pub(super) fn of(&self, host: &str) -> Arc<ClientConfig> {
        Arc::clone(self.by_host.get(&host.to_ascii_lowercase()).unwrap_or(&self.default))
    }
}

/// This machine's authorities, read once; Mozilla's if it has none.
static PLATFORM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    store
});

fn config(roots: &Roots, identity: Option<&Identity>) -> Result<ClientConfig, rustls::Error> {
    let mut store = if roots.platform { PLATFORM.clone() } else { RootCertStore::empty() };
    if roots.webpki {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for certificate in &roots.own {
        store.add(certificate.clone())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store);
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
