//! A guest's stdout and stderr: whole lines to the log, with the component's name and the ids of the
//! request that it works for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::grants::Grants;
use crate::trace;

/// Longer lines are cut into several.
const MAX_LINE: usize = 8 << 10;

/// What a guest may write without asking again.
const PERMIT: usize = 64 << 10;

/// One of a component's two output streams.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    pub(crate) grants: Arc<Grants>,
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
        if !self.output.grants.log_rate.admits() {
            self.line.clear();
            return;
        }
        let text = String::from_utf8_lossy(&self.line);
        let component = &*self.output.grants.component;
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
