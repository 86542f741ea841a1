//! The latest log lines, kept in memory and passed on to whoever follows them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context as LayerContext, Layer};
use utoipa::{IntoParams, ToSchema};

use super::Context;
use super::http::{Problem, Query, flag, number, present};
use crate::trace;

/// What is kept: so many lines, and so many bytes of them.
const MAX_LINES: usize = 10_000;
const MAX_BYTES: usize = 4 << 20;

/// Longer texts are cut.
const MAX_TEXT: usize = 8 << 10;

/// More fields of one line are left out.
const MAX_FIELDS: usize = 32;

/// Whoever is this many lines behind loses some.
const BEHIND: usize = 1024;

/// How often a follower without news hears that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Line {
    /// When, as RFC 3339 in UTC.
    pub(crate) time: String,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub(crate) level: String,
    /// The component that it is about or that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) component: Option<String>,
    /// True if the component wrote it to its stdout or stderr.
    pub(crate) guest: bool,
    /// The text.
    pub(crate) message: String,
    /// What else the line says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) fields: BTreeMap<String, String>,
}

impl Line {
    fn size(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(64));
        let texts = self.message.len().saturating_add(self.component.as_ref().map_or(0, String::len));
        fields.fold(texts.saturating_add(128), usize::saturating_add)
    }

    fn is_about(&self, component: Option<&str>) -> bool {
        component.is_none_or(|wanted| self.component.as_deref() == Some(wanted))
    }
}

/// Collects the log's lines: a layer of the process's subscriber. Clones share them.
#[derive(Clone)]
pub(crate) struct Logs(Arc<Inner>);

struct Inner {
    recent: Mutex<Recent>,
    new: broadcast::Sender<(u64, Arc<Line>)>,
}

#[derive(Default)]
struct Recent {
    lines: VecDeque<Arc<Line>>,
    bytes: usize,
    /// The number of the next line.
    next: u64,
}

impl Default for Logs {
    fn default() -> Self {
        Self(Arc::new(Inner { recent: Mutex::default(), new: broadcast::channel(BEHIND).0 }))
    }
}

impl Logs {
    fn add(&self, line: Line) {
        let line = Arc::new(line);
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.bytes = recent.bytes.saturating_add(line.size());
        recent.lines.push_back(Arc::clone(&line));
        while recent.lines.len() > MAX_LINES || recent.bytes > MAX_BYTES {
            let Some(oldest) = recent.lines.pop_front() else { break };
            recent.bytes = recent.bytes.saturating_sub(oldest.size());
        }
        let number = recent.next;
        recent.next = number.saturating_add(1);
        // Within the lock, so that numbers are sent in order. Nobody may be listening.
        _ = self.0.new.send((number, line));
    }

    /// The latest lines, oldest first, and the number of the line that comes next.
    fn recent(&self, component: Option<&str>, most: usize) -> (Vec<Arc<Line>>, u64) {
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let about = recent.lines.iter().rev().filter(|line| line.is_about(component));
        let mut lines: Vec<_> = about.take(most).cloned().collect();
        lines.reverse();
        (lines, recent.next)
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _context: LayerContext<'_, S>) {
        let metadata = event.metadata();
        let mut texts = Texts::default();
        event.record(&mut texts);
        if let Some(work) = trace::current() {
            texts.fields.insert("request_id".into(), work.request_id().to_string());
            texts.fields.insert("trace_id".into(), work.trace_id().to_string());
        }
        self.add(Line {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            level: metadata.level().to_string(),
            component: texts.fields.remove("component"),
            guest: metadata.target() == "guest",
            message: texts.message,
            fields: texts.fields,
        });
    }
}

/// An event's fields as texts.
#[derive(Default)]
struct Texts {
    message: String,
    fields: BTreeMap<String, String>,
}

impl Texts {
    fn set(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else if self.fields.len() < MAX_FIELDS {
            self.fields.insert(field.name().to_owned(), text);
        }
    }
}

