//! How components serve HTTP: which one answers a path, its instances, and their deadlines.

mod activity;
mod fixed;
mod headers;
mod instances;
mod routes;

pub(crate) use self::activity::{Activity, Tracked};
pub(crate) use self::fixed::Fixed;
pub(crate) use self::headers::Labels;
pub(crate) use self::routes::{Routes, Target};
