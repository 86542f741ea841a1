//! How components depend on one another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::check::Check;
use super::{Component, Dependency, Handler, HttpTrigger};

fn callees(component: &Component) -> impl Iterator<Item = &str> {
    component.dependencies.values().filter_map(|dependency| match dependency {
        Dependency::Component { id, .. } => Some(id.as_str()),
        Dependency::File { .. } => None,
    })
}

/// A call that comes back to its caller's component waits for itself; Spin refuses cycles too.
pub(super) fn no_cycles(
    check: &mut Check,
    components: &BTreeMap<String, Component>,
    spans: &BTreeMap<String, Range<usize>>,
) {
    let mut done = BTreeSet::new();
    for id in components.keys() {
        let mut path = vec![id.as_str()];
        if let Some(cycle) = cycle(components, &mut path, &mut done) {
            let span = spans.get(id).cloned().unwrap_or_default();
            let message = format!("components depend on one another in a circle: {}", cycle.join(" -> "));
            check.error(span, message, "remove one of these dependencies");
        }
    }
}

/// The circle that the last component of `path` leads into. Components in `done` lead into none
/// that was not reported, so each is walked once.
fn cycle<'a>(
    components: &'a BTreeMap<String, Component>,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    let id = *path.last()?;
    if !done.insert(id) {
        return None;
    }
    for callee in components.get(id).into_iter().flat_map(callees) {
        path.push(callee);
        let start = path.iter().position(|other| *other == callee)?;
        if start.saturating_add(1) < path.len() {
            return Some(path.split_off(start));
        }
        if let Some(cycle) = cycle(components, path, done) {
            return Some(cycle);
        }
        path.pop();
    }
    None
}

/// Warns of components that nothing ever calls.
pub(super) fn all_used(
    check: &mut Check,
    http: &[HttpTrigger],
    components: &BTreeMap<String, Component>,
    spans: &BTreeMap<String, Range<usize>>,
) {
    let triggered = http.iter().filter_map(|trigger| match &trigger.handler {
        Handler::Component(id) => Some(id.as_str()),
        Handler::Static(_) => None,
    });
    let used: BTreeSet<&str> = triggered.chain(components.values().flat_map(callees)).collect();
    for (id, component) in components {
        if component.consume.is_empty() && component.redis.is_empty() && !used.contains(id.as_str()) {
            let span = spans.get(id).cloned().unwrap_or_default();
            check.warn(span, format!("nothing uses the component `{id}`"), "give it a trigger or something to consume");
        }
    }
}
