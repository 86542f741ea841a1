//! Which target answers a path, by Spin's rules: the more specific route wins.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use routefinder::{Captures, RouteSpec, Router, Segment as Part};

use super::fixed::Fixed;
use super::headers::Labels;
use crate::app::slot::Slot;
use crate::manifest::{RESERVED, Route, Segment};

/// What serves a route.
pub(crate) enum Target {
    /// A component's handler; all of its versions have one.
    Component(Arc<Slot>),
    /// The host itself.
    Static(Fixed),
}

/// A route's target, and what its requests are told about the route.
struct Entry {
    target: Arc<Target>,
    labels: Labels,
    wildcard: bool,
}

/// All routes of an application.
pub(crate) struct Routes {
    /// Those without parameters and wildcards, which are most: they win over all others.
    /// By the path without the slashes at its ends.
    literal: HashMap<String, Entry>,
    patterns: Router<Entry>,
    info: Arc<Target>,
    health: Arc<Target>,
    /// By component; those with a private route too.
    components: HashMap<Arc<str>, Arc<Target>>,
}

/// Where a path leads.
pub(crate) struct Found<'routes, 'path> {
    pub(crate) target: &'routes Arc<Target>,
    /// What the request is to be told; `None`: nothing.
    pub(super) labels: Option<&'routes Labels>,
    /// What the wildcard at the route's end stands for.
    pub(super) path_info: Cow<'path, str>,
    /// What its parameters stand for, in the order of the route.
    pub(super) parameters: Captures<'routes, 'path>,
}

impl<'routes> Found<'routes, '_> {
    fn own(target: &'routes Arc<Target>) -> Self {
        Self { target, labels: None, path_info: Cow::Borrowed(""), parameters: Captures::new() }
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new(&Fixed::not_found(), HashMap::new())
    }
}

impl Routes {
    /// No routes yet but those of the host; `info` describes the application, and `components` can
    /// be called by name.
    pub(crate) fn new(info: &Fixed, components: HashMap<Arc<str>, Arc<Target>>) -> Self {
        Self {
            literal: HashMap::new(),
            patterns: Router::new(),
            info: Arc::new(Target::Static(info.clone())),
            health: Arc::new(Target::Static(Fixed::text("OK"))),
            components,
        }
    }

    /// Lets `target` answer `route`. The manifest has no two routes for the same paths.
    pub(crate) fn add(&mut self, route: &Route, base: &str, target: &Arc<Target>) {
        let entry =
            Entry { target: Arc::clone(target), labels: Labels::new(route, base), wildcard: route.is_wildcard() };
        if route.is_literal() {
            self.literal.insert(route.to_string().trim_matches('/').to_owned(), entry);
            return;
        }
        let mut parts = Vec::new();
        for segment in route.segments() {
            parts.push(match segment {
                Segment::Literal(text) => Part::Exact(text.as_str().into()),
                Segment::Parameter(name) => Part::Param(name.as_str().into()),
            });
            parts.push(Part::Slash);
        }
        if route.is_wildcard() {
            parts.push(Part::Wildcard);
        } else {
            parts.pop();
        }
        // A specification that is none already needs no conversion that could fail.
        _ = self.patterns.add(RouteSpec::from(parts), entry);
    }

    /// What answers this path.
    pub(crate) fn find<'path>(&self, path: &'path str) -> Option<Found<'_, 'path>> {
        if let Some(own) = path.strip_prefix(RESERVED) {
            return match own {
                "health" => Some(Found::own(&self.health)),
                "info" => Some(Found::own(&self.info)),
                _ => None,
            };
        }
        // Slashes at the ends do not count.
        if let Some(entry) = self.literal.get(path.trim_matches('/')) {
            return Some(Found { labels: Some(&entry.labels), ..Found::own(&entry.target) });
        }
        let found = self.patterns.best_match(path)?;
        let entry = found.handler();
        let parameters = found.captures();
        let path_info = match parameters.wildcard() {
            Some(rest) if entry.wildcard => path_info(path, rest),
            _ => Cow::Borrowed(""),
        };
        Some(Found { target: &entry.target, labels: Some(&entry.labels), path_info, parameters })
    }

    /// The component's handler, if it has a trigger, be it a private one.
    pub(crate) fn component(&self, id: &str) -> Option<&Arc<Target>> {
        self.components.get(id)
    }
}

