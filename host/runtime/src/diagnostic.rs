//! What is wrong in a file that a person wrote: where, why, and how to mend it.
//!
//! Reading never stops at the first fault that a reader can step over: faults are collected and
//! shown together, in the form that rustc made familiar.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// A file's name and text.
pub(crate) struct Source {
    path: String,
    text: String,
    excerpts: bool,
}

impl Source {
    /// A file whose lines may be shown.
    pub(crate) fn new(path: &Path, text: &str) -> Arc<Self> {
        Arc::new(Self { path: path.display().to_string(), text: text.to_owned(), excerpts: true })
    }

    /// A file whose lines are never shown, because they may hold passwords; faults in it have a
    /// line and a column only.
    pub(crate) fn confidential(path: &Path, text: &str) -> Arc<Self> {
        Arc::new(Self { path: path.display().to_string(), text: text.to_owned(), excerpts: false })
    }

    /// The line and the column at a byte, both counted from 1, the column in characters.
    fn position(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
        (line, column)
    }

    /// The line at a byte, counted from 1.
    pub(crate) fn line(&self, byte: usize) -> usize {
        self.position(byte).0
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

/// One fault and its place. `Display` shows the message, the place, the line and the help.
#[derive(Clone)]
pub(crate) struct Diagnostic {
    source: Arc<Source>,
    severity: Severity,
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

impl Diagnostic {
    /// Something that must be mended.
    pub(crate) fn error(source: &Arc<Source>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { source: source.clone(), severity: Severity::Error, span, message: message.into(), help: None }
    }

    /// Something that is probably not meant.
    pub(crate) fn warning(source: &Arc<Source>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(source, span, message) }
    }

    /// Where in the file it is, for sorting.
    pub(crate) fn start(&self) -> usize {
        self.span.start
    }

    /// What to do about it.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A fault of the file's syntax or shape, in words about keys rather than about Rust.
    pub(crate) fn from_toml(source: &Arc<Source>, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let (first, known) = names.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
        if message.starts_with("unknown field") {
            return Self::error(source, span, format!("unknown key `{first}`"))
                .help(suggest(first, known.iter().copied()));
        }
        if message.starts_with("unknown variant") {
            return Self::error(source, span, format!("unknown value `{first}`"))
                .help(suggest(first, known.iter().copied()));
        }
        if message.starts_with("missing field") {
            return Self::error(source, span, format!("the key `{first}` is missing"))
                .help(format!("add `{first} = …`"));
        }
        if let Some((found, expected)) = message.rsplit_once(", expected ") {
            // Serde repeats the value that it did not expect: `invalid type: string "…", expected u16`.
            let shown =
                if source.excerpts { found } else { found.split(['`', '"']).next().unwrap_or_default().trim_end() };
            return Self::error(source, span, format!("{shown}, expected {}", in_toml_words(expected)));
        }
        Self::error(source, span, message)
    }
}

/// What serde calls in Rust's words.
fn in_toml_words(expected: &str) -> &str {
    match expected {
        "a map" => "a table",
        "a sequence" => "a list",
        "a boolean" => "`true` or `false`",
        "i64" => "a whole number",
        "u16" => "a whole number from 0 to 65535",
        other => other,
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        if self.source.excerpts {
            // An empty span, or one over several lines, is shown at its first line.
            let rest = self.source.text.get(self.span.start..self.span.end).unwrap_or_default();
            let first = rest.lines().next().map_or(0, str::len);
            let span = self.span.start..self.span.start.saturating_add(first);
            let snippet = Snippet::source(self.source.text.as_str())
                .path(self.source.path.as_str())
                .annotation(AnnotationKind::Primary.span(span));
            group = group.element(snippet);
        } else {
            let (line, column) = self.source.position(self.span.start);
            group = group.element(Origin::path(self.source.path.as_str()).line(line).char_column(column));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        f.write_str(&Renderer::plain().render(&[group]))
    }
}

/// As `Display`: the file's whole text is not for logs.
impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All faults that reading a file found; at least one.
#[derive(Debug, Clone)]
pub(crate) struct Invalid(pub(crate) Vec<Diagnostic>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            fmt::Display::fmt(diagnostic, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// The known name that `name` was probably meant to be: at most a third of it differs.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (name.chars().count().max(candidate.chars().count()) / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Help for an unknown name: the nearest known one, or all of them.
pub(crate) fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "nothing is known here; remove it".to_owned(),
        None => format!("known here: {}", list(known)),
    }
}

/// Names for a sentence: `a`, `b`, `c`.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_differs_in_a_third_at_most() {
        assert_eq!(nearest("sorce", ["source", "files"]), Some("source"));
        assert_eq!(nearest("vidoe", ["video", "mp3"]), Some("video"));
        assert_eq!(nearest("mp4", ["video", "mp3"]), Some("mp3"));
        assert_eq!(nearest("colour", ["video", "mp3"]), None);
    }

    #[test]
    fn a_confidential_file_shows_places_only() {
        let source = Source::confidential(Path::new("runtime-config.toml"), "[mail]\npassword = \"hunter2\"\n");
        let diagnostic = Diagnostic::error(&source, 7..15, "unknown key").help("did you mean `user`?");
        insta::assert_snapshot!(diagnostic, @r"
        error: unknown key
        --> runtime-config.toml:2:1
         = help: did you mean `user`?
        ");
        assert!(!format!("{diagnostic:?}").contains("hunter2"));
    }
}