impl Visit for Texts {
    fn record_str(&mut self, field: &Field, value: &str) {
        let mut end = value.len().min(MAX_TEXT);
        while !value.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        self.set(field, value.get(..end).unwrap_or_default().to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = Bounded(String::new());
        // Ends with an error where the text is cut.
        _ = write!(text, "{value:?}");
        self.set(field, text.0);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = Bounded(String::new());
        let mut next = Some(value);
        while let Some(error) = next {
            let separator = if text.0.is_empty() { "" } else { ": " };
            if write!(text, "{separator}{error}").is_err() {
                break;
            }
            next = error.source();
        }
        self.set(field, text.0);
    }
}

/// A text that takes [`MAX_TEXT`] bytes.
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len().saturating_add(text.len()) > MAX_TEXT {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only those about this component.
    #[serde(default, deserialize_with = "present")]
    component: Option<String>,
    /// How many of the latest, 100 if absent.
    #[serde(default, deserialize_with = "number")]
    lines: Option<u32>,
    /// Goes on with every new line until the client leaves; empty lines say that there is none.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    follow: bool,
}

/// The log
///
/// The latest lines, oldest first, one JSON object a line; the host keeps 10,000 of them, at most
/// 4 MiB. Whoever follows too slowly is told how many lines were lost.
#[utoipa::path(
    get,
    path = "/v1/logs",
    tag = "logs",
    params(Wanted),
    responses(
        (status = 200, body = Line, content_type = "application/x-ndjson"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(State(context): State<Context>, Query(wanted): Query<Wanted>) -> Response {
    let most = wanted.lines.unwrap_or(100).min(u32::try_from(MAX_LINES).unwrap_or(u32::MAX));
    let most = usize::try_from(most).unwrap_or(MAX_LINES);
    // Before the recent ones are read, so that none is missed between them.
    let new = context.logs.0.new.subscribe();
    let (recent, next) = context.logs.recent(wanted.component.as_deref(), most);
    let recent: Vec<u8> = recent.iter().flat_map(|line| encode(line)).collect();
    let body = if wanted.follow {
        let follower = Follower { context, component: wanted.component, new, next };
        let first = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(recent))]);
        Body::from_stream(stream::StreamExt::chain(first, stream::unfold(follower, Follower::next)))
    } else {
        Body::from(recent)
    };
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn encode(line: &Line) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

struct Follower {
    context: Context,
    component: Option<String>,
    new: broadcast::Receiver<(u64, Arc<Line>)>,
    /// Lines with a smaller number were sent.
    next: u64,
}

type Item = Result<Bytes, std::convert::Infallible>;

impl Follower {
    async fn next(mut self) -> Option<(Item, Self)> {
        loop {
            let received = tokio::select! {
                received = tokio::time::timeout(HEARTBEAT, self.new.recv()) => received,
                () = self.context.shutdown.cancelled() => return None,
            };
            let line = match received {
                Err(_) => return Some((Ok(Bytes::from_static(b"\n")), self)),
                Ok(Err(RecvError::Closed)) => return None,
                Ok(Err(RecvError::Lagged(lost))) => Arc::new(missing(lost)),
                Ok(Ok((number, line))) if number >= self.next && line.is_about(self.component.as_deref()) => line,
                Ok(Ok(_)) => continue,
            };
            return Some((Ok(encode(&line).into()), self));
        }
    }
}

/// Stands for lines that a follower did not take in time.
fn missing(lost: u64) -> Line {
    Line {
        time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        level: tracing::Level::WARN.to_string(),
        component: None,
        guest: false,
        message: format!("{lost} lines are missing here: they came faster than they were read"),
        fields: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn collect(log: impl FnOnce()) -> Logs {
        let logs = Logs::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(logs.clone()), log);
        logs
    }

    #[test]
    fn lines_have_their_component_and_fields() {
        let logs = collect(|| {
            tracing::info!(target: "guest", component = "a", "hello");
            tracing::warn!(component = "b", attempt = 3, "no {}", "luck");
            let error = std::io::Error::other("the cause");
            tracing::error!(error = &error as &dyn std::error::Error, "outer");
        });
        let (lines, next) = logs.recent(None, 10);
        assert_eq!(next, 3);
        let shown: Vec<_> = lines.iter().map(|line| (line.component.as_deref(), line.guest, &*line.message)).collect();
        assert_eq!(shown, [(Some("a"), true, "hello"), (Some("b"), false, "no luck"), (None, false, "outer")]);
        assert_eq!(lines[1].fields, BTreeMap::from([("attempt".to_owned(), "3".to_owned())]));
        assert_eq!(lines[2].fields["error"], "the cause");
        assert_eq!(logs.recent(Some("b"), 10).0.len(), 1);
        assert_eq!(logs.recent(None, 1).0[0].message, "outer", "the latest");
    }

    #[test]
    fn memory_is_bounded() {
        let logs = collect(|| {
            let long = "ü".repeat(100_000);
            for _ in 0..2000 {
                tracing::info!("{long}");
                tracing::info!(target: "guest", text = long.as_str(), "x");
            }
        });
        let recent = logs.0.recent.lock().unwrap();
        assert!(recent.bytes <= MAX_BYTES && recent.lines.len() > 400, "{} {}", recent.bytes, recent.lines.len());
        assert!(recent.lines.iter().all(|line| line.size() < 2 * MAX_TEXT));
        drop(recent);
        let logs = collect(|| (0..MAX_LINES + 5).for_each(|_| tracing::info!("")));
        assert_eq!(logs.recent(None, usize::MAX).0.len(), MAX_LINES);
    }
}
