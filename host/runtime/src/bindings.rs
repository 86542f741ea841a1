//! Between WIT and the capability traits: the glue exists once per capability and sees no engine.
//!
//! Every function resolves its grant first, so that what the manifest does not name answers
//! `denied`. Guests read an outcome and a short text; causes go to the log.

mod blob;
mod files;
mod keyvalue;
pub(crate) mod legacy_http;
mod mail;
mod queue;
pub(crate) mod snapshots;
pub(crate) mod spin;
mod stream;
mod variables;

use std::sync::Arc;

use tessera_capability::Error;
use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::WasiView;

use crate::grants::Grants;

mod generated {
    #![allow(missing_docs, unreachable_pub)]
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "tessera:platform/queue-consumer",
        imports: { default: async | store | trappable },
        exports: { default: async | store },
    });
}

pub(crate) use generated::QueueConsumerPre;
pub(crate) use queue::Rejection;

/// What the host functions need of a store's data: the calling component's grants.
pub(crate) struct Host;

impl HasData for Host {
    type Data<'a> = &'a Arc<Grants>;
}

/// Provides every capability to `linker`, and logs what WASI refuses of files; what a component may do is in its grants.
pub(crate) fn add_to_linker<T: WasiView + 'static>(
    linker: &mut Linker<T>,
    grants: fn(&mut T) -> &Arc<Grants>,
    spin: fn(&mut T) -> spin::View<'_>,
) -> wasmtime::Result<()> {
    generated::tessera::keyvalue::store::add_to_linker::<T, Host>(linker, grants)?;
    generated::tessera::blob::store::add_to_linker::<T, Host>(linker, grants)?;
    generated::tessera::queue::producer::add_to_linker::<T, Host>(linker, grants)?;
    generated::tessera::mail::sender::add_to_linker::<T, Host>(linker, grants)?;
    generated::spin::variables::variables::add_to_linker::<T, Host>(linker, grants)?;
    files::add_to_linker(linker, grants)?;
    spin::add_to_linker(linker, spin)
}

/// Logs what the guest is not told: the cause of an outage or of a fault.
fn log_cause(grants: &Grants, call: &str, error: &Error) {
    let component = &*grants.component;
    match error {
        Error::Unavailable { .. } | Error::Internal { .. } if !grants.log_rate.admits() => {}
        Error::Unavailable { .. } => {
            tracing::warn!(component, call, error = error as &dyn std::error::Error, "capability unavailable");
        }
        Error::Internal { .. } => {
            tracing::error!(component, call, error = error as &dyn std::error::Error, "capability failed");
        }
        _ => {}
    }
}
