//! Whether the application takes new work.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::watch;

/// A switch that an operator turns: while it is on, triggers begin nothing.
#[derive(Debug)]
pub(crate) struct Drain {
    /// The same as what is watched, cheaper to look at.
    on: AtomicBool,
    watched: watch::Sender<bool>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { on: AtomicBool::new(false), watched: watch::Sender::new(false) }
    }
}

impl Drain {
    /// Whether it is on.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Turns it; answers whether that changed anything.
    pub(crate) fn set(&self, on: bool) -> bool {
        self.on.store(on, Relaxed);
        self.watched.send_replace(on) != on
    }

    /// Ends when the switch is as asked.
    pub(crate) async fn until(&self, on: bool) {
        // The sender lives as long as this.
        _ = self.watched.subscribe().wait_for(|now| *now == on).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn whoever_waits_hears_of_it() {
        let drain = Drain::default();
        assert!(drain.until(false).now_or_never().is_some());
        let mut waiting = Box::pin(drain.until(true));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(drain.set(true) && !drain.set(true), "the second time changes nothing");
        assert!(drain.is_on() && waiting.now_or_never().is_some());
        assert!(drain.set(false) && !drain.is_on());
    }
}
