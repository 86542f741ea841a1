//! The interfaces of Spin, and of the standard drafts, over the same capability traits as ours: what
//! is written through one is read through the others.
//!
//! An error text here may stand in programs that were written for Spin, so it says what Spin's
//! says where programs can be expected to look.

mod inbound_redis;
mod key_value;
mod redis;
mod sqlite;
mod variables;
mod wasi_key_value;

use std::sync::Arc;

use tessera_capability::Error;
use wasmtime::component::{HasData, Linker, ResourceTable};

pub(crate) use self::inbound_redis::RedisSubscriberPre;
use super::log_cause;
use crate::grants::Grants;

mod generated {
    #![allow(missing_docs, unreachable_pub)]
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "tessera:platform/spin",
        imports: { default: async | trappable },
        with: {
            "fermyon:spin/key-value@2.0.0.store": super::key_value::Opened,
            "spin:key-value/key-value.store": super::key_value::Opened,
            "wasi:keyvalue/store@0.2.0-draft.bucket": super::key_value::Opened,
            "wasi:keyvalue/store@0.2.0-draft2.bucket": super::key_value::Opened,
            "wasi:keyvalue/atomics@0.2.0-draft2.cas": super::wasi_key_value::Swap,
            "fermyon:spin/sqlite@2.0.0.connection": super::sqlite::Connected,
            "spin:sqlite/sqlite.connection": super::sqlite::Connected,
            "fermyon:spin/redis@2.0.0.connection": super::redis::Connected,
            "spin:redis/redis.connection": super::redis::Connected,
        },
    });
}

/// The most stores, connections and the like that an instance may have open at a time: Spin's
/// number.
const MAX_OPEN: usize = 256;

/// The most bytes of one answer that is not a stream.
const MAX_RESULT: usize = 16 << 20;

/// A table for what an instance opens through these interfaces.
pub(crate) fn table() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(MAX_OPEN);
    table
}

/// What these host functions need of a store's data.
pub(crate) struct View<'a> {
    /// What the component may use.
    pub(crate) grants: &'a Arc<Grants>,
    /// What this instance has open, from [`table`].
    pub(crate) open: &'a mut ResourceTable,
}

struct Spin;

impl HasData for Spin {
    type Data<'a> = View<'a>;
}

/// Provides the interfaces to `linker`.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> View<'_>,
) -> wasmtime::Result<()> {
    use generated::{fermyon, spin, wasi};
    fermyon::spin::key_value::add_to_linker::<T, Spin>(linker, view)?;
    fermyon::spin2_0_0::key_value::add_to_linker::<T, Spin>(linker, view)?;
    spin::key_value::key_value::add_to_linker::<T, Spin>(linker, view)?;
    wasi::keyvalue0_2_0_draft::store::add_to_linker::<T, Spin>(linker, view)?;
    wasi::keyvalue0_2_0_draft::atomics::add_to_linker::<T, Spin>(linker, view)?;
    wasi::keyvalue0_2_0_draft::batch::add_to_linker::<T, Spin>(linker, view)?;
    wasi::keyvalue0_2_0_draft2::store::add_to_linker::<T, Spin>(linker, view)?;
    wasi::keyvalue0_2_0_draft2::atomics::add_to_linker::<T, Spin>(linker, view)?;
    wasi::keyvalue0_2_0_draft2::batch::add_to_linker::<T, Spin>(linker, view)?;
    fermyon::spin::config::add_to_linker::<T, Spin>(linker, view)?;
    fermyon::spin2_0_0::variables::add_to_linker::<T, Spin>(linker, view)?;
    wasi::config0_2_0_draft_2024_09_27::store::add_to_linker::<T, Spin>(linker, view)?;
    wasi::config0_2_0_rc_1::store::add_to_linker::<T, Spin>(linker, view)?;
    fermyon::spin::sqlite::add_to_linker::<T, Spin>(linker, view)?;
    fermyon::spin2_0_0::sqlite::add_to_linker::<T, Spin>(linker, view)?;
    spin::sqlite::sqlite::add_to_linker::<T, Spin>(linker, view)?;
    fermyon::spin::redis_types::add_to_linker::<T, Spin>(linker, view)?;
    fermyon::spin::redis::add_to_linker::<T, Spin>(linker, view)?;
    fermyon::spin2_0_0::redis::add_to_linker::<T, Spin>(linker, view)?;
    spin::redis::redis::add_to_linker::<T, Spin>(linker, view)
}

/// The text of an error that has no case of its own; its cause goes to the log.
fn text(grants: &Grants, call: &str, error: &Error) -> String {
    log_cause(grants, call, error);
    match error {
        Error::Internal { .. } => "internal error".to_owned(),
        Error::Unavailable { message, .. } => message.clone(),
        Error::Invalid(text) | Error::Denied(text) | Error::Full(text) | Error::TooLarge(text) => text.clone(),
        error => error.to_string(),
    }
}

/// The text for an answer over [`MAX_RESULT`].
fn too_much() -> Error {
    Error::TooLarge(format!("query result exceeds limit of {MAX_RESULT} bytes"))
}
