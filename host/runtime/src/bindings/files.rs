//! Opening files in WASI 0.2 and 0.3, in front of `wasmtime-wasi`'s: what leads out of the mounts or would write is
//! refused there, and is logged here.
//!
//! Paths below no mount are refused by the guest's own C library, so the host never sees them.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types as p2;
use wasmtime_wasi::p2::bindings::filesystem::types::HostDescriptor as _;
use wasmtime_wasi::p3::bindings::filesystem::types as p3;
use wasmtime_wasi::p3::bindings::filesystem::types::HostDescriptorWithStore as _;

use crate::grants::Grants;

const OPEN: &str = "[method]descriptor.open-at";

/// The parameters of both versions of opening.
type Open<Descriptor, PathFlags, OpenFlags, Flags> = (Resource<Descriptor>, PathFlags, String, OpenFlags, Flags);

/// The interfaces have the versions under which `wasmtime-wasi` provides them; components may import other compatible
/// ones.
pub(super) fn add_to_linker<T: WasiView + 'static>(
    linker: &mut Linker<T>,
    grants: fn(&mut T) -> &Arc<Grants>,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:filesystem/types@0.2.12")?.func_wrap_async(
        OPEN,
        move |mut store: StoreContextMut<'_, T>,
              (directory, follow, path, open, flags): Open<p2::Descriptor, _, _, _>| {
            Box::new(async move {
                let opened = store.data_mut().filesystem().open_at(directory, follow, path.clone(), open, flags).await;
                let opened: Result<Resource<p2::Descriptor>, _> = match opened {
                    Ok(file) => Ok(file),
                    Err(error) => Err(error.downcast()?),
                };
                if let Err(p2::ErrorCode::NotPermitted | p2::ErrorCode::ReadOnly | p2::ErrorCode::Access) = opened {
                    denied(grants(store.data_mut()), &path);
                }
                Ok((opened,))
            })
        },
    )?;
    linker.instance("wasi:filesystem/types@0.3.0")?.func_wrap_concurrent(
        OPEN,
        move |accessor: &Accessor<T>, (directory, follow, path, open, flags): Open<p3::Descriptor, _, _, _>| {
            Box::pin(async move {
                let files = accessor.with_getter::<WasiFilesystem>(T::filesystem);
                let opened = WasiFilesystem::open_at(&files, directory, follow, path.clone(), open, flags).await;
                let opened: Result<Resource<p3::Descriptor>, _> = match opened {
                    Ok(file) => Ok(file),
                    Err(error) => Err(error.downcast()?),
                };
                if let Err(p3::ErrorCode::NotPermitted | p3::ErrorCode::ReadOnly | p3::ErrorCode::Access) = opened {
                    accessor.with(|mut access| denied(grants(access.get()), &path));
                }
                Ok((opened,))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn denied(grants: &Grants, path: &str) {
    grants.denied("the file", path, "files");
}
