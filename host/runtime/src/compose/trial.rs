//! A canary from its first share of new work to its end: promoted, returned, or taken back by
//! somebody. What it is judged by is [`super::canary`]'s.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::canary::{Totals, Verdict, judge};
use super::deployment::{Current, Deployment, Next, Order, Refusal, Switch, drain_time, insert, short};
use super::versions::{Action, Change, Entry};
use super::{Binary, routes};
use crate::app::Snapshot;
use crate::app::slot::{Share, Slot, Version};

/// How often a canary is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How a version is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    /// Its share of new work.
    pub(crate) share: Share,
    /// For how long.
    pub(crate) window: Duration,
}

impl Deployment {
    /// Gives a prepared version its share of new work, and judges it until its window ends.
    pub(super) fn begin(
        self: &Arc<Self>,
        current: &mut Current,
        next: Next,
        trial: Trial,
        order: &Order,
    ) -> Result<Switch, Refusal> {
        let Next { snapshot, version, previous, .. } = next;
        let id = Arc::clone(&version.component.id);
        let switch = Switch::of(&version, &previous);
        let note = format!("{} % for {}", trial.share.get(), humantime::format_duration(trial.window));
        let entry = Entry::new(Some(&id), Action::Canary, &order.by).versions(&switch.hash, Some(&switch.previous));
        let change = Change::Try(&id, Some(&switch.hash));
        let commit = || current.versions.commit(&[change], vec![entry.note(&note)]);
        tokio::task::block_in_place(commit).map_err(Refusal::Failed)?;
        self.app.replace(snapshot);
        tracing::info!(component = &*id, version = short(&switch.hash), by = order.by, "a canary gets {note}");
        let (deployment, by, drain) = (Arc::clone(self), order.by.clone(), order.drain);
        tokio::spawn(async move {
            let Some(verdict) = deployment.observe(&previous, &version, trial.window).await else { return };
            let (promote, reason) = match verdict {
                Verdict::Promote(reason) => (true, reason),
                Verdict::Return(reason) => (false, reason),
                Verdict::Wait => return,
            };
            let mut current = deployment.current.lock().await;
            if !deployment.tries(&version) {
                return;
            }
            if let Err(error) = deployment.conclude(&mut current, &id, promote, &by, &reason, drain) {
                tracing::error!(component = &*id, %error, "the canary keeps its share: its end cannot be written down");
            }
        });
        Ok(switch)
    }

    /// Compares both versions until there is a verdict; `None` if the trial has ended otherwise.
    async fn observe(&self, stable: &Version, canary: &Version, window: Duration) -> Option<Verdict> {
        let begin = Instant::now();
        let before = (Totals::of(&stable.component.stats), Totals::of(&canary.component.stats));
        while self.tries(canary) {
            let left = window.saturating_sub(begin.elapsed());
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK)) => {}
                () = self.shutdown.cancelled() => return None,
            }
            let old = Totals::of(&stable.component.stats).since(&before.0);
            let new = Totals::of(&canary.component.stats).since(&before.1);
            match judge(&old, &new, begin.elapsed() >= window) {
                Verdict::Wait => {}
                verdict => return Some(verdict),
            }
        }
        None
    }

    /// Whether `version` is the canary of its component.
    fn tries(&self, version: &Version) -> bool {
        let snapshot = self.app.load();
        let slot = snapshot.components.get(&version.component.id);
        let canary = slot.and_then(|slot| slot.canary.as_ref());
        canary.is_some_and(|canary| Arc::ptr_eq(&canary.version.component, &version.component))
    }

    /// Ends a trial.
    pub(super) fn conclude(
        &self,
        current: &mut Current,
        id: &str,
        promote: bool,
        by: &str,
        reason: &str,
        drain: Option<Duration>,
    ) -> Result<Switch, Refusal> {
        let old = self.app.snapshot();
        let none = || Refusal::NotFound(format!("component `{id}` has no canary"));
        let slot = old.components.get(id).ok_or_else(none)?;
        let canary = &slot.canary.as_ref().ok_or_else(none)?.version;
        let (winner, loser) = if promote { (canary, &slot.stable) } else { (&slot.stable, canary) };
        let mut components = old.components.clone();
        insert(&mut components, Slot::of(Arc::clone(winner)));
        let routes = routes(&current.declared.manifest, &components).map_err(Refusal::Failed)?;
        let switch = Switch::of(winner, loser);
        let source = current.binary(id)?.source.clone();
        let tried = canary.component.version.hash.to_string();
        let (change, action) = if promote {
            (Change::Run { component: id, hash: &switch.hash, source: &source }, Action::Promote)
        } else {
            (Change::Try(id, None), Action::Return)
        };
        let other = if promote { &switch.previous } else { &switch.hash };
        let entry = Entry::new(Some(id), action, by).versions(&tried, Some(other)).note(reason);
        tokio::task::block_in_place(|| current.versions.commit(&[change], vec![entry])).map_err(Refusal::Failed)?;
        if promote {
            let compiled = canary.component.compiled.clone();
            current.binaries.insert(id.to_owned(), Binary { hash: switch.hash.clone(), source, compiled });
        }
        self.app.replace(Snapshot { components, routes });
        self.retire(&loser.component, drain.unwrap_or_else(|| drain_time(&current.declared.manifest, id)));
        self.app.changes.count("canary", if promote { "promoted" } else { "returned" });
        let what = if promote { "the canary takes all new work" } else { "the canary is returned" };
        tracing::info!(component = id, version = short(&tried), by, "{what}: {reason}");
        Ok(switch)
    }
}
