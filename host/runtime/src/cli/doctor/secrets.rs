//! Files with secrets that every user of the machine may read.
//!
//! Only the mode's last digit counts, save for the administration's token, which Tessera makes
//! itself: keys of certificates and mounted secrets often belong to a group on purpose.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Finding, Status};

/// Keys that end in `_file` and name what anybody may know.
const PUBLIC: &[&str] = &["ca_file", "ca_roots_file", "cert_file", "client_cert_file"];

/// The mode of a file, if it has any of the bits in `mask`.
fn mode(path: &Path, mask: u32) -> Option<u32> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & mask != 0).then_some(mode)
}

/// The administration's token in the state directory.
pub(super) fn token(directory: &Path) -> Option<Finding> {
    let token = directory.join("admin.token");
    let mode = mode(&token, 0o077)?;
    let fix = format!("chmod 600 {}", token.display());
    Some(Finding::new(Status::Error, "admin token", format!("others may read it (mode {mode:o})"), fix))
}

/// The runtime configuration, if it holds secrets, and the files with secrets that it names.
pub(super) fn configuration(config: &Path) -> Vec<Finding> {
    // What is wrong with the file is a finding of its own.
    let text = std::fs::read_to_string(config).unwrap_or_default();
    let mut found = Found::default();
    found.table(&text.parse().unwrap_or_default());
    let mut findings = Vec::new();
    if let Some(mode) = mode(config, 0o007).filter(|_| found.holds) {
        let message = format!("{} holds secrets, and others may read it (mode {mode:o})", config.display());
        let fix = format!(
            "chmod o-rwx {}, or keep secrets in files of their own (`url_file`, `password_file`)",
            config.display()
        );
        findings.push(Finding::new(Status::Warning, "secrets in the runtime configuration", message, fix));
    }
    let directory = config.parent().unwrap_or(Path::new(""));
    findings.extend(found.files.iter().filter_map(|file| secret(&directory.join(file))));
    findings
}

/// A file that holds nothing but a secret.
pub(super) fn secret(path: &Path) -> Option<Finding> {
    let mode = mode(path, 0o007)?;
    let check = format!("secret {}", path.display());
    let fix = format!("chmod o-rwx {}", path.display());
    Some(Finding::new(Status::Warning, check, format!("others may read it (mode {mode:o})"), fix))
}

/// What a configuration says of secrets.
#[derive(Default)]
struct Found {
    /// There are some in the configuration itself.
    holds: bool,
    /// Files with secrets.
    files: BTreeSet<PathBuf>,
}

impl Found {
    fn table(&mut self, table: &Table) {
        for (key, value) in table {
            self.value(key, value);
        }
    }

    fn value(&mut self, key: &str, value: &Value) {
        match value {
            Value::Table(table) => {
                // Of variables, and of messages to a collector.
                self.holds |= matches!(key, "values" | "headers") && !table.is_empty();
                self.table(table);
            }
            Value::Array(values) => values.iter().for_each(|value| self.value(key, value)),
            Value::String(text) => match key {
                "password" | "token" => self.holds = true,
                "url" => self.holds |= has_password(text),
                "dotenv_path" => _ = self.files.insert(text.into()),
                _ if key.ends_with("_file") && !PUBLIC.contains(&key) => _ = self.files.insert(text.into()),
                _ => {}
            },
            _ => {}
        }
    }
}

/// Whether there is something between `//` and `@` that may be a password.
fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> (bool, Vec<String>) {
        let mut found = Found::default();
        found.table(&text.parse().unwrap());
        (found.holds, found.files.iter().map(|file| file.display().to_string()).collect())
    }

    #[test]
    fn secrets_are_told_from_what_anybody_may_know() {
        for (text, holds) in [
            ("[key_value_store.a]\ntype = \"redis\"\nurl = \"redis://:x@b\"", true),
            ("[key_value_store.a]\ntype = \"redis\"\nurl = \"redis://b:6379/1\"", false),
            ("[mail]\ntype = \"smtp\"\nuser = \"u\"\npassword = \"x\"", true),
            ("[mail]\ntype = \"smtp\"\nuser = \"u\"\npassword_env = \"x\"", false),
            ("[[variables_provider]]\ntype = \"static\"\nvalues = { a = \"x\" }", true),
            ("[[variables_provider]]\ntype = \"vault\"\ntoken = \"x\"", true),
            ("[telemetry]\nendpoint = \"http://a:4318\"", false),
            ("[telemetry]\nendpoint = \"http://a:4318\"\nheaders = { api-key = \"x\" }", true),
        ] {
            assert_eq!(found(text), (holds, vec![]), "{text}");
        }
        let text = "[tls]\ncert_file = \"a\"\nkey_file = \"b\"\n[mail]\npassword_file = \"c\"\nca_file = \"d\"\n\
                    [[client_tls]]\nclient_cert_file = \"e\"\nclient_private_key_file = \"f\"\nca_roots_file = \"g\"\n\
                    [[variables_provider]]\ntype = \"env\"\ndotenv_path = \"h\"\n";
        assert_eq!(found(text), (false, ["b", "c", "f", "h"].map(str::to_owned).to_vec()));
    }
}
