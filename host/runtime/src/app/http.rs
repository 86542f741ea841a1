//! How components serve HTTP: which one answers a path, its instances, and their deadlines.

mod activity;
mod answer;
mod body;
mod fixed;
mod headers;
mod instances;
mod routes;
mod shared;

pub(crate) use self::answer::{Refused, answer};
pub(crate) use self::fixed::Fixed;
pub(crate) use self::headers::Labels;
pub(crate) use self::instances::Instances;
pub(crate) use self::routes::{Routes, Target};
