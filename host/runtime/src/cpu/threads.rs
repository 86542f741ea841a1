//! The computing threads: where guests compute for long, beside the threads that serve.
//!
//! There are as many as cores, and they are as nice as the kernel lets them be. So guests that
//! compute have the whole machine while nothing else wants it, and a request that comes in is looked
//! at as soon as the kernel knows of it. Where others want all of a core, about a hundredth of it
//! stays theirs.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::Poll;
#[cfg(target_os = "linux")]
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;

use super::cores;
use super::places::{anywhere, computes};

/// The niceness of a thread that gives way: a weight of about a hundredth of the usual one (sched(7)).
/// `SCHED_IDLE` would be meeker still, but guests could then starve beside other programs.
const NICE: i32 = 19;

thread_local! {
    /// Whether this is a computing thread.
    static COMPUTING: Cell<bool> = const { Cell::new(false) };
    /// Whether a guest has computed through a tick on this thread since somebody asked.
    static THROUGH: Cell<bool> = const { Cell::new(false) };
}

/// They live as long as the process. `None`: the system gives no more threads.
static THREADS: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread()
        .worker_threads(cores())
        .thread_name("computing")
        .on_thread_start(|| {
            COMPUTING.set(true);
            give_way();
        })
        .enable_all()
        .build();
    runtime.inspect_err(|error| tracing::warn!(%error, "there are no threads to compute on")).ok()
});

/// Whether this thread is there to compute.
pub(crate) fn is_computing() -> bool {
    COMPUTING.get()
}

/// The guest that runs on this thread has computed through a tick.
pub(super) fn through() {
    THROUGH.set(true);
    if is_computing() {
        computes();
    }
}

/// Does `work` of the host's own that uses all cores (by rayon), such as compiling a component, on
/// threads that give way to those that serve. Blocks.
pub(crate) fn gently<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static THREADS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
        let threads = ThreadPoolBuilder::new().num_threads(cores()).start_handler(|_| give_way());
        threads.build().inspect_err(|error| tracing::warn!(%error, "there are no threads to compile on")).ok()
    });
    match &*THREADS {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

/// For how long a thread asks to have its core at a time: as long as the kernel grants. Whoever wakes
/// up and asks for less, as all do by default, goes first, and a thread that gives up its core
/// ([`super::places`]) gives up as much (since Linux 6.12; earlier ones know no slices of threads).
#[cfg(target_os = "linux")]
const SLICE: Duration = Duration::from_millis(100);

/// Makes this thread, which begins, give way to others, where the system has niceness for threads.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "neither std nor rustix has sched_setattr")]
fn give_way() {
    anywhere();
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: NICE,
        sched_priority: 0,
        sched_runtime: SLICE.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // It is allowed to everybody; without it the thread is like the others.
    // SAFETY: the kernel reads one structure of the size that stands in it, and keeps nothing of it.
    _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

#[cfg(not(target_os = "linux"))]
fn give_way() {
    anywhere();
}

/// Runs `work` here until a guest in it has computed through a tick, and on the computing threads
/// from then on. Dropping it ends it.
pub(crate) async fn aside<W>(work: W) -> W::Output
where
    W: Future<Output: Send> + Send + 'static,
{
    let mut work = Box::pin(work);
    let begun = poll_fn(|cx| {
        THROUGH.set(false);
        match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if THROUGH.get() && !is_computing() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    if let Some(output) = begun.await {
        return output;
    }
    let Some(threads) = &*THREADS else { return work.await };
    match AbortOnDropHandle::new(threads.spawn(work)).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The threads outlive all work, and nobody else can abort it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Polls `work` so that the tasks it spawns are for the computing threads, if they `compute`, or
/// for the threads that `serve`.
pub(crate) async fn spawning<W: Future>(work: W, compute: bool, serve: &Handle) -> W::Output {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let _entered = match (&*THREADS, compute, is_computing()) {
            (Some(threads), true, false) => Some(threads.enter()),
            (_, false, true) => Some(serve.enter()),
            _ => None,
        };
        work.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn what_computes_goes_aside_and_what_waits_stays() {
        let waits = async {
            yield_now().await;
            is_computing()
        };
        assert!(!aside(waits).await);
        let computes = async {
            through();
            yield_now().await;
            is_computing()
        };
        assert!(aside(computes).await);
    }

    #[tokio::test]
    async fn what_went_aside_ends_when_it_is_dropped_and_panics_where_it_began() {
        let (sender, dropped) = oneshot::channel::<()>();
        let (moved, is_moved) = oneshot::channel();
        let task = tokio::spawn(aside(async move {
            let _sender = sender;
            through();
            yield_now().await;
            moved.send(is_computing()).expect("somebody asks");
            std::future::pending::<()>().await;
        }));
        assert!(is_moved.await.expect("it goes on"));
        task.abort();
        assert!(dropped.await.is_err());
        let panics = aside(async {
            through();
            yield_now().await;
            panic!("there");
        });
        let panic: Result<(), _> = std::panic::AssertUnwindSafe(panics).catch_unwind().await;
        assert_eq!(panic.expect_err("a panic").downcast_ref(), Some(&"there"));
    }

    #[tokio::test]
    async fn tasks_are_spawned_where_they_belong() {
        let spawned = || async { tokio::spawn(async { is_computing() }).await.expect("a task") };
        let serve = Handle::current();
        assert!(!spawning(spawned(), false, &serve).await);
        assert!(spawning(spawned(), true, &serve).await);
        let back = async move { tokio::spawn(async move { spawning(spawned(), false, &serve).await }).await };
        assert!(!spawning(back, true, &Handle::current()).await.expect("a task"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn compiling_gives_way() {
        let nice = || rustix::process::getpriority_process(None).expect("a priority");
        let here = nice();
        assert_eq!(gently(nice), NICE);
        assert_eq!(nice(), here);
    }
}
