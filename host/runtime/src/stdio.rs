//! A guest's stdout and stderr: whole lines to the log, with the component's name and the ids of the
//! request that it works for.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::runtime::Handle;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::stats::Stats;
use crate::trace;

/// Longer lines are cut into several.
const MAX_LINE: usize = 8 << 10;

/// What a guest may write without asking again.
const PERMIT: usize = 64 << 10;

/// Lines are counted over this long.
const WINDOW: Duration = Duration::from_secs(1);

/// How many lines the instances of a component log in a second, all together.
pub(crate) struct LogRate {
    component: Arc<str>,
    stats: Arc<Stats>,
    limit: u32,
    window: Mutex<Window>,
}

struct Window {
    start: Instant,
    lines: u32,
    suppressed: u64,
}

impl LogRate {
    pub(crate) fn new(component: Arc<str>, limit: u32, stats: &Arc<Stats>) -> Self {
        let stats = Arc::clone(stats);
        Self { component, stats, limit, window: Mutex::new(Window { start: Instant::now(), lines: 0, suppressed: 0 }) }
    }

    /// Whether one more line may be logged now.
    fn admits(self: &Arc<Self>) -> bool {
        let mut window = self.window();
        if window.start.elapsed() >= WINDOW && window.suppressed == 0 {
            *window = Window { start: Instant::now(), lines: 0, suppressed: 0 };
        }
        if window.lines < self.limit {
            window.lines = window.lines.saturating_add(1);
            return true;
        }
        window.suppressed = window.suppressed.saturating_add(1);
        self.stats.exceeded.log_lines.increment();
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

/// One of a component's two output streams.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    pub(crate) rate: Arc<LogRate>,
    /// True for stderr.
    pub(crate) error: bool,
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    /// A task of the host's reads what the guest writes to it, so a line is of the request that
    /// opened the stream.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Lines::new(self))
    }

    /// The guest itself writes, so a line is of the request that ends it.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Lines::new(self))
    }
}

struct Lines {
    output: GuestOutput,
    line: Vec<u8>,
    /// Whose it is.
    context: Option<Arc<trace::Context>>,
}

impl Lines {
    fn new(output: &GuestOutput) -> Self {
        Self { output: output.clone(), line: Vec::new(), context: trace::current() }
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in part.chunks(MAX_LINE) {
                self.line.extend_from_slice(piece);
                if self.line.ends_with(b"\n") || self.line.len() >= MAX_LINE {
                    self.emit();
                }
            }
        }
    }

    fn emit(&mut self) {
        if self.line.is_empty() {
            return;
        }
        if !self.output.rate.admits() {
            self.line.clear();
            return;
        }
        let text = String::from_utf8_lossy(&self.line);
        let component = &*self.output.rate.component;
        let _work = trace::enter(self.context.clone());
        if self.output.error {
            tracing::warn!(target: "guest", component, "{}", text.trim_end());
        } else {
            tracing::info!(target: "guest", component, "{}", text.trim_end());
        }
        self.line.clear();
    }
}

impl AsyncWrite for Lines {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.emit();
        Poll::Ready(Ok(()))
    }
}

#[async_trait::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.context = trace::current();
        Self::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.emit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_lines_in_a_second_and_then_again() {
        let rate = Arc::new(LogRate::new("chatty".into(), 3, &Arc::default()));
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
