//! Recorded pieces of work. Without a recorder there are none.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::Context;
use super::current::{current, scope};

/// What a span is to its neighbours (OpenTelemetry's span kinds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answers a request from outside.
    Server,
    /// Asks somebody outside.
    Client,
    /// Publishes a message.
    Producer,
    /// Handles a message.
    Consumer,
    /// Neither.
    Internal,
}

/// An attribute's value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// A piece of work; recorded when it is dropped.
#[derive(Debug)]
pub(crate) struct Span {
    context: Arc<Context>,
    pub(crate) kind: Kind,
    pub(crate) name: Cow<'static, str>,
    pub(crate) start: SystemTime,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
}

/// What takes ended spans. It must not block.
pub(crate) struct Recorder {
    /// The share of traces begun here that are recorded, from 0 to 1.
    pub(crate) share: f64,
    /// Takes one.
    pub(crate) take: Box<dyn Fn(&Span) + Send + Sync>,
}

/// One for the process, as the log is.
static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// Records spans from now on; the first recorder stays.
pub(crate) fn record(recorder: Recorder) {
    _ = RECORDER.set(recorder);
}

/// Whether a trace that begins here is to be recorded. Without a recorder here others may want to.
pub(super) fn samples(trace: u128) -> bool {
    let Some(recorder) = RECORDER.get() else { return true };
    // As OpenTelemetry's ratio sampler: by the lower half of the id, so that all processes agree.
    let [.., lower] = [(trace >> 64) as u64, trace as u64];
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    let place = (lower >> 1) as f64 / (u64::MAX >> 1) as f64;
    place < recorder.share
}

impl Span {
    /// Begins to record `context`'s work; `None` if nobody wants to know.
    pub(crate) fn begin(context: &Arc<Context>, kind: Kind, name: impl FnOnce() -> Cow<'static, str>) -> Option<Self> {
        if RECORDER.get().is_none() || !context.is_sampled() {
            return None;
        }
        let (context, name) = (Arc::clone(context), name());
        Some(Self { context, kind, name, start: SystemTime::now(), attributes: Vec::new(), error: None })
    }

    /// Adds an attribute.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((name, value.into()));
    }

    /// Trace, span and parent.
    pub(crate) fn ids(&self) -> (u128, u64, Option<u64>) {
        self.context.ids()
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(recorder) = RECORDER.get() {
            (recorder.take)(self);
        }
    }
}

/// A part of the current work, and what it is done for.
pub(crate) struct Work {
    /// The part's own context if it is recorded, or the whole's.
    pub(crate) context: Option<Arc<Context>>,
    /// Its record, if there is one.
    pub(crate) span: Option<Span>,
}

impl Work {
    /// Begins a part of the current work.
    pub(crate) fn begin(kind: Kind, name: impl FnOnce() -> Cow<'static, str>) -> Self {
        let Some(context) = current() else { return Self { context: None, span: None } };
        if RECORDER.get().is_none() || !context.is_sampled() {
            return Self { context: Some(context), span: None };
        }
        let child = Arc::new(context.child());
        Self { span: Span::begin(&child, kind, name), context: Some(child) }
    }

    /// Adds an attribute.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.set(name, value);
        }
    }

    /// Does it.
    pub(crate) async fn run<T, E: std::fmt::Display>(
        &mut self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let result = scope(self.context.clone(), future).await;
        if let (Some(span), Err(error)) = (&mut self.span, &result) {
            span.error = Some(error.to_string());
        }
        result
    }
}
