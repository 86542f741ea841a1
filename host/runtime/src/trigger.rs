//! What makes components run.

pub(crate) mod http;
pub(crate) mod queue;
pub(crate) mod redis;
