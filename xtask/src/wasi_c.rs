//! The C compiler for WebAssembly: LAME is C, and the converter runs it inside the sandbox.
//!
//! `.cargo/config.toml` sets CC_wasm32_wasip2 and its kin for Debian's packages, so that plain cargo works there.
//! Where other compilers stand in for them this module answers the variables that say so; variables of the
//! environment win over that file.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use toml::Table;

use crate::apt;
use crate::command;
use crate::setup::Need;
use crate::workspace::Workspace;

/// Versions of clang to look for and to install, the preferred one first. Older ones lack parts of WebAssembly.
const VERSIONS: [u32; 7] = [22, 21, 20, 19, 18, 17, 16];
/// Where distributions put the C library for WASI.
const SYSROOTS: [&str; 4] = ["/usr", "/usr/share/wasi-sysroot", "/usr/wasm32-wasi", "/opt/wasi-sysroot"];
/// The names compilers and sysroots of different ages have for WASI; headers are all that is taken from the sysroot.
const TARGETS: [&str; 3] = ["wasm32-wasi", "wasm32-wasip1", "wasm32-wasip2"];

/// Variables for cargo, as name and value.
pub(crate) type Variables = Vec<(&'static str, String)>;

/// A compiler with the tools beside it and the flags it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Compiler {
    clang: String,
    ar: String,
    ranlib: String,
    flags: String,
}

impl Compiler {
    fn variables(self) -> Variables {
        vec![
            ("CC_wasm32_wasip2", self.clang),
            ("AR_wasm32_wasip2", self.ar),
            ("RANLIB_wasm32_wasip2", self.ranlib),
            ("CFLAGS_wasm32_wasip2", self.flags),
        ]
    }

    /// The same flags with clang of another name, target and sysroot; llvm-ar and llvm-ranlib are named and placed
    /// like clang.
    fn replaced(&self, clang: &str, target: &str, sysroot: &Path) -> Self {
        let sibling = |tool: &str| match clang.rfind("clang") {
            Some(at) => format!("{}{tool}{}", &clang[..at], &clang[at + "clang".len()..]),
            None => tool.to_owned(),
        };
        let kept = self
            .flags
            .split_whitespace()
            .filter(|flag| !flag.starts_with("--target=") && !flag.starts_with("--sysroot="));
        let flags = [format!("--target={target}"), format!("--sysroot={}", sysroot.display())];
        Self {
            clang: clang.to_owned(),
            ar: sibling("llvm-ar"),
            ranlib: sibling("llvm-ranlib"),
            flags: flags.iter().map(String::as_str).chain(kept).collect::<Vec<_>>().join(" "),
        }
    }

    /// Whether it makes a program: compiler, headers, C library, linker and archiver are all there.
    fn works(&self) -> Result<bool> {
        let directory = tempfile::tempdir()?;
        let mut clang = Command::new(&self.clang);
        clang.args(self.flags.split_whitespace()).args(["-x", "c", "-", "-o"]).arg(directory.path().join("program"));
        let Ok(mut child) = clang.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            return Ok(false);
        };
        if let Some(mut source) = child.stdin.take() {
            // A compiler that ends without reading has failed anyway.
            let _ = source.write_all(b"#include <stdio.h>\nint main(void) { return puts(\"\"); }\n");
        }
        let [ar, ranlib] = [&self.ar, &self.ranlib].map(|tool| command::succeeds(Command::new(tool).arg("--version")));
        Ok(child.wait()?.success() && ar && ranlib)
    }
}

/// The variables with which cargo builds C for WebAssembly here: none where `.cargo/config.toml` or the environment
/// already say it right. None if no compiler is found; an error if the environment names one that does not work.
pub(crate) fn find(workspace: &Workspace) -> Result<Option<Variables>> {
    let configured = configured(&workspace.path(".cargo/config.toml"))?;
    if let Some(clang) = std::env::var_os("CC_wasm32_wasip2") {
        // Whoever sets it sets the flags and the other tools too.
        if !command::succeeds(Command::new(&clang).arg("--version")) {
            bail!("CC_wasm32_wasip2 names {}, which does not run: correct or unset it", clang.display());
        }
        return Ok(Some(Vec::new()));
    }
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH").map(PathBuf::from) {
        let clang = sdk.join("bin/clang").display().to_string();
        let sysroot = sdk.join("share/wasi-sysroot");
        let Some(compiler) = first_working(&configured, &[clang], &[sysroot])? else {
            bail!(
                "WASI_SDK_PATH is {}, but its bin/clang does not make a program with its share/wasi-sysroot: \
                 point it at an unpacked WASI SDK, or unset it to use this system's clang",
                sdk.display()
            );
        };
        return Ok(Some(compiler.variables()));
    }
    if configured.works()? {
        return Ok(Some(Vec::new()));
    }
    let names: Vec<String> =
        std::iter::once("clang".to_owned()).chain(VERSIONS.iter().map(|version| format!("clang-{version}"))).collect();
    Ok(first_working(&configured, &names, &SYSROOTS.map(PathBuf::from))?.map(Compiler::variables))
}

