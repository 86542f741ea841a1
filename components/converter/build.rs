//! For Wasm, gives LAME its hottest functions in SIMD.
//!
//! `mp3lame-sys` compiles LAME as it is. Each file in `lame/` stands in for some functions of one of LAME's sources; here
//! that source is taken from `mp3lame-sys`, those functions are cut out, the file is included in place of the first, and
//! the result is compiled. It is linked as a whole, so the linker finds all of its symbols defined and leaves the
//! archive's own object of that source alone. For other targets, LAME remains as it is: the tests compare the two.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What LAME's sources ask `config.h` for. None of it changes how data lies in memory.
const CONFIG: &str = "typedef float ieee754_float32_t;
typedef double ieee754_float64_t;
#define STDC_HEADERS 1
#define HAVE_ERRNO_H 1
#define HAVE_FCNTL_H 1
#define HAVE_INTTYPES_H 1
#define HAVE_STDINT_H 1
";

/// Begins the line in which a file says which functions of which source it stands for.
const MARK: &str = " * In place of, in ";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=lame");
    if std::env::var("CARGO_CFG_TARGET_FAMILY")? != "wasm" {
        return Ok(());
    }
    let lame = lame()?;
    let sources = lame.join("libmp3lame");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("config.h"), CONFIG)?;

    let mut changed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files(&std::env::current_dir()?.join("lame"))? {
        let (name, functions) = stands_for(&file)?;
        let lines = match changed.remove(&name) {
            Some(lines) => lines,
            None => read(&sources.join(&name))?,
        };
        let lines = replace(&lines, &functions, &file).map_err(|error| format!("{}: {error}", file.display()))?;
        changed.insert(name, lines);
    }

    let mut compiler = cc::Build::new();
    compiler.warnings(false).define("HAVE_CONFIG_H", None);
    // Where clang computes a table itself, it would otherwise round a product and a sum once instead of twice.
    compiler.flag("-ffp-contract=off");
    compiler.include(&out).include(lame.join("include")).include(&sources);
    for (name, lines) in changed {
        let file = out.join(name);
        std::fs::write(&file, lines.join("\n") + "\n")?;
        compiler.file(file);
    }
    compiler.link_lib_modifier("+whole-archive").try_compile("lame-simd")?;
    Ok(())
}

/// Where the sources are that `mp3lame-sys` has.
fn lame() -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var("CARGO")?);
    cargo.args(["metadata", "--format-version=1", "--locked", "--filter-platform", &std::env::var("TARGET")?]);
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages =
        metadata.get("packages").and_then(serde_json::Value::as_array).ok_or("cargo metadata lists no packages")?;
    let package = packages
        .iter()
        .find(|package| package.get("name").is_some_and(|name| name == "mp3lame-sys"))
        .ok_or("no package mp3lame-sys")?;
    let manifest =
        package.get("manifest_path").and_then(serde_json::Value::as_str).ok_or("mp3lame-sys has no manifest")?;
    Ok(Path::new(manifest).with_file_name("lame-3.100"))
}

/// The files that stand in for something; they share headers.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "c"));
    files.sort();
    Ok(files)
}

/// The lines of a source, which may be Latin-1.
fn read(file: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(bytes.into_iter().map(char::from).collect::<String>().lines().map(str::to_owned).collect())
}

/// The source, and the functions in it.
fn stands_for(file: &Path) -> Result<(String, Vec<String>)> {
    let lines = read(file)?;
    let line = lines.iter().find_map(|line| line.strip_prefix(MARK)).ok_or("it does not say what it stands for")?;
    let (name, functions) = line.split_once(": ").ok_or("it does not say what it stands for")?;
    Ok((name.to_owned(), functions.split_whitespace().map(str::to_owned).collect()))
}

/// The source without the functions, with the file in place of the first.
fn replace(lines: &[String], functions: &[String], file: &Path) -> Result<Vec<String>> {
    let mut cut = Vec::new();
    for function in functions {
        // More than one if the preprocessor chooses.
        let found: Vec<_> = (0..lines.len()).filter_map(|at| definition(lines, at, function)).collect();
        if found.is_empty() {
            return Err(format!("{function} is not defined there").into());
        }
        cut.extend(found);
    }
    let first = cut.iter().map(|range| *range.start()).min().unwrap_or_default();
    let include = format!("#include \"{}\"", file.display());
    let line = |(at, line): (usize, &String)| match cut.iter().any(|range| range.contains(&at)) {
        true if at == first => include.clone(),
        // No line changes its place.
        true => String::new(),
        false => line.clone(),
    };
    Ok(lines.iter().enumerate().map(line).collect())
}

/// From where to where the definition reaches whose name stands at the beginning of this line, as all do in LAME: the
/// type stands above, the body begins and ends with a brace on a line of its own.
fn definition(lines: &[String], at: usize, function: &str) -> Option<RangeInclusive<usize>> {
    let rest = lines.get(at..)?;
    rest.first()?.strip_prefix(function)?.strip_prefix('(')?;
    let body = rest.iter().position(|line| line.starts_with('{') || line.trim_end().ends_with(';'))?;
    rest.get(body)?.strip_prefix('{')?;
    let end = rest.iter().position(|line| line == "}")?;
    let above = |line: &String| line.trim().is_empty() || line.ends_with(['/', ';', '}']) || line.starts_with('#');
    let from = lines.get(..at)?.iter().rposition(above).map_or(0, |line| line + 1);
    Some(from..=at + end)
}
