//! Which parts of a configuration differ from those of another, without looking at what they mean:
//! so a new section or engine needs nothing here.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::Readers;

/// Sections whose tables are labels.
const LABELLED: &[&str] = &["key_value_store", "blob_store", "sqlite_database"];

/// What each section says, secrets in files and in the environment included, by the section's name:
/// `queue`, `key_value_store.jobs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fingerprints(BTreeMap<String, [u8; 32]>);

impl Fingerprints {
    pub(super) fn of(text: &str, directory: &Path, readers: &Readers<'_>) -> Self {
        let mut fingerprints = BTreeMap::new();
        let mut add = |name: String, value: &Value| {
            let mut hasher = Sha256::new();
            // Certificates are read again by themselves when their files change.
            let follow = name != "tls";
            hash(value, follow.then_some((directory, readers)), &mut hasher);
            fingerprints.insert(name, hasher.finalize().into());
        };
        // A text that is no TOML has been refused.
        for (section, value) in &text.parse::<Table>().unwrap_or_default() {
            match value {
                Value::Table(labels) if LABELLED.contains(&section.as_str()) => {
                    for (label, value) in labels {
                        add(format!("{section}.{label}"), value);
                    }
                }
                value => add(section.clone(), value),
            }
        }
        Self(fingerprints)
    }

    /// The sections that differ, are new or are gone.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        names.into_iter().filter(|name| self.0.get(*name) != other.0.get(*name)).cloned().collect()
    }
}

/// Whatever a key that ends in `_file` or `_env` names counts as well.
fn hash(value: &Value, follow: Option<(&Path, &Readers<'_>)>, hasher: &mut Sha256) {
    if let Value::Table(table) = value {
        for (key, value) in table {
            hasher.update(format!("{key}\0"));
            hash(value, follow, hasher);
            let secret = match (value.as_str(), follow) {
                (Some(name), Some((directory, readers))) if key.ends_with("_file") => {
                    (readers.file)(&directory.join(name)).ok()
                }
                (Some(name), Some((_, readers))) if key.ends_with("_env") => (readers.environment)(name),
                _ => None,
            };
            hasher.update(secret.unwrap_or_default());
            hasher.update([0]);
        }
    } else {
        hasher.update(format!("{value}\0"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, secret: &str) -> Fingerprints {
        let file = |_: &Path| Ok(secret.to_owned());
        Fingerprints::of(text, Path::new(""), &Readers { environment: &|_| None, file: &file })
    }

    #[test]
    fn what_differs_is_named_by_its_section() {
        let old = "[key_value_store.a]\ntype = \"redis\"\nurl_file = \"x\"\n[key_value_store.b]\ntype = \"embedded\"\n";
        let new = "[key_value_store.b]\ntype   = \"embedded\"\n[mail]\nfrom = \"a@b.c\"\n[key_value_store.a]\nurl_file = \"x\"\ntype = \"redis\"\n";
        assert_eq!(of(old, "1").differences(&of(new, "1")), ["mail"], "order and spaces do not count");
        assert_eq!(of(old, "1").differences(&of(old, "2")), ["key_value_store.a"], "another secret");
        assert_eq!(of(old, "1").differences(&of("", "1")), ["key_value_store.a", "key_value_store.b"]);
    }
}
