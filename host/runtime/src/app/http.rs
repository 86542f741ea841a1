//! How components serve HTTP: which one answers a path, its instances, and their deadlines.

mod activity;
mod answer;
mod body;
mod crew;
mod fixed;
mod handler;
mod headers;
mod instances;
mod routes;
mod shared;
mod wagi;
mod whole;

pub(crate) use self::answer::{Refused, answer};
pub(crate) use self::fixed::Fixed;
pub(crate) use self::handler::Handler;
pub(crate) use self::headers::Labels;
pub(crate) use self::routes::{Routes, Target};
