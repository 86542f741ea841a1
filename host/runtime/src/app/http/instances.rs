//! A component's instances for HTTP: made on demand, shared by concurrent requests, dropped when
//! they have served enough, stall, trap or idle.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime::component::GuestTaskId;
use wasmtime::{Result, Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};

use super::activity::{ABANDONED, Activity};
use super::crew::{Crew, Member};
use super::shared::{Cause, End, Shared};
use crate::app::component::Component;
use crate::app::life::{CutOff, Life, Stage};
use crate::cpu::{TICK, is_computing};
use crate::exceeded::Exceeded;
use crate::manifest::{Limits, Reuse};
use crate::network::SessionView as _;
use crate::state::State;
use crate::stats::Stats;

/// An instance without work is kept this long for the next request.
const IDLE: Duration = Duration::from_secs(5);

/// How often an instance is looked at that a client has left.
const LOOK: Duration = Duration::from_secs(1);

/// What a trap counts for as CPU time: about what the host spends on another instance and on the
/// backtrace, times two, so that a component which mostly traps does that aside.
const TRAP: Duration = TICK.saturating_mul(2);

/// What the log says about whoever does not answer.
pub(super) const LATE: &str = "no answer within the time limit (`limits.timeout` in the manifest)";

/// Makes instances of one component.
pub(crate) struct Instances {
    component: Arc<Component>,
    pre: ProxyPre<State>,
    reuse: Reuse,
    crew: Arc<Crew>,
}

impl Instances {
    pub(crate) fn new(component: Arc<Component>, pre: ProxyPre<State>) -> Self {
        // A WASI 0.2 component expects an instance for itself, as in Spin; a WASI 0.3 one is
        // written for concurrent tasks.
        let suggested = if matches!(pre, ProxyPre::P3(_)) { Reuse::SHARED } else { Reuse::NEVER };
        let reuse = component.reuse.unwrap_or(suggested);
        Self { component, pre, reuse, crew: Crew::new() }
    }
}

impl HandlerState for Instances {
    type StoreData = State;
    type WorkerExpiration = Expiration;
    type WorkerState = Serving;

    async fn instantiate(&self) -> Result<Instance<State, Expiration, Serving>> {
        let limits = &self.component.limits;
        // Instances may go on after their answers, or after their clients; not any number of them.
        let most = limits.concurrency.saturating_mul(2);
        if self.component.stats.instances.get() >= most as u64 {
            return Err(Exceeded::Instances { component: Arc::clone(&self.component.id), most }.into());
        }
        let timeout = limits.timeout;
        let cpu_time = self.component.limits.cpu_time.unwrap_or(Limits::CPU_TIME);
        let mut store = self.component.store()?;
        let cpu = Arc::clone(&store.data().cpu);
        cpu.allow(cpu_time);
        let instantiate = cpu.measure(self.pre.instantiate_async(&mut store));
        let proxy = tokio::time::timeout(timeout, instantiate).await??;
        let shared = Arc::new(Shared::new(cpu));
        let member = Arc::new(self.crew.join());
        let place = Place { stats: Arc::clone(&self.component.stats), aside: is_computing() };
        Ok(Instance {
            store,
            proxy,
            view: State::http,
            expiration: Expiration {
                shared: Arc::clone(&shared),
                timeout,
                sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
                life: self.component.life.clone(),
                member: Arc::clone(&member),
                place: place.clone(),
                awaited: None,
            },
            state: Serving {
                component: Arc::clone(&self.component.id),
                place,
                misplaced: AtomicBool::new(false),
                reuse: self.reuse,
                member,
                timeout,
                cpu_time,
                shared,
            },
        })
    }
}

/// On which threads an instance is.
#[derive(Clone)]
struct Place {
    stats: Arc<Stats>,
    /// Whether on the computing threads.
    aside: bool,
}

impl Place {
    /// Whether its component's next instance would be made on other threads.
    fn is_wrong(&self) -> bool {
        let average = self.stats.load.average();
        // Less is expected of those that are aside already: a component must not go back and forth.
        if self.aside { average < TICK / 2 } else { average >= TICK }
    }
}

