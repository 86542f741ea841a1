//! Reads tables whose `type` decides which other keys they may have, and values that may stand in
//! a file or an environment variable instead.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, IntoDeserializer as _};
use toml::Spanned;
use toml::de::DeValue;

use super::Readers;
use crate::diagnostic::{Diagnostic, Invalid, Source, list, suggest};

pub(super) struct Reader<'a> {
    source: Arc<Source>,
    directory: PathBuf,
    readers: &'a Readers<'a>,
    errors: Vec<Diagnostic>,
}

/// A string that no message repeats.
pub(super) struct Text(pub(super) SecretString);

impl Text {
    pub(super) fn into_secret(self) -> SecretString {
        self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Self(text.into())),
            other => Err(D::Error::custom(format!("expected a string, not a value of type {}", other.type_str()))),
        }
    }
}

/// A value in the file itself, or where else it stands.
pub(super) struct Alternatives {
    /// The key, for messages; the others have `_file` and `_env` appended.
    pub(super) key: &'static str,
    pub(super) plain: Option<Spanned<Text>>,
    pub(super) file: Option<Spanned<String>>,
    pub(super) env: Option<Spanned<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: Arc<Source>, directory: PathBuf, readers: &'a Readers<'a>) -> Self {
        Self { source, directory, readers, errors: Vec::new() }
    }

    /// The result, if nothing was wrong.
    pub(super) fn finish<T>(self, result: T) -> Result<T, Invalid> {
        if self.errors.is_empty() { Ok(result) } else { Err(Invalid(self.errors)) }
    }

    pub(super) fn error(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.errors.push(Diagnostic::error(&self.source, span, message).help(help));
    }

    pub(super) fn unknown(&mut self, what: &str, span: Range<usize>, name: &str, known: &[&str]) {
        self.error(span, format!("unknown {what} `{name}`"), suggest(name, known.iter().copied()));
    }

    /// A path in the file is relative to the file.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// The text of a file that the configuration names.
    pub(super) fn file(&mut self, file: &Spanned<String>) -> Option<String> {
        let path = self.path(file.get_ref());
        (self.readers.file)(&path)
            .map_err(|error| {
                let message = format!("cannot read {}: {error}", path.display());
                self.error(file.span(), message, "give the path of a file that this user may read");
            })
            .ok()
    }

    /// Tables in a table, by label.
    pub(super) fn labelled<T>(
        &mut self,
        value: Spanned<DeValue<'_>>,
        read: impl Fn(&mut Self, Spanned<DeValue<'_>>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let span = value.span();
        let DeValue::Table(tables) = value.into_inner() else {
            self.error(
                span,
                "this must be tables, one for each label",
                "write `[key_value_store.<label>]`, for example",
            );
            return BTreeMap::new();
        };
        tables
            .into_iter()
            .filter_map(|(label, table)| Some((label.into_inner().into_owned(), read(self, table)?)))
            .collect()
    }

    /// The value of a table's `type`, or the default if the key is absent; one of `known`.
    pub(super) fn kind<'k>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        known: &[&'k str],
        default: Option<&'k str>,
    ) -> Option<&'k str> {
        let Some(table) = value.get_ref().as_table() else {
            self.error(value.span(), "this must be a table", format!("with a `type`: {}", list(known.iter().copied())));
            return None;
        };
        let Some(kind) = table.get("type") else {
            if default.is_none() {
                let help = format!("say which engine: {}", list(known.iter().copied()));
                self.error(value.span(), "the key `type` is missing", help);
            }
            return default;
        };
        let name = kind.get_ref().as_str().unwrap_or_default();
        let found = known.iter().find(|known| **known == name).copied();
        if found.is_none() {
            self.unknown("type", kind.span(), name, known);
        }
        found
    }

    /// The table's shape.
    pub(super) fn table<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Option<T> {
        T::deserialize(value.into_deserializer())
            .map_err(|error: toml::de::Error| self.errors.push(Diagnostic::from_toml(&self.source, &error)))
            .ok()
    }

    /// The value, wherever it stands; `None` if it is nowhere or there is a fault. From a file one
    /// line break at the end is left out.
    pub(super) fn secret(&mut self, value: Alternatives) -> Option<SecretString> {
        let Alternatives { key, plain, file, env } = value;
        let spans =
            [plain.as_ref().map(Spanned::span), file.as_ref().map(Spanned::span), env.as_ref().map(Spanned::span)];
        if let Some(second) = spans.into_iter().flatten().nth(1) {
            let help = format!("keep one of `{key}`, `{key}_file` and `{key}_env`");
            self.error(second, format!("`{key}` is given twice"), help);
            return None;
        }
        if let Some(plain) = plain {
            return Some(plain.into_inner().0);
        }
        if let Some(file) = file {
            let path = self.path(file.get_ref());
            return match (self.readers.file)(&path) {
                Ok(text) => Some(
                    text.strip_suffix('\n')
                        .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text))
                        .into(),
                ),
                Err(error) => {
                    let message = format!("cannot read `{key}_file` {}: {error}", path.display());
                    self.error(file.span(), message, "give the path of a file that this user may read");
                    None
                }
            };
        }
        let env = env?;
        let value = (self.readers.environment)(env.get_ref());
        if value.is_none() {
            let message = format!("`{key}_env` names the environment variable {env}, which is not set");
            self.error(env.span(), message, "set it, or use another");
        }
        value.map(Into::into)
    }

    /// As [`Reader::secret`], for a value that the table at `span` must have.
    pub(super) fn required_secret(&mut self, span: Range<usize>, value: Alternatives) -> Option<SecretString> {
        if value.plain.is_none() && value.file.is_none() && value.env.is_none() {
            let key = value.key;
            self.error(
                span,
                format!("the key `{key}` is missing"),
                format!("give `{key}`, `{key}_file` or `{key}_env`"),
            );
            return None;
        }
        self.secret(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_the_wrong_type_is_not_repeated() {
        #[derive(serde::Deserialize)]
        struct Table {
            #[expect(dead_code, reason = "only its faults matter")]
            password: Text,
        }
        let error = toml::from_str::<Table>("password = 12345").err().unwrap();
        assert_eq!(error.message(), "expected a string, not a value of type integer");
    }
}
