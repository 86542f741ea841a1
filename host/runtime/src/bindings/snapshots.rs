//! WASI's release candidates that Spin's older SDKs use: 0.2.0-rc-2023-10-18 (Rust SDK 2),
//! 0.2.0-rc-2023-11-10, and 0.3.0-rc-2026-03-15 (Rust SDK 6).
//!
//! Almost all of their interfaces are those of the release, so a component is given the releases'
//! implementations: its imports and exports are renamed ([`renamed`]), and only functions whose
//! types differ are defined here, for such components alone ([`add_to_linker`]).
//!
//! Not provided: what the release dropped and no SDK calls (`wasi:clocks/timezone`, and of
//! 0.2.0-rc-2023-10-18 the sockets, and of its files locks and permissions).

mod candidate_2023_10_18;
mod candidate_2023_11_10;

use wasmtime::Result;
use wasmtime::component::{Linker, LinkerInstance};

use crate::network::SessionView;

/// A candidate's version, and what stands for it: semantically compatible with the release, and a
/// version that nobody has released.
const RENAMED: &[(&str, &str)] =
    &[("0.2.0-rc-2023-10-18", OCTOBER), ("0.2.0-rc-2023-11-10", NOVEMBER), ("0.3.0-rc-2026-03-15", "0.3.260315")];

const OCTOBER: &str = "0.2.231018";
const NOVEMBER: &str = "0.2.231110";

/// The version of WASI 0.2 that Wasmtime defines.
const RELEASE: &str = "0.2.12";

/// The name to give an import or export of a release candidate of WASI; `None`: the one it has.
pub(crate) fn renamed(name: &str) -> Option<String> {
    let (interface, version) = name.split_once('@')?;
    if !interface.starts_with("wasi:") {
        return None;
    }
    let (_, stand_in) = RENAMED.iter().find(|(candidate, _)| *candidate == version)?;
    Some(format!("{interface}@{stand_in}"))
}

/// Replaces in `linker`, which is for one component alone and has WASI's releases, what is
/// different in the candidates that the component imports.
///
/// # Errors
/// None, but for a fault of this host.
pub(crate) fn add_to_linker<'a, T: SessionView>(
    linker: &mut Linker<T>,
    imports: impl Iterator<Item = &'a str>,
) -> Result<()> {
    for import in imports {
        let Some((interface, version)) = import.split_once('@') else { continue };
        let add: fn(&mut LinkerInstance<'_, T>) -> Result<()> = match (interface, version) {
            ("wasi:http/types", NOVEMBER) => candidate_2023_11_10::http_types,
            ("wasi:sockets/tcp", NOVEMBER) => candidate_2023_11_10::tcp,
            ("wasi:sockets/udp", NOVEMBER) => candidate_2023_11_10::udp,
            ("wasi:http/types", OCTOBER) => candidate_2023_10_18::http_types,
            ("wasi:http/outgoing-handler", OCTOBER) => candidate_2023_10_18::outgoing_handler,
            ("wasi:io/poll", OCTOBER) => candidate_2023_10_18::poll,
            ("wasi:io/streams", OCTOBER) => candidate_2023_10_18::streams,
            ("wasi:clocks/monotonic-clock", OCTOBER) => candidate_2023_10_18::monotonic_clock,
            ("wasi:filesystem/types", OCTOBER) => candidate_2023_10_18::filesystem,
            _ => continue,
        };
        linker.allow_shadowing(true);
        add(&mut linker.instance(&format!("{interface}@{RELEASE}"))?)?;
        linker.allow_shadowing(false);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_candidates_of_wasi_are_renamed() {
        assert_eq!(renamed("wasi:io/poll@0.2.0-rc-2023-10-18").as_deref(), Some("wasi:io/poll@0.2.231018"));
        assert_eq!(renamed("wasi:http/types@0.3.0-rc-2026-03-15").as_deref(), Some("wasi:http/types@0.3.260315"));
        for other in ["wasi:io/poll@0.2.0", "a:b/c@0.2.0-rc-2023-10-18", "wasi:keyvalue/store@0.2.0-draft2", "plain"] {
            assert_eq!(renamed(other), None, "{other}");
        }
    }
}