fn first_working(configured: &Compiler, clangs: &[String], sysroots: &[PathBuf]) -> Result<Option<Compiler>> {
    for clang in clangs.iter().filter(|clang| command::succeeds(Command::new(clang).arg("--version"))) {
        for sysroot in sysroots {
            for target in TARGETS.iter().filter(|target| sysroot.join("include").join(target).is_dir()) {
                let compiler = configured.replaced(clang, target, sysroot);
                if compiler.works()? {
                    return Ok(Some(compiler));
                }
            }
        }
    }
    Ok(None)
}

/// The Debian packages to install where `find` found nothing.
pub(crate) fn need() -> Result<Need> {
    let version = apt::newest(&VERSIONS, |version| format!("libclang-rt-{version}-dev-wasm32"))?.unwrap_or(VERSIONS[0]);
    Ok(Need {
        packages: vec![
            format!("clang-{version}"),
            format!("lld-{version}"),
            format!("llvm-{version}"),
            format!("libclang-rt-{version}-dev-wasm32"),
            "wasi-libc".to_owned(),
        ],
        why: "C compiler and C library for WebAssembly: the converter has LAME, which is C, inside its sandbox",
    })
}

/// The compiler that `.cargo/config.toml` names.
fn configured(file: &Path) -> Result<Compiler> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    compiler_of(&text).with_context(|| format!("in {}", file.display()))
}

fn compiler_of(configuration: &str) -> Result<Compiler> {
    let configuration: Table = configuration.parse()?;
    let variable = |name: &str| {
        let entry = configuration.get("env").and_then(|env| env.get(name));
        let value = entry.and_then(|entry| entry.as_str().or_else(|| entry.get("value")?.as_str()));
        value.map(str::to_owned).with_context(|| format!("[env] does not set {name}"))
    };
    Ok(Compiler {
        clang: variable("CC_wasm32_wasip2")?,
        ar: variable("AR_wasm32_wasip2")?,
        ranlib: variable("RANLIB_wasm32_wasip2")?,
        flags: variable("CFLAGS_wasm32_wasip2")?,
    })
}

/// Adds variables to a command.
pub(crate) fn set<'a>(variables: &Variables, command: &'a mut Command) -> &'a mut Command {
    command.envs(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian() -> Compiler {
        let configuration = r#"
            [env]
            CC_wasm32_wasip2 = "clang-22"
            AR_wasm32_wasip2 = { value = "llvm-ar-22" }
            RANLIB_wasm32_wasip2 = "llvm-ranlib-22"
            CFLAGS_wasm32_wasip2 = "--target=wasm32-wasi --sysroot=/usr -DFAST"
        "#;
        compiler_of(configuration).unwrap()
    }

    #[test]
    fn reads_cargos_configuration() {
        assert_eq!(debian().ar, "llvm-ar-22");
        let error = compiler_of("[env]\nCC_wasm32_wasip2 = 'clang'").unwrap_err().to_string();
        assert_eq!(error, "[env] does not set AR_wasm32_wasip2");
    }

    #[test]
    fn another_clang_keeps_the_other_flags() {
        let compiler =
            debian().replaced("/opt/sdk/bin/clang", "wasm32-wasip2", Path::new("/opt/sdk/share/wasi-sysroot"));
        assert_eq!(compiler.ar, "/opt/sdk/bin/llvm-ar");
        assert_eq!(compiler.flags, "--target=wasm32-wasip2 --sysroot=/opt/sdk/share/wasi-sysroot -DFAST");
        let compiler = debian().replaced("clang-19", "wasm32-wasi", Path::new("/usr"));
        assert_eq!((compiler.ar.as_str(), compiler.ranlib.as_str()), ("llvm-ar-19", "llvm-ranlib-19"));
    }

    #[test]
    fn a_compiler_that_is_not_there_does_not_work() {
        let compiler = debian().replaced("/nonexistent/clang", "wasm32-wasi", Path::new("/usr"));
        assert!(!compiler.works().unwrap());
    }
}
