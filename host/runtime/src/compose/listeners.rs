//! The subscriptions to Redis that run: one task for each server, started and stopped as the
//! manifest changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Engines;
use crate::app::App;
use crate::manifest::Resolved;
use crate::trigger::redis::Listener;

/// The components that get the messages of each channel.
type Channels = BTreeMap<String, Vec<Arc<str>>>;

/// What every listener needs, and what ends them all.
pub(super) struct Listeners {
    pub(super) app: Arc<App>,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    /// How long messages in flight may take to end after `shutdown`.
    pub(super) grace: Duration,
    /// By the server's URL.
    pub(super) running: BTreeMap<String, (Channels, CancellationToken)>,
}

impl Listeners {
    /// Makes the listeners those of the manifest that `resolved` comes from. One whose channels
    /// changed is started anew.
    pub(super) fn apply(&mut self, resolved: &BTreeMap<String, Resolved>, engines: &Engines) {
        let mut wanted: BTreeMap<String, Channels> = BTreeMap::new();
        for (id, component) in resolved {
            for (address, channel) in &component.redis {
                let channels = wanted.entry(address.expose_secret().to_owned()).or_default();
                channels.entry(channel.clone()).or_default().push(id.as_str().into());
            }
        }
        self.running.retain(|address, (channels, stop)| {
            let same = wanted.get(address) == Some(channels);
            if same {
                wanted.remove(address);
            } else {
                stop.cancel();
            }
            same
        });
        for (address, channels) in wanted {
            let stop = self.shutdown.child_token();
            let listener = Listener {
                client: engines.redis_client(),
                address: address.clone().into(),
                channels: channels.clone(),
            };
            self.tasks.spawn(listener.run(Arc::clone(&self.app), stop.clone(), self.shutdown.clone(), self.grace));
            self.running.insert(address, (channels, stop));
        }
    }
}
