//! `tessera`: runs the components of a `spin.toml` on Wasmtime.

mod app;
mod bindings;
mod diagnostic;
mod engine;
mod grants;
mod manifest;
mod state;
mod stdio;
mod trigger;

fn main() {}
