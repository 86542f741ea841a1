//! The context that a thread works for.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use pin_project_lite::pin_project;

use super::Context;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Context>>> = const { RefCell::new(None) };
}

/// What this thread works for now.
pub(crate) fn current() -> Option<Arc<Context>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Makes a context current, and answers the one before.
pub(super) fn replace(context: Option<Arc<Context>>) -> Option<Arc<Context>> {
    CURRENT.replace(context)
}

/// Until it is dropped, a context is current. Not for code with an `await` in it.
pub(crate) struct Entered(Option<Arc<Context>>);

/// Makes a context current until the answer is dropped.
pub(crate) fn enter(context: Option<Arc<Context>>) -> Entered {
    Entered(replace(context))
}

impl Drop for Entered {
    fn drop(&mut self) {
        replace(self.0.take());
    }
}

pin_project! {
    /// A future in whose polls a context is current.
    pub(crate) struct Scope<F> {
        context: Option<Arc<Context>>,
        #[pin]
        future: F,
    }
}

/// Runs `future` with `context` as the current one.
pub(crate) fn scope<F: Future>(context: Option<Arc<Context>>, future: F) -> Scope<F> {
    Scope { context, future }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = enter(this.context.clone());
        this.future.poll(task)
    }
}
