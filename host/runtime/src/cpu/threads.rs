//! The computing threads: where guests compute for long, beside the threads that serve.
//!
//! There are as many as cores, and they are nicer than the others. So guests that compute have the
//! whole machine while nothing else wants it, a request that comes in is looked at as soon as the
//! kernel knows of it, and under any load about a tenth of each core stays theirs.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::Poll;
use std::thread::available_parallelism;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// Added to the niceness of this process: a weight of about a tenth of the usual one (sched(7)).
const NICER: i32 = 10;

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

/// How many cores this process may use.
pub(super) fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Whether this thread is there to compute.
pub(crate) fn is_computing() -> bool {
    COMPUTING.get()
}

/// The guest that runs on this thread has computed through a tick.
pub(super) fn through() {
    THROUGH.set(true);
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

/// Makes this thread give way to others, where the system has niceness for threads.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        let nice = rustix::process::getpriority_process(None).unwrap_or(0).saturating_add(NICER).min(19);
        // It is allowed to everybody; without it the thread is like the others.
        _ = rustix::process::setpriority_process(None, nice);
    }
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
        assert_eq!(gently(nice), (here + NICER).min(19));
        assert_eq!(nice(), here);
    }
}
