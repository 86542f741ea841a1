//! The application and the host as their users meet them: real components in `tessera up`, over
//! real HTTP, with real media. Run by `cargo xtask test`, which builds what they need first.
//!
//! - [`story`]: from registration to a downloaded MP3 that sounds like its video;
//! - [`api`], [`accounts`], [`bad_input`]: what the application answers to whom;
//! - [`choices`], [`events`], [`cancel`]: what users choose for each upload, watch and stop;
//! - [`parts`], [`lame`]: what the converter makes, in parts and bit for bit;
//! - [`crash`], [`memory`]: what is promised under `kill -9` and for large uploads;
//! - [`admin`], [`admin_listener`]: what operators see and do, and from where;
//! - [`grants`], [`limits`], [`overload`], [`http`], [`network`], [`outgoing`], [`queue`], [`spin_http`], [`start`], [`stopping`]:
//!   what the host promises to any component;
//! - HTTPS: [`tls`]; traces and logs: [`telemetry`]; `tessera doctor`: [`doctor`];
//! - [`spin`]: what components of Spin's SDKs find here;
//! - [`variables`]: where variables get their values;
//! - [`engines`]: the story on Redis and SMTP;
//! - [`extremes`]: every binding with values that no sane guest uses;
//! - [`edges`]: who may import whom in `host/`;
//! - [`swap`]: new versions, changed manifests and configuration in a running application;
//! - [`support`]: servers, clients, media.

// Everything here is a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::cast_precision_loss)]

mod accounts;
mod admin;
mod admin_listener;
mod api;
mod bad_input;
mod cancel;
mod choices;
mod crash;
mod doctor;
mod edges;
mod engines;
mod events;
mod extremes;
mod grants;
mod http;
mod lame;
mod limits;
mod memory;
mod network;
mod outgoing;
mod overload;
mod parts;
mod queue;
mod spin;
mod spin_binaries;
mod spin_http;
mod start;
mod stopping;
mod story;
mod support;
mod swap;
mod telemetry;
mod tls;
mod variables;
