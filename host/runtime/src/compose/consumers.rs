//! The consumers that run: one task for each group, started and stopped as the manifest changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tessera_capability::queue::{Broker, Group};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::manifest::{Consume, Manifest};
use crate::trigger::queue::Consumer;

/// What every consumer needs, and what ends them all.
pub(super) struct Consumers {
    pub(super) app: Arc<App>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    /// How long deliveries in flight may take to end after `shutdown`.
    pub(super) grace: Duration,
    pub(super) running: BTreeMap<Group, Running>,
}

/// A group's consumer.
pub(super) struct Running {
    component: Arc<str>,
    consume: Consume,
    stop: CancellationToken,
}

impl Consumers {
    /// Makes the consumers those of `manifest`: new ones start, those that it no longer has receive
    /// nothing more and end what they have, changed ones do both.
    pub(super) fn apply(&mut self, manifest: &Manifest) {
        let mut wanted: BTreeMap<Group, (Arc<str>, &Consume)> = manifest
            .components
            .iter()
            .flat_map(|(id, component)| component.consume.iter().map(move |consume| (id, consume)))
            .map(|(id, consume)| (consume.group.clone(), (id.as_str().into(), consume)))
            .collect();
        self.running.retain(|group, running| {
            let same =
                wanted.get(group).is_some_and(|(id, consume)| *id == running.component && **consume == running.consume);
            if same {
                wanted.remove(group);
            } else {
                running.stop.cancel();
            }
            same
        });
        for (group, (component, consume)) in wanted {
            let stop = self.shutdown.child_token();
            let consumer = Consumer { component: Arc::clone(&component), consume: consume.clone() };
            let (app, broker) = (Arc::clone(&self.app), Arc::clone(&self.broker));
            self.tasks.spawn(consumer.run(app, broker, stop.clone(), self.shutdown.clone(), self.grace));
            self.running.insert(group, Running { component, consume: consume.clone(), stop });
        }
    }
}
