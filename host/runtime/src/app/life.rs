//! How far a version of a component is from its end: it serves, then only work in flight goes on,
//! then that is cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Why work in flight ended early.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the component's version was replaced, and its time to drain is over")]
pub(crate) struct CutOff;

/// A stage of a version's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It takes new work.
    Serving,
    /// New work goes elsewhere.
    Retired,
    /// Work in flight has to end too.
    CutOff,
}

/// A version's life, shared by whoever waits for its end.
#[derive(Clone, Default)]
pub(crate) struct Life(Arc<Tokens>);

#[derive(Default)]
struct Tokens {
    /// What the tokens say, readable without their locks.
    is_retired: AtomicBool,
    is_cut_off: AtomicBool,
    retired: CancellationToken,
    cut_off: CancellationToken,
}

impl Life {
    /// Where it is now.
    pub(crate) fn stage(&self) -> Stage {
        if self.0.is_cut_off.load(Relaxed) {
            Stage::CutOff
        } else if self.0.is_retired.load(Relaxed) {
            Stage::Retired
        } else {
            Stage::Serving
        }
    }

    /// New work goes elsewhere: instances end once they are idle.
    pub(crate) fn retire(&self) {
        self.0.is_retired.store(true, Relaxed);
        self.0.retired.cancel();
    }

    /// Work in flight ends now.
    pub(crate) fn end(&self) {
        self.0.is_cut_off.store(true, Relaxed);
        self.retire();
        self.0.cut_off.cancel();
    }

    /// Ends when work in flight is cut off.
    pub(crate) async fn cut_off(&self) {
        self.0.cut_off.cancelled().await;
    }

    /// Ends with `stage`.
    pub(super) fn end_of(&self, stage: Stage) -> WaitForCancellationFutureOwned {
        let token = if stage == Stage::Serving { &self.0.retired } else { &self.0.cut_off };
        token.clone().cancelled_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_version_serves_retires_and_ends() {
        let life = Life::default();
        assert_eq!(life.stage(), Stage::Serving);
        life.retire();
        life.end_of(Stage::Serving).await;
        assert_eq!(life.stage(), Stage::Retired);
        life.end();
        assert_eq!(life.stage(), Stage::CutOff);
        tokio::join!(life.end_of(Stage::Retired), life.cut_off());
    }
}
