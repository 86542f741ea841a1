//! What a service manager that started the process is told (`sd_notify(3)`); without one, nothing.

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

/// The application serves, again after [`reloading`].
pub(super) fn ready(url: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("Serving {url}"))]);
}

/// The operator asked for changed files to be read.
pub(super) fn reloading() {
    // With `Type=notify-reload` the manager wants to know since when.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the clock cannot be read"),
    }
}

/// Work in flight ends; nothing new begins.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("Shutting down")]);
}

/// Tells, twice in each interval that the manager wants, that the runtime still gets to run tasks.
pub(super) async fn watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let mut beat = tokio::time::interval(interval / 2);
    // What was missed is not made up for: one sign says as much as several.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