/// The wildcard's part of the path with its slashes, as Spin has it: `` for the route itself, `/`
/// with a slash behind it, `/a/b/` for what is below.
fn path_info<'a>(path: &'a str, rest: &str) -> Cow<'a, str> {
    let length = rest.trim_matches('/').len();
    let without_slash = path.strip_suffix('/').unwrap_or(path);
    if length == 0 {
        return Cow::Borrowed(if path.ends_with('/') { "/" } else { "" });
    }
    // It is the end of the path: with the slash before it, and one behind it if there is one.
    match without_slash.len().checked_sub(length.saturating_add(1)).and_then(|start| path.get(start..)) {
        Some(info) if info.starts_with('/') => Cow::Borrowed(info),
        _ => Cow::Owned(format!("/{rest}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(of: &[&str]) -> Routes {
        let mut routes = Routes::default();
        for route in of {
            let target = Arc::new(Target::Static(Fixed::text(route)));
            routes.add(&Route::parse("/", route).unwrap(), "/", &target);
        }
        routes
    }

    type Won = (String, String, Vec<(String, String)>);

    /// The route that wins, and what its wildcard and parameters are.
    fn found(routes: &Routes, path: &str) -> Option<Won> {
        let found = routes.find(path)?;
        let Target::Static(fixed) = &**found.target else { return None };
        let parameters = found.parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some((String::from_utf8(fixed.body().to_vec()).unwrap(), found.path_info.into_owned(), parameters))
    }

    fn route(of: &[&str], path: &str) -> Option<String> {
        found(&routes(of), path).map(|found| found.0)
    }

    #[test]
    fn the_more_specific_route_wins_whatever_the_order() {
        let mut all = ["/...", "/one/...", "/one/:id", "/one/two", "/one/:id/...", "/:any/two", "/one/two/three/..."];
        for _ in 0..2 {
            for (path, expected) in [
                ("/", "/..."),
                ("/other", "/..."),
                ("/other/two", "/:any/two"),
                ("/one", "/one/..."),
                ("/one/", "/one/..."),
                ("/one/two", "/one/two"),
                ("/one/two/", "/one/two"),
                ("/one/five", "/one/:id"),
                ("/one/a.b", "/one/:id"),
                ("/one/five/six", "/one/:id/..."),
                ("/one/two/three", "/one/two/three/..."),
                ("/one/two/three/four", "/one/two/three/..."),
            ] {
                assert_eq!(route(&all, path).as_deref(), Some(expected), "{path}");
            }
            all.reverse();
        }
    }

    #[test]
    fn exact_routes_are_exact_but_for_slashes_at_the_end() {
        for (path, matches) in
            [("/cart", true), ("/cart/", true), ("/cart/checkout", false), ("/car", false), ("/", false)]
        {
            assert_eq!(route(&["/cart"], path).is_some(), matches, "{path}");
        }
        assert_eq!(route(&["/"], "/").as_deref(), Some("/"));
        assert_eq!(route(&["/"], "/x"), None);
        assert_eq!(route(&["/users/:id/edit"], "/users/1/edit").as_deref(), Some("/users/:id/edit"));
        for path in ["/users", "/users/1", "/users/1/edit/cart"] {
            assert_eq!(route(&["/users/:id/edit"], path), None, "{path}");
        }
    }

    #[test]
    fn the_wildcards_part_keeps_its_slashes() {
        for (of, path, info) in [
            ("/test/...", "/test", ""),
            ("/test/...", "/test/", "/"),
            ("/test/...", "/test/hello", "/hello"),
            ("/test/...", "/test/hello/", "/hello/"),
            ("/test/...", "/test/a/b", "/a/b"),
            ("/...", "/", "/"),
            ("/...", "/1/2/3", "/1/2/3"),
            ("/a/:b/...", "/a/b/c", "/c"),
            ("/a/:b", "/a/b", ""),
            ("/a/:b", "/a/b/", ""),
        ] {
            assert_eq!(found(&routes(&[of]), path).unwrap().1, info, "{of} {path}");
        }
    }

    #[test]
    fn parameters_are_captured_by_name() {
        let (_, info, parameters) = found(&routes(&["/1/:two/:three-x/..."]), "/1/2/3/4").unwrap();
        assert_eq!(info, "/4");
        assert_eq!(parameters, [("two".to_owned(), "2".to_owned()), ("three-x".to_owned(), "3".to_owned())]);
    }

    #[test]
    fn the_hosts_own_paths_are_reserved() {
        let all = ["/...", "/.well-known/spin/health", "/.well-known/spindle"];
        assert_eq!(route(&all, "/.well-known/spin/health").as_deref(), Some("OK"));
        assert_eq!(route(&all, "/.well-known/spin/other"), None);
        assert_eq!(route(&all, "/.well-known/spin"), Some("/...".to_owned()));
        assert_eq!(route(&all, "/.well-known/spindle"), Some("/.well-known/spindle".to_owned()));
    }
}
