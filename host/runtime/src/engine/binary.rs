//! What may stand in a component's file: a component, or what toolchains made before there were
//! components and before WASI had releases.
//!
//! - A core module (`wasm32-wasi`, `wasm32-wasip1`) is turned into a component by `wit-component`
//!   with Wasmtime's adapter for preview 1, as `wasm-tools component new` does.
//! - Imports and exports of WASI's release candidates get the name of the release that took them
//!   over ([`snapshots`] says which those are, and provides what is different there).
//!
//! Both depend on the file alone, so the result is found in the cache of compiled components.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW1, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as COMMAND,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as REACTOR,
};
use wasm_encoder::{Encode as _, RawSection, Section as _};
use wasmparser::{
    BinaryReader, BinaryReaderError, ComponentExportSectionReader, ComponentImportSectionReader, Encoding, Parser,
    Payload,
};
use wit_component::ComponentEncoder;

use crate::bindings::snapshots;

/// The magic number and version that every Wasm binary begins with.
const HEADER: usize = 8;

/// Sections of a component, by their numbers in its binary format.
const IMPORTS: u8 = 10;
const EXPORTS: u8 = 11;

/// Why a file cannot become a component.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is damaged.
    #[error("it is not a WebAssembly binary that can be read: {0}")]
    Malformed(#[from] BinaryReaderError),
    /// A module of Spin 1's time, or of its Go SDK before version 3.
    #[error(
        "it is a core module for the interfaces of Spin 1 (it has `{0}`), from before there were components: \
         build it with a newer version of its SDK"
    )]
    Spin1(String),
    /// A module that nothing can call.
    #[error(
        "it is a core module that exports neither a world of WIT nor `_start`, so nothing can call it: \
         build it for `wasm32-wasip2`, or with a Spin SDK of version 2 or later"
    )]
    NoEntry,
    /// A module that asks for what no host provides.
    #[error("it is a core module that cannot be made a component: {0}")]
    Adapt(String),
}

/// The component that the file's `bytes` stand for; text (`.wat`) is left to Wasmtime.
///
/// # Errors
/// As [`Error`] says.
pub(crate) fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    if !bytes.starts_with(b"\0asm") {
        return Ok(Cow::Borrowed(bytes));
    }
    match Parser::new(0).parse_all(bytes).next().transpose()? {
        Some(Payload::Version { encoding: Encoding::Module, .. }) => {
            let component = adapt(bytes)?;
            Ok(Cow::Owned(renamed(&component)?.unwrap_or(component)))
        }
        _ => Ok(renamed(bytes)?.map_or(Cow::Borrowed(bytes), Cow::Owned)),
    }
}

/// Makes a core module a component.
fn adapt(module: &[u8]) -> Result<Vec<u8>, Error> {
    let (mut world, mut start) = (false, false);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::CustomSection(section) => world |= section.name().starts_with("component-type"),
            Payload::ExportSection(exports) => {
                for export in exports {
                    let name = export?.name;
                    start |= name == "_start";
                    // How wit-bindgen 0.2 exported the two handlers that Spin 1 had.
                    if matches!(name, "handle-http-request" | "handle-redis-message") {
                        return Err(Error::Spin1(name.to_owned()));
                    }
                }
            }
            _ => {}
        }
    }
    // A program of its own (a WAGI handler, say) is run; anything else is called through its world.
    let adapter = match (world, start) {
        (true, _) => REACTOR,
        (false, true) => COMMAND,
        (false, false) => return Err(Error::NoEntry),
    };
    let encode = || ComponentEncoder::default().module(module)?.adapter(PREVIEW1, adapter)?.encode();
    encode().map_err(|error| Error::Adapt(format!("{error:#}")))
}

/// The component with release candidates of WASI renamed; `None` if it has none.
fn renamed(component: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let Some(header) = component.get(..HEADER) else { return Ok(None) };
    let mut result = header.to_vec();
    let mut changed = false;
    let mut reader = BinaryReader::new(component.get(HEADER..).unwrap_or_default(), 0);
    while !reader.eof() {
        let id = reader.read_u8()?;
        let length = reader.read_var_u32()?;
        let body = reader.read_bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
        let section = match id {
            IMPORTS => {
                let items = ComponentImportSectionReader::new(BinaryReader::new(body, 0))?;
                let items: Result<Vec<_>, _> = items.into_iter_with_offsets().collect();
                let items = items?.into_iter().map(|(at, import)| (at, import.name.name));
                rename_section(body, items)
            }
            EXPORTS => {
                let items = ComponentExportSectionReader::new(BinaryReader::new(body, 0))?;
                let items: Result<Vec<_>, _> = items.into_iter_with_offsets().collect();
                let items = items?.into_iter().map(|(at, export)| (at, export.name.name));
                rename_section(body, items)
            }
            _ => None,
        };
        changed |= section.is_some();
        let data = section.as_deref().unwrap_or(body);
        RawSection { id, data }.append_to(&mut result);
    }
    Ok(changed.then_some(result))
}

