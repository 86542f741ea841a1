//! The public HTTP API: accounts, uploads, jobs, downloads.
//!
//! - [`choices`]: what an upload asks of the MP3;
//! - [`route`]: which request asks for what;
//! - [`upload`]: which bodies are accepted, and the name a file gets;
//! - [`download`]: conditions, ranges and the headers of an MP3's answer;
//! - [`events`]: a job's course as server-sent events;
//! - [`view`]: what a client sees of a job.
//!
//! It decides who may do what; the component `auth` says who somebody is.

pub mod choices;
pub mod download;
pub mod events;
pub mod route;
pub mod upload;
pub mod view;

#[cfg(target_family = "wasm")]
mod guest;
