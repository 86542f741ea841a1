//! What files are asked for by path in WASI 0.2 and 0.3, in front of `wasmtime-wasi`: what leads out of the mounts or
//! would write is refused there, and is logged here.
//!
//! Paths below no mount are refused by the guest's own C library, so the host never sees them.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Linker};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types as p2;
use wasmtime_wasi::p2::bindings::filesystem::types::HostDescriptor as _;
use wasmtime_wasi::p3::bindings::filesystem::types as p3;
use wasmtime_wasi::p3::bindings::filesystem::types::HostDescriptorWithStore as _;
use wasmtime_wasi::{TrappableError, WasiView};

use crate::grants::Grants;

/// The methods that take a path, with the same parameters in both versions. A refusal names the path in brackets.
macro_rules! for_each_method {
    ($version:ident) => {
        $version!("create-directory-at", create_directory_at([path]));
        $version!("link-at", link_at(follow, [path], other, new));
        $version!("metadata-hash-at", metadata_hash_at(follow, [path]));
        $version!("open-at", open_at(follow, [path], open, flags));
        $version!("readlink-at", readlink_at([path]));
        $version!("remove-directory-at", remove_directory_at([path]));
        $version!("rename-at", rename_at([path], other, new));
        $version!("set-times-at", set_times_at(follow, [path], accessed, modified));
        $version!("stat-at", stat_at(follow, [path]));
        $version!("symlink-at", symlink_at(target, [path]));
        $version!("unlink-file-at", unlink_file_at([path]));
    };
}

/// The interfaces have the versions under which `wasmtime-wasi` provides them; components may import other compatible
/// ones.
pub(super) fn add_to_linker<T: WasiView + 'static>(
    linker: &mut Linker<T>,
    grants: fn(&mut T) -> &Arc<Grants>,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut interface = linker.instance("wasi:filesystem/types@0.2.12")?;
    macro_rules! p2 {
        ($name:literal, $method:ident($($before:ident,)* [$path:ident] $(, $after:ident)*)) => {
            interface.func_wrap_async(
                concat!("[method]descriptor.", $name),
                move |mut store: StoreContextMut<'_, T>, (directory, $($before,)* $path, $($after),*)| {
                    Box::new(async move {
                        let path: String = $path;
                        let mut files = store.data_mut().filesystem();
                        let answer = files.$method(directory, $($before,)* path.clone(), $($after),*).await;
                        let answer = code(answer)?;
                        note(&answer, grants(store.data_mut()), &path);
                        Ok((answer,))
                    })
                },
            )?;
        };
    }
    for_each_method!(p2);
    let mut interface = linker.instance("wasi:filesystem/types@0.3.0")?;
    macro_rules! p3 {
        ($name:literal, $method:ident($($before:ident,)* [$path:ident] $(, $after:ident)*)) => {
            interface.func_wrap_concurrent(
                concat!("[method]descriptor.", $name),
                move |accessor: &Accessor<T>, (directory, $($before,)* $path, $($after),*)| {
                    Box::pin(async move {
                        let path: String = $path;
                        let files = accessor.with_getter::<WasiFilesystem>(T::filesystem);
                        let answer =
                            WasiFilesystem::$method(&files, directory, $($before,)* path.clone(), $($after),*).await;
                        let answer = code(answer)?;
                        if let Err(p3::ErrorCode::NotPermitted | p3::ErrorCode::ReadOnly | p3::ErrorCode::Access) = answer {
                            accessor.with(|mut access| denied(grants(access.get()), &path));
                        }
                        Ok((answer,))
                    })
                },
            )?;
        };
    }
    for_each_method!(p3);
    linker.allow_shadowing(false);
    Ok(())
}

/// An answer for the guest, or a trap.
pub(super) fn code<R, C: std::error::Error + Send + Sync + 'static>(
    answer: Result<R, TrappableError<C>>,
) -> wasmtime::Result<Result<R, C>> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => error.downcast().map(Err),
    }
}

/// Logs a refusal that WASI 0.2 answers.
pub(super) fn note<R>(answer: &Result<R, p2::ErrorCode>, grants: &Grants, path: &str) {
    if let Err(p2::ErrorCode::NotPermitted | p2::ErrorCode::ReadOnly | p2::ErrorCode::Access) = answer {
        denied(grants, path);
    }
}

fn denied(grants: &Grants, path: &str) {
    grants.denied("the file", path, "files");
}