/// A section's `body` with the names of its `items` changed; each item begins, at its offset in the
/// body, with its name. `None` if no name changes.
fn rename_section<'a>(body: &[u8], items: impl Iterator<Item = (u64, &'a str)>) -> Option<Vec<u8>> {
    let items: Vec<_> = items.map(|(at, name)| (usize::try_from(at).ok(), name)).collect();
    if !items.iter().any(|(_, name)| snapshots::renamed(name).is_some()) {
        return None;
    }
    let mut result = Vec::with_capacity(body.len());
    u32::try_from(items.len()).ok()?.encode(&mut result);
    for (index, (start, name)) in items.iter().enumerate() {
        let end = items.get(index.saturating_add(1)).map_or(Some(body.len()), |(next, _)| *next)?;
        let item = body.get((*start)?..end)?;
        let renamed = snapshots::renamed(name);
        let Some(renamed) = renamed else {
            result.extend_from_slice(item);
            continue;
        };
        // A name is its kind, its length and its text; what follows stays as it is.
        let mut reader = BinaryReader::new(item, 0);
        let kind = reader.read_u8().ok()?;
        reader.read_string().ok()?;
        result.push(kind);
        renamed.as_str().encode(&mut result);
        result.extend_from_slice(item.get(usize::try_from(reader.original_position()).ok()?..)?);
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A binary of either kind from text.
    fn binary(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    fn names(component: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
            match payload.unwrap() {
                Payload::ComponentImportSection(section) => {
                    names.extend(section.into_iter().map(|item| item.unwrap().name.name.to_owned()));
                }
                Payload::ComponentExportSection(section) => {
                    names.extend(section.into_iter().map(|item| item.unwrap().name.name.to_owned()));
                }
                _ => {}
            }
        }
        names
    }

    #[test]
    fn a_component_is_left_as_it_is() {
        let component = binary(r#"(component (import "wasi:random/random@0.2.3" (instance)))"#);
        assert!(matches!(super::component(&component), Ok(Cow::Borrowed(same)) if same == component));
        assert!(matches!(super::component(b"(component)"), Ok(Cow::Borrowed(b"(component)"))));
    }

    #[test]
    fn release_candidates_get_the_releases_name() {
        let component = binary(
            r#"(component
                (import "wasi:io/poll@0.2.0-rc-2023-11-10" (instance (export "a" (type (sub resource)))))
                (import "my:own/thing@0.2.0-rc-2023-11-10" (instance))
                (import "wasi:http/types@0.3.0-rc-2026-03-15" (instance $types))
                (export "wasi:http/handler@0.3.0-rc-2026-03-15" (instance $types)))"#,
        );
        let renamed = super::component(&component).unwrap();
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all()).validate_all(&renamed).unwrap();
        assert_eq!(
            names(&renamed),
            [
                "wasi:io/poll@0.2.231110",
                "my:own/thing@0.2.0-rc-2023-11-10",
                "wasi:http/types@0.3.260315",
                "wasi:http/handler@0.3.260315",
            ]
        );
    }

    #[test]
    fn a_program_becomes_a_command() {
        let module = binary(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
                (memory (export "memory") 1)
                (func (export "_start")))"#,
        );
        let component = super::component(&module).unwrap();
        assert!(names(&component).iter().any(|name| name.starts_with("wasi:cli/run@0.2")), "{:?}", names(&component));
    }

    #[test]
    fn what_cannot_be_a_component_says_why() {
        let error = |text: &str| super::component(&binary(text)).unwrap_err().to_string();
        assert!(error("(module)").contains("neither a world of WIT nor `_start`"));
        assert!(error(r#"(module (func (export "handle-http-request")))"#).contains("Spin 1"));
        let unknown = r#"(module (import "env" "f" (func)) (memory (export "memory") 1) (func (export "_start")))"#;
        assert!(error(unknown).contains("env"), "{}", error(unknown));
        assert!(super::component(b"\0asm\x01\0\0\0\x07").is_err());
        assert!(super::component(b"\0asm\x0d\0\x01\0\x0a\xff\xff\xff\xff\x0f").is_err());
    }
}
