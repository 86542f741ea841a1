//! How much is logged of a component: what it prints, and what the host says of what it does. Without a bound a guest
//! could fill the disk, or hide other lines, by being denied in a loop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::stats::Exceeded;

/// Lines are counted over this long.
const WINDOW: Duration = Duration::from_secs(1);

/// How many lines may be logged of a component in a second, all its instances together.
pub(crate) struct LogRate {
    component: Arc<str>,
    exceeded: Arc<Exceeded>,
    limit: u32,
    window: Mutex<Window>,
}

struct Window {
    start: Instant,
    lines: u32,
    suppressed: u64,
}

impl LogRate {
    pub(crate) fn new(component: Arc<str>, limit: u32, exceeded: Arc<Exceeded>) -> Self {
        Self {
            component,
            exceeded,
            limit,
            window: Mutex::new(Window { start: Instant::now(), lines: 0, suppressed: 0 }),
        }
    }

    /// Whether one more line may be logged now.
    pub(crate) fn admits(self: &Arc<Self>) -> bool {
        let mut window = self.window();
        if window.start.elapsed() >= WINDOW && window.suppressed == 0 {
            *window = Window { start: Instant::now(), lines: 0, suppressed: 0 };
        }
        if window.lines < self.limit {
            window.lines = window.lines.saturating_add(1);
            return true;
        }
        window.suppressed = window.suppressed.saturating_add(1);
        self.exceeded.log_lines.increment();
        if window.suppressed == 1 {
            let rest = WINDOW.saturating_sub(window.start.elapsed());
            drop(window);
            self.report_after(rest);
        }
        false
    }

    /// Says at the window's end how much was left out, though the guest may be silent by then.
    fn report_after(self: &Arc<Self>, rest: Duration) {
        let rate = Arc::clone(self);
        let report = move || {
            let suppressed = {
                let mut window = rate.window();
                let suppressed = window.suppressed;
                *window = Window { start: Instant::now(), lines: 0, suppressed: 0 };
                suppressed
            };
            let (component, limit) = (&*rate.component, rate.limit);
            tracing::warn!(
                component,
                "{suppressed} lines suppressed: more than {limit} in a second \
                 (`limits.log_rate` in `[component.{component}.tool.tessera]`)"
            );
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(rest).await;
                report();
            })),
            Err(_) => report(),
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_lines_in_a_second_and_then_again() {
        let rate = Arc::new(LogRate::new("chatty".into(), 3, Arc::default()));
        let admitted = |lines: usize| (0..lines).filter(|_| rate.admits()).count();
        assert_eq!((admitted(2), admitted(5), admitted(5)), (2, 1, 0));
        assert_eq!(rate.window().suppressed, 9);
        let reported = async {
            while rate.window().suppressed > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(WINDOW * 30, reported).await.expect("it is reported");
        assert_eq!(admitted(5), 3);
    }
}
