//! Keeps every event of every queue, and lists them for admins.
//!
//! - [`report`]: what is kept of a delivery, and under which key;
//! - [`filter`]: which topics a list shows;
//! - [`page`]: the arithmetic of pages.
//!
//! A delivery that comes again writes the same key, so it is kept and counted once.

pub mod filter;
pub mod page;
pub mod report;

#[cfg(target_family = "wasm")]
mod guest;
