//! `tessera`: runs the components of a `spin.toml` on Wasmtime.
//!
//! Modules import downwards only: `cli -> compose -> {admin, trigger} -> {app, server} -> engine ->
//! {bindings, state, stdio} -> network -> {cpu, grants, variables} -> log_rate -> {config, exceeded, manifest, stats} ->
//! {diagnostic, trace}`; only `compose` knows concrete engines.

mod admin;
mod app;
mod bindings;
mod cli;
mod compose;
mod config;
mod counted;
mod cpu;
mod diagnostic;
mod engine;
mod exceeded;
mod grants;
mod log_rate;
mod manifest;
mod network;
mod server;
mod state;
mod stats;
mod stdio;
mod telemetry;
mod trace;
mod trigger;
mod variables;

use std::process::ExitCode;

use anstream::eprintln;
use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
