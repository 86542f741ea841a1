//! Components of Spin's SDKs, 7, 6 and 5, call each interface as programs written for Spin do.

mod key_value;
mod redis;
mod refusals;
mod sqlite;
mod up;
mod variables;
