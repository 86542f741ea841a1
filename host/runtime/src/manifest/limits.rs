//! `limits` and `reuse`: how much of the machine a component may use, and for how long an instance
//! of it lives. Whoever writes nothing gets bounds that an ordinary component never meets.

use std::time::Duration;

use bytesize::ByteSize;
use toml::Spanned;

use super::check::Check;
use super::wire;

/// Bounds of a component's use of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Linear memory of one instance, in bytes, at most 4 GiB.
    pub(crate) memory: usize,
    /// How long one request or call may stand still; consumers have their own.
    pub(crate) timeout: Duration,
    /// How long one request, call or delivery may compute; `None`: [`Limits::CPU_TIME`], and for
    /// deliveries as long as their own timeout.
    pub(crate) cpu_time: Option<Duration>,
    /// How many requests and calls are handled at the same time, at least 1.
    pub(crate) concurrency: usize,
    /// How many more may wait for their turn; further ones are refused.
    pub(crate) waiting: usize,
    /// The longest body of a request, in bytes.
    pub(crate) request_body: u64,
    /// The longest body of a response, in bytes.
    pub(crate) response_body: u64,
    /// Open resources, streams and futures of one instance, at least [`MIN_RESOURCES`].
    pub(crate) resources: usize,
    /// Outgoing requests at the same time, of all instances together.
    pub(crate) connections: usize,
    /// Lines that all instances together may log in a second.
    pub(crate) log_rate: u32,
}

impl Limits {
    /// How long a request or a call may compute unless the manifest says otherwise.
    pub(crate) const CPU_TIME: Duration = Duration::from_secs(10);

    /// How many blobs all instances together may read and write at the same time.
    pub(crate) fn open_blobs(&self) -> usize {
        self.resources / 8
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            timeout: Duration::from_secs(60),
            cpu_time: None,
            concurrency: 64,
            waiting: 256,
            request_body: 1 << 30,
            response_body: 4 << 30,
            resources: 1024,
            connections: 64,
            log_rate: 500,
        }
    }
}

/// How many requests an instance may serve before it is dropped, and how many of them at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reuse {
    /// In all, at least 1.
    pub(crate) requests: usize,
    /// At the same time, from 1 to `requests`.
    pub(crate) concurrent: usize,
}

impl Reuse {
    /// A fresh instance for every request.
    pub(crate) const NEVER: Self = Self { requests: 1, concurrent: 1 };
    /// What a component of WASI 0.3 gets, which is written for concurrent tasks.
    pub(crate) const SHARED: Self = Self { requests: 1024, concurrent: 16 };
}

/// All that 32-bit Wasm can address.
const MAX_MEMORY: u64 = 4 << 30;
/// Less than any program's stack and data need.
const MIN_MEMORY: u64 = 1 << 20;
/// More than any body has.
const MAX_BODY: u64 = 1 << 50;
/// Less than one request and its answer need.
const MIN_RESOURCES: i64 = 64;
/// As many as Wasmtime allows itself.
const MAX_RESOURCES: i64 = 100_000;
/// The most instances of one component that may work at the same time.
const MAX_CONCURRENCY: i64 = 100_000;
/// More than a terminal or a disk takes.
const MAX_LOG_RATE: i64 = 1_000_000;

/// The valid form of `limits`.
pub(super) fn limits(check: &mut Check, wire: wire::Limits) -> Limits {
    let default = Limits::default();
    let memory = size(check, wire.memory, MIN_MEMORY..=MAX_MEMORY, "1MiB to 4GiB");
    let mut body = |size_of: Option<Spanned<String>>| size(check, size_of, 1..=MAX_BODY, "1B to 1PiB");
    let (request_body, response_body) = (body(wire.request_body), body(wire.response_body));
    let cpu_time = wire.cpu_time.map(|time| check.duration(Some(time), Limits::CPU_TIME));
    Limits {
        memory: memory.and_then(|memory| usize::try_from(memory).ok()).unwrap_or(default.memory),
        timeout: check.duration(wire.timeout, default.timeout),
        cpu_time,
        concurrency: check.number(wire.concurrency, 1..=MAX_CONCURRENCY, default.concurrency),
        waiting: check.number(wire.waiting, 0..=MAX_CONCURRENCY, default.waiting),
        request_body: request_body.unwrap_or(default.request_body),
        response_body: response_body.unwrap_or(default.response_body),
        resources: check.number(wire.resources, MIN_RESOURCES..=MAX_RESOURCES, default.resources),
        connections: check.number(wire.connections, 1..=MAX_CONCURRENCY, default.connections),
        log_rate: check.number(wire.log_rate, 1..=MAX_LOG_RATE, default.log_rate),
    }
}

/// The valid form of `reuse`; `None`: not given.
pub(super) fn reuse(check: &mut Check, wire: Option<wire::Reuse>) -> Option<Reuse> {
    let wire = match wire? {
        wire::Reuse::Never => return Some(Reuse::NEVER),
        wire::Reuse::Bounded(wire) => wire,
    };
    let default = Reuse::SHARED;
    let given = wire.concurrent.as_ref().map(Spanned::span);
    let requests = check.number(wire.requests, 1..=i64::from(u32::MAX), default.requests);
    let concurrent = check.number(wire.concurrent, 1..=MAX_CONCURRENCY, default.concurrent.min(requests));
    if let Some(span) = given.filter(|_| concurrent > requests) {
        let message = format!("{concurrent} requests at a time are more than {requests} in all");
        check.error(span, message, "make `concurrent` smaller, or `requests` larger");
    }
    Some(Reuse { requests, concurrent })
}

fn size(
    check: &mut Check,
    text: Option<Spanned<String>>,
    range: std::ops::RangeInclusive<u64>,
    shown: &str,
) -> Option<u64> {
    let text = text?;
    match text.get_ref().parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if range.contains(&bytes) => return Some(bytes),
        Ok(_) => check.error(text.span(), format!("`{text}` is out of range"), format!("give {shown}")),
        Err(_) => {
            let message = format!("`{text}` is not a size");
            check.error(text.span(), message, "write a number and a unit, such as \"64MiB\" or \"1GiB\"");
        }
    }
    None
}
