//! CPU time: how long a guest has computed, and which of those that compute for long goes next.
//!
//! A guest that answers quickly never meets any of this. One that computes through a whole
//! [`TICK`] gets a [`Turn`] for each further one, on the computing threads: a delivery and a call
//! move there at once ([`aside`]); an instance for HTTP cannot move, so it is made there if its
//! component's calls compute through a tick on average ([`spawning`]). On the threads that serve
//! there are fewer turns at a time than threads, so guests that compute cannot hold up those that
//! only answer. While both have much to do, they share fewer cores (`places`).

mod meter;
mod places;
mod threads;
mod turns;

use std::thread::available_parallelism;
use std::time::Duration;

pub(crate) use self::meter::{Meter, Tick};
pub(crate) use self::places::{Places, anywhere, serves};
pub(crate) use self::threads::{aside, gently, is_computing, spawning};
pub(crate) use self::turns::{Turn, Turns};

/// How long a guest computes before others are looked after.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// How many cores this process may use.
fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}
