//! How deep in a chain of calls between components an instance's requests are.
//!
//! Calls that come back to their caller would go on until no instance is left. A chain's length
//! is kept beside each request, because guests make new requests and forward no header.

use std::collections::VecDeque;

use wasmtime::component::GuestTaskId;

/// The longest chain of calls between components.
pub(crate) const MAX_DEPTH: u8 = 16;

/// How many calls between components led to a request; beside it as an extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Depth(pub(crate) u8);

/// More tasks than any instance has at a time.
const MAX_TASKS: usize = 1024;

/// The depths of an instance's tasks; most are 0 and not kept.
#[derive(Default)]
pub(crate) struct Depths {
    /// Of tasks that are not in the list.
    base: u8,
    tasks: VecDeque<(GuestTaskId, u8)>,
}

impl Depths {
    /// All tasks of the instance are this deep, if nothing else is known.
    pub(crate) fn set_base(&mut self, depth: u8) {
        self.base = depth;
    }

    /// A task begins.
    pub(crate) fn begin(&mut self, task: GuestTaskId, depth: u8) {
        if depth > 0 {
            if self.tasks.len() >= MAX_TASKS {
                self.tasks.pop_front();
            }
            self.tasks.push_back((task, depth));
        }
    }

    /// The depth of the task whose call stack this is.
    pub(crate) fn of(&self, mut stack: impl Iterator<Item = GuestTaskId>) -> u8 {
        stack.find_map(|task| self.tasks.iter().rev().find(|(other, _)| *other == task)).map_or(self.base, |(_, d)| *d)
    }
}
