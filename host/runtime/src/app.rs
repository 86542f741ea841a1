//! The running application: an immutable snapshot behind one pointer.
//!
//! Every trigger takes the current snapshot for each piece of work and keeps it to its end, so a
//! new one can be put in place at any moment: work in flight ends on the old one.

pub(crate) mod admission;
pub(crate) mod component;
pub(crate) mod drain;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod life;
pub(crate) mod link;
pub(crate) mod slot;
pub(crate) mod unsupported;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use ::http::Uri;
use arc_swap::{ArcSwap, Guard};

use crate::app::component::Component;
use crate::app::drain::Drain;
use crate::app::http::Routes;
use crate::app::slot::Slot;
use crate::cpu::Turns;
use crate::stats::{self, Changes, Counter};

/// One consistent state of the application.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// By id.
    pub(crate) components: HashMap<Arc<str>, Arc<Slot>>,
    /// What serves HTTP.
    pub(crate) routes: Routes,
}

impl Snapshot {
    /// The component with this id, in the version that takes the next piece of work.
    pub(crate) fn component(&self, id: &str) -> Option<&Arc<Component>> {
        self.components.get(id).map(|slot| &slot.pick().component)
    }
}

/// The application, as it changes.
#[derive(Default)]
pub(crate) struct App {
    current: ArcSwap<Snapshot>,
    turns: Arc<Turns>,
    /// HTTP requests that no route was for.
    pub(crate) unrouted: Counter,
    /// What operators did, and what became of it.
    pub(crate) changes: Changes,
    /// Snapshots that were put in place.
    pub(crate) deployments: Counter,
    drain: Drain,
    versions: Mutex<Vec<Weak<Component>>>,
    groups: Mutex<BTreeMap<String, Arc<stats::Group>>>,
    /// The URL that it serves at, without a path.
    origin: OnceLock<Uri>,
}

impl App {
    /// It serves HTTP at this URL.
    pub(crate) fn serves_at(&self, origin: Uri) {
        // There is one public listener, so a second time would change nothing.
        _ = self.origin.set(origin);
    }

    /// The URL that it serves at, if it does yet.
    pub(crate) fn origin(&self) -> Option<&Uri> {
        self.origin.get()
    }

    /// The state now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Who of all its components may compute for long.
    pub(crate) fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.turns)
    }

    /// The state now, to look something up in: cheaper than [`Self::snapshot`], and not to be held
    /// across an `await`.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Whether triggers begin new work.
    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Every version that runs, also of those that end what they began; by id, then by age.
    pub(crate) fn versions(&self) -> Vec<Arc<Component>> {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut versions: Vec<_> = versions.iter().filter_map(Weak::upgrade).collect();
        versions.sort_by(|one, two| (&one.id, one.version.since).cmp(&(&two.id, two.version.since)));
        versions
    }

    /// Where what is done for a group of consumers is counted.
    pub(crate) fn group(&self, name: &str) -> Arc<stats::Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(groups.entry(name.to_owned()).or_default())
    }

    /// What was done for every group of consumers.
    pub(crate) fn groups(&self) -> BTreeMap<String, Arc<stats::Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes `snapshot` the current one.
    pub(crate) fn replace(&self, snapshot: Snapshot) {
        self.deployments.increment();
        self.remember(&snapshot);
        self.current.store(Arc::new(snapshot));
    }

    fn remember(&self, snapshot: &Snapshot) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|version| version.strong_count() > 0);
        for version in snapshot.components.values().flat_map(|slot| slot.versions()) {
            if !versions.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(&version.component))) {
                versions.push(Arc::downgrade(&version.component));
            }
        }
    }
}
