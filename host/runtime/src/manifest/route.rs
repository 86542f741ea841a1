//! Spin's route syntax.

use std::collections::BTreeSet;
use std::fmt;

/// What the host answers itself, whatever the routes are. As in Spin.
pub(crate) const RESERVED: &str = "/.well-known/spin/";

/// A path pattern: `/`, `/jobs/:id`, `/static/...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// Those of the application's base path included.
    segments: Vec<Segment>,
    wildcard: bool,
    written: String,
    base: String,
}

/// One part of a path between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Any text that is not empty, under this name.
    Parameter(String),
}

impl Route {
    /// Reads a route below the application's `base` path. The first slash may be left out and one
    /// trailing slash does not count, as in Spin.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(base: &str, text: &str) -> Result<Self, String> {
        let base = base.strip_suffix('/').unwrap_or(base);
        let path = format!("{base}/{}", text.strip_prefix('/').unwrap_or(text));
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (path, wildcard) = match path.strip_suffix("...").or_else(|| path.strip_suffix('*')) {
            Some(path) if path.is_empty() || path.ends_with('/') => (path, true),
            Some(_) => return Err("`...` must be the whole of the last segment".to_owned()),
            None => (path, false),
        };
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut names = BTreeSet::new();
        let segments =
            if path.is_empty() { Vec::new() } else { path.split('/').map(segment).collect::<Result<_, _>>()? };
        for segment in &segments {
            if let Segment::Parameter(name) = segment
                && !names.insert(name)
            {
                return Err(format!("it has two parameters `:{name}`"));
            }
        }
        Ok(Self { segments, wildcard, written: text.to_owned(), base: base.to_owned() })
    }

    /// As it is in the manifest, without the base path.
    pub(crate) fn as_written(&self) -> &str {
        &self.written
    }

    /// As it is in the manifest, with the base path before it, and without a slash at its end: so
    /// that `/` is empty, as in Spin.
    pub(crate) fn with_base(&self) -> String {
        let slash = if self.written.starts_with('/') { "" } else { "/" };
        let text = format!("{}{slash}{}", self.base, self.written);
        text.strip_suffix('/').unwrap_or(&text).to_owned()
    }

    /// Its segments, without the trailing wildcard.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// True if it also stands for every path below it.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// True if it stands for one path only.
    pub(crate) fn is_literal(&self) -> bool {
        !self.wildcard && self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// True if the host answers all its paths itself.
    pub(super) fn is_reserved(&self) -> bool {
        self.to_string().starts_with(RESERVED)
    }

    /// True if both stand for the same paths, whatever their parameters are called.
    pub(super) fn same_paths(&self, other: &Self) -> bool {
        self.wildcard == other.wildcard
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Segment::Literal(one), Segment::Literal(two)) => one == two,
                (Segment::Parameter(_), Segment::Parameter(_)) => true,
                _ => false,
            })
    }
}

fn segment(text: &str) -> Result<Segment, String> {
    if text.is_empty() {
        return Err("it has an empty segment (`//`)".to_owned());
    }
    if let Some(bad) =
        text.chars().find(|c| matches!(c, '?' | '#' | '{' | '}' | '\\') || c.is_whitespace() || c.is_control())
    {
        return Err(format!(
            "it has {bad:?}, but a route is a path of segments, parameters (`:name`) and a last `...`"
        ));
    }
    match text.strip_prefix(':') {
        Some(name) if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') => {
            Ok(Segment::Parameter(name.to_owned()))
        }
        Some(_) => Err(format!("`{text}` is not a parameter: `:` and a name of letters, digits, `_` and `-`")),
        None if text.contains('*') || text.contains("...") => {
            Err(format!("`{text}` is in the middle, but a wildcard can only come last"))
        }
        None if text.contains(':') => {
            Err(format!("`{text}` mixes text and a parameter; a parameter is a whole segment"))
        }
        None => Ok(Segment::Literal(text.to_owned())),
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Parameter(name) => write!(f, "/:{name}")?,
            }
        }
        match (self.wildcard, self.segments.is_empty()) {
            (true, _) => f.write_str("/..."),
            (false, true) => f.write_str("/"),
            (false, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_read_as_spin_reads_them() {
        for (text, canonical) in [
            ("/", "/"),
            ("", "/"),
            ("/...", "/..."),
            ("/*", "/..."),
            ("jobs", "/jobs"),
            ("/jobs/", "/jobs"),
            ("/jobs/:id", "/jobs/:id"),
            ("/:user/files/...", "/:user/files/..."),
            ("/.well-known/x", "/.well-known/x"),
        ] {
            assert_eq!(Route::parse("/", text).unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn a_base_path_comes_first() {
        for (base, text, canonical, with_base) in [
            ("/", "/", "/", ""),
            ("/", "/...", "/...", "/..."),
            ("/api", "/jobs/", "/api/jobs", "/api/jobs"),
            ("/api/", "jobs", "/api/jobs", "/api/jobs"),
            ("/api", "/...", "/api/...", "/api/..."),
            ("/api/v1", "/", "/api/v1", "/api/v1"),
        ] {
            let route = Route::parse(base, text).unwrap();
            assert_eq!(route.to_string(), canonical, "{base} {text}");
            assert_eq!(route.with_base(), with_base, "{base} {text}");
            assert_eq!(route.as_written(), text);
        }
    }

    #[test]
    fn other_syntax_is_refused() {
        for text in
            ["//x", "/a//b", "/a/.../b", "/a*", "/x...", "/:", "/a:b", "/:a/:a", "/{id}", "/a?b", "/a b", "/*/b"]
        {
            assert!(Route::parse("/", text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_hosts_own_paths_are_reserved() {
        let reserved = |text| Route::parse("/", text).unwrap().is_reserved();
        assert!(reserved("/.well-known/spin/...") && reserved("/.well-known/spin/fie"));
        assert!(!reserved("/.well-known/spindle/...") && !reserved("/.well-known/spin"));
    }

    #[test]
    fn parameters_names_do_not_make_routes_differ() {
        let same = |one, two| Route::parse("/", one).unwrap().same_paths(&Route::parse("/", two).unwrap());
        assert!(same("/a/:x", "a/:y/"));
        assert!(!same("/a/:x", "/a/b"));
        assert!(!same("/a", "/a/..."));
    }
}
