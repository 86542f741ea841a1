//! Which request a guest works for: an instance may have several at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use wasmtime::component::GuestTaskId;
use wasmtime::{CallHook, Result, Store};

use super::Context;
use super::current::replace;

/// So many of an instance's latest tasks are known; an older one that still runs is nobody's.
const MOST: usize = 64;

/// The contexts of an instance's tasks.
#[derive(Default)]
pub(crate) struct Tasks {
    /// Of whatever the instance does, if it was made for one piece of work.
    all: Option<Arc<Context>>,
    latest: VecDeque<(GuestTaskId, Arc<Context>)>,
}

impl Tasks {
    /// The instance was made for this.
    pub(crate) fn all(&mut self, context: Option<Arc<Context>>) {
        self.all = context;
    }

    /// A call of the instance began.
    pub(crate) fn begin(&mut self, task: GuestTaskId, context: Option<Arc<Context>>) {
        let Some(context) = context else { return };
        if self.latest.len() >= MOST {
            self.latest.pop_front();
        }
        self.latest.push_back((task, context));
    }

    /// Whose work the task does whose call stack this is; it is looked at only if it matters.
    fn of<I: Iterator<Item = GuestTaskId>>(&self, stack: impl FnOnce() -> Result<I>) -> Result<Option<Arc<Context>>> {
        if self.all.is_some() || self.latest.len() < 2 {
            return Ok(self.all.clone().or_else(|| self.latest.front().map(|(_, context)| Arc::clone(context))));
        }
        Ok(stack()?.find_map(|task| self.find(task).cloned()))
    }

    /// From the latest on: it is most often the one at work.
    fn find(&self, task: GuestTaskId) -> Option<&Arc<Context>> {
        self.latest.iter().rev().find(|(other, _)| *other == task).map(|(_, context)| context)
    }
}

/// Lets the context of the task that calls the host be the current one during the call's first,
/// synchronous part. A host function that goes on later takes it along from there.
pub(crate) fn follow<T: 'static>(store: &mut Store<T>, tasks: fn(&mut T) -> &mut Tasks) {
    let mut before = None;
    store.call_hook(move |mut store, hook| {
        match hook {
            CallHook::CallingHost => {
                // Out of the store while that is asked for the stack: this costs each call of the host.
                let known = std::mem::take(tasks(store.data_mut()));
                let context = known.of(|| store.async_call_stack());
                *tasks(store.data_mut()) = known;
                before = replace(context?);
            }
            CallHook::ReturningFromHost => _ = replace(before.take()),
            _ => {}
        }
        Ok(())
    });
}
