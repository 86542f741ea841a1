//! What differs in 0.2.0-rc-2023-11-10.

use wasmtime::component::{LinkerInstance, Resource};
use wasmtime::{Result, StoreContextMut, bail};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode as SocketError;
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::UdpSocket;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, Fields, FutureTrailers, HostFutureTrailers as _, HostRequestOptions as _, RequestOptions,
};

type Trailers = Option<Result<Option<Resource<Fields>>, ErrorCode>>;

/// Options of a request ended in `-ms`, though they were nanoseconds too.
pub(super) fn http_types<T: WasiHttpView + 'static>(linker: &mut LinkerInstance<'_, T>) -> Result<()> {
    macro_rules! option {
        ($get:ident, $set:ident, $name:literal) => {
            linker.func_wrap(
                concat!("[method]request-options.", $name, "-ms"),
                |mut store: StoreContextMut<'_, T>, (options,): (Resource<RequestOptions>,)| {
                    Ok((store.data_mut().http().$get(options)?,))
                },
            )?;
            linker.func_wrap(
                concat!("[method]request-options.set-", $name, "-ms"),
                |mut store: StoreContextMut<'_, T>, (options, duration): (Resource<RequestOptions>, Option<u64>)| {
                    Ok((store.data_mut().http().$set(options, duration)?,))
                },
            )?;
        };
    }
    option!(connect_timeout, set_connect_timeout, "connect-timeout");
    option!(first_byte_timeout, set_first_byte_timeout, "first-byte-timeout");
    option!(between_bytes_timeout, set_between_bytes_timeout, "between-bytes-timeout");
    linker.func_wrap(
        "[method]future-trailers.get",
        |mut store: StoreContextMut<'_, T>, (trailers,): (Resource<FutureTrailers>,)| -> Result<(Trailers,)> {
            Ok((match store.data_mut().http().get(trailers)? {
                None => None,
                Some(Ok(result)) => Some(result),
                // The candidate had no way to say this.
                Some(Err(())) => bail!("the trailers were taken before"),
            },))
        },
    )
}

/// The release has no such option, and nothing here that it could be set on.
macro_rules! without_ipv6_only {
    ($function:ident, $socket:ty, $name:literal) => {
        pub(super) fn $function<T: WasiView + 'static>(linker: &mut LinkerInstance<'_, T>) -> Result<()> {
            linker.func_wrap(
                concat!("[method]", $name, ".ipv6-only"),
                |_: StoreContextMut<'_, T>, (_,): (Resource<$socket>,)| {
                    Ok((Err::<bool, _>(SocketError::NotSupported),))
                },
            )?;
            linker.func_wrap(
                concat!("[method]", $name, ".set-ipv6-only"),
                |_: StoreContextMut<'_, T>, (_, _): (Resource<$socket>, bool)| {
                    Ok((Err::<(), _>(SocketError::NotSupported),))
                },
            )
        }
    };
}

without_ipv6_only!(tcp, TcpSocket, "tcp-socket");
without_ipv6_only!(udp, UdpSocket, "udp-socket");