/// When an instance is dropped though it did not end by itself.
pub(crate) struct Expiration {
    shared: Arc<Shared>,
    timeout: Duration,
    sleep: Pin<Box<Sleep>>,
    life: Life,
    member: Arc<Member>,
    place: Place,
    /// The stage of `life` whose end wakes the instance.
    awaited: Option<(Stage, Pin<Box<WaitForCancellationFutureOwned>>)>,
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, status: WorkerStatus, start: Instant) -> Poll<()> {
        // The instance waits: what it computes from here on is another slice of CPU time.
        self.shared.cpu.end();
        // A retired version's instances do not wait for more work, and end with its time to drain.
        let stage = self.life.stage();
        if stage == Stage::CutOff || (stage == Stage::Retired && status == WorkerStatus::Idle) {
            if status != WorkerStatus::Idle {
                self.shared.ends(Cause::CutOff);
            }
            return Poll::Ready(());
        }
        // Here and not when it is asked for more work: a request that it was woken for would be left lying as long as
        // its guest still does something.
        if status == WorkerStatus::Idle && (self.place.is_wrong() || self.member.is_dismissed()) {
            return Poll::Ready(());
        }
        if self.awaited.as_ref().is_none_or(|(awaited, _)| *awaited != stage) {
            // Polled once for each stage: it would take a lock each time, and the waker stays the
            // same, because an instance is a task of its own.
            let mut end = Box::pin(self.life.end_of(stage));
            if end.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.awaited = Some((stage, end));
        }
        loop {
            let (abandoned, alone) = self.shared.is_abandoned();
            let abandoned = abandoned && status == WorkerStatus::PostReturn;
            let deadline = match status {
                WorkerStatus::Idle => start + IDLE,
                // Nobody waits for what it still does.
                WorkerStatus::PostReturn if abandoned && alone => {
                    self.shared.last.deadline(start, self.timeout.min(ABANDONED))
                }
                WorkerStatus::Requests | WorkerStatus::PostReturn => self.shared.last.deadline(start, self.timeout),
            };
            if deadline <= Instant::now() {
                if status != WorkerStatus::Idle {
                    self.shared.ends(if abandoned { Cause::Abandoned } else { Cause::Late });
                }
                return Poll::Ready(());
            }
            // The last of the others may leave without waking anybody.
            let deadline = if abandoned { deadline.min(Instant::now() + LOOK) } else { deadline };
            // A later deadline is found when this one is over, so that a request sets no timer here.
            if self.sleep.is_elapsed() || self.sleep.deadline() > deadline.into() {
                self.sleep.as_mut().reset(deadline.into());
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// An instance at work.
pub(crate) struct Serving {
    component: Arc<str>,
    place: Place,
    /// Whether it was in the wrong place when its latest request began: it takes no more then.
    misplaced: AtomicBool,
    reuse: Reuse,
    member: Arc<Member>,
    timeout: Duration,
    cpu_time: Duration,
    shared: Arc<Shared>,
}

impl WorkerState for Serving {
    type StoreData = State;
    type RequestData = Arc<Activity>;

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        self.member.asked();
        if self.misplaced.load(Relaxed) || total >= self.reuse.requests || self.shared.end().is_some() {
            ShouldAccept::Never
        } else if concurrent >= self.reuse.concurrent {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        mut store: StoreContextMut<'_, State>,
        activity: Arc<Activity>,
        task: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        self.misplaced.store(self.place.is_wrong(), Relaxed);
        store.data_mut().session().depths.begin(task, activity.depth());
        self.member.begins();
        activity.joins(&self.shared);
        store.data_mut().tasks.begin(task, activity.context.clone());
        self.shared.cpu.allow(self.cpu_time);
        Box::pin(activity.stalled(self.timeout))
    }

    fn drop(&self, mut store: Store<State>, result: Result<()>) {
        if let Err(error) = result {
            store.data_mut().grants().note_trap(&error);
            self.place.stats.load.computed(TRAP);
            self.shared.ends(error.downcast_ref().cloned().map_or(Cause::Trap, Cause::Exceeded));
            match self.shared.end() {
                Some(End { cause: Cause::Abandoned, .. }) => {
                    tracing::debug!(component = &*self.component, "an instance ended that nobody waited for");
                }
                Some(End { cause: Cause::Late, requests }) => {
                    tracing::error!(component = &*self.component, requests, "{LATE}");
                }
                Some(End { cause: Cause::CutOff, requests }) => {
                    tracing::warn!(component = &*self.component, requests, "{CutOff}");
                }
                // With the names of the component's functions, from the innermost outwards.
                end => {
                    let requests = end.map_or(0, |end| end.requests);
                    tracing::error!(component = &*self.component, requests, "the instance trapped: {error:?}");
                }
            }
        }
        // Only now the bodies end that it was writing: they see that it failed.
        drop(store);
    }
}
