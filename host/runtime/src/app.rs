//! The running application: an immutable snapshot behind one pointer.
//!
//! Every trigger takes the current snapshot for each piece of work and keeps it to its end, so a
//! new one can be put in place at any moment: work in flight ends on the old one.

pub(crate) mod admission;
pub(crate) mod component;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod life;
pub(crate) mod link;
pub(crate) mod slot;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::app::component::Component;
use crate::app::http::Routes;
use crate::app::slot::Slot;
use crate::cpu::Turns;
use crate::stats::Counter;

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
}

impl App {
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

    /// Makes `snapshot` the current one.
    pub(crate) fn replace(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
    }
}
