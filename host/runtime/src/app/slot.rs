//! The versions of a component that take new work: one, or for a while two.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::component::Component;
use super::http::{Handler, Refused, answer};

/// A component of the application with the instances behind it.
pub(crate) struct Version {
    pub(crate) component: Arc<Component>,
    /// `None` if it exports no HTTP handler.
    http: Option<Handler>,
}

impl Version {
    pub(crate) fn new(component: Arc<Component>) -> Self {
        let http = Handler::of(&component);
        Self { component, http }
    }

    /// Whether it exports an HTTP handler.
    pub(crate) fn serves_http(&self) -> bool {
        self.http.is_some()
    }

    /// Lets one of the component's instances answer, within the component's limits.
    ///
    /// # Errors
    /// As [`Refused`] says.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Result<Response<WasiBody>, Refused>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        HttpError: From<B::Error>,
    {
        match &self.http {
            Some(handler) => answer(&self.component, handler, request).await,
            None => Err(Refused::Failed),
        }
    }
}

/// A component's place in a snapshot. Immutable but for the count that deals out a canary's share.
pub(crate) struct Slot {
    /// What takes new work.
    pub(crate) stable: Arc<Version>,
    /// What takes a share of it, on trial.
    pub(crate) canary: Option<Canary>,
}

/// A version on trial.
pub(crate) struct Canary {
    pub(crate) version: Arc<Version>,
    /// Its share of new work.
    pub(crate) share: Share,
    turn: AtomicU64,
}

impl Canary {
    pub(crate) fn new(version: Arc<Version>, share: Share) -> Self {
        Self { version, share, turn: AtomicU64::new(0) }
    }
}

impl Slot {
    /// A slot with one version.
    pub(crate) fn of(stable: Arc<Version>) -> Self {
        Self { stable, canary: None }
    }

    /// Every version that takes new work.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        std::iter::once(&self.stable).chain(self.canary.as_ref().map(|canary| &canary.version))
    }

    /// The version that the next piece of work goes to.
    pub(crate) fn pick(&self) -> &Arc<Version> {
        match &self.canary {
            None => &self.stable,
            Some(canary) if canary.share.takes(canary.turn.fetch_add(1, Relaxed)) => &canary.version,
            Some(_) => &self.stable,
        }
    }
}

/// A share of work, in whole percent from 1 to 99.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share(u8);

impl Share {
    /// `None` if it is out of range.
    pub(crate) fn percent(percent: u8) -> Option<Self> {
        (1..=99).contains(&percent).then_some(Self(percent))
    }

    /// In percent.
    pub(crate) fn get(self) -> u8 {
        self.0
    }

    /// Whether the piece of work with this number, from 0, belongs to the share. Pieces are dealt
    /// out evenly instead of by chance, so that a small number of them already has the share.
    fn takes(self, turn: u64) -> bool {
        let turn = turn % 100;
        let share = u64::from(self.0);
        (turn + 1) * share / 100 > turn * share / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_dealt_out_evenly() {
        for percent in 1..=99 {
            let share = Share::percent(percent).unwrap();
            let taken = (0..1000).filter(|turn| share.takes(*turn)).count();
            assert_eq!(taken, usize::from(percent) * 10, "{percent}");
        }
        let ten: Vec<u64> = (0..40).filter(|turn| Share(10).takes(*turn)).collect();
        assert_eq!(ten, [9, 19, 29, 39]);
        assert_eq!((Share::percent(0), Share::percent(100)), (None, None));
    }
}
