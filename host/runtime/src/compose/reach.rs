//! Looks at the servers that an application's engines and triggers are on, without opening an engine.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use secrecy::ExposeSecret as _;
use tessera_backends::trouble::Trouble;
use tessera_backends::{redis, smtp};

use super::engines::{redis_config, smtp_config};
use crate::config::{self, Config, MailEngine};
use crate::manifest::{Manifest, Resolved};

/// A server, and what is wrong with it.
pub(crate) struct Reached {
    /// What it is and where: `Redis localhost:6379`.
    pub(crate) server: String,
    /// Whether an engine could use it.
    pub(crate) outcome: Result<(), Trouble>,
}

/// Connects and logs in to every server that `manifest` uses as `config` says, or in triggers as is `resolved`, at the
/// same time; each step may take `patience`.
pub(crate) async fn reach(
    manifest: &Manifest,
    config: &Config,
    resolved: &BTreeMap<String, Resolved>,
    patience: Duration,
) -> Vec<Reached> {
    let labels = manifest.components.values().flat_map(|component| &component.key_value_stores);
    let stores = labels.filter_map(|label| match config.key_value(label) {
        config::KeyValue::Redis(server) => Some(server),
        config::KeyValue::Embedded { .. } => None,
    });
    let queue = match &config.queue {
        config::Queue::Redis(server) => Some(server.clone()),
        config::Queue::Embedded => None,
    };
    let addresses = resolved.values().flat_map(|resolved| &resolved.redis);
    let triggers =
        addresses.map(|(address, _)| config::Redis { url: address.clone(), root_certificates: None, identity: None });
    // Each once, as the engines are.
    let servers: BTreeMap<_, _> = stores
        .chain(queue)
        .chain(triggers)
        .map(|server| {
            let url = server.url.expose_secret().to_owned();
            ((url, server.root_certificates.clone(), server.identity.clone()), redis_config(&server))
        })
        .collect();
    let mut looks: Vec<BoxFuture<'_, Reached>> = Vec::new();
    for server in servers.into_values() {
        looks.push(
            async move {
                let address = server.address().unwrap_or_else(|| "(malformed URL)".to_owned());
                Reached { server: format!("Redis {address}"), outcome: redis::check(&server, patience).await }
            }
            .boxed(),
        );
    }
    if let MailEngine::Smtp(server) = &config.mail.engine {
        let settings = smtp_config(server, &config.mail.from);
        looks.push(
            async move {
                let server = format!("SMTP {}:{}", settings.host, settings.port);
                Reached { server, outcome: smtp::check(&settings, patience).await }
            }
            .boxed(),
        );
    }
    join_all(looks).await
}
