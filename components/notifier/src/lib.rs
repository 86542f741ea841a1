//! Tells users by mail how their jobs ended.
//!
//! - [`letter`]: what the mail says.
//!
//! At most one mail per job: its idempotency key is the job's id.

pub mod letter;

#[cfg(target_family = "wasm")]
mod guest;
