//! What belongs to one request: its trace (W3C Trace Context) and its request id, followed from
//! HTTP through calls, messages and mail; and the spans that are recorded of it, if anybody wants
//! them.
//!
//! The trace at work is the thread's *current* one: [`scope`] makes it current while a future is
//! polled, and [`follow`] while a guest is in a host call. Log lines take their ids from there.
//! Without a recorder a request costs its ids and nothing else.

mod context;
mod current;
mod span;
mod tasks;

pub(crate) use self::context::Context;
pub(crate) use self::current::{current, enter, scope};
pub(crate) use self::span::{Kind, Recorder, Span, Value, Work, record};
pub(crate) use self::tasks::{Tasks, follow};
