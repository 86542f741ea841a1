//! Who publishes to which queues and who consumes them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use tessera_capability::Error;
use tessera_capability::queue::{Group, Pattern, Policy, QueueName};
use toml::Spanned;

use super::check::Check;
use super::{Component, Consume, wire};
use crate::diagnostic::nearest;

/// How long one attempt may take unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How many messages a group may hold unless said otherwise.
const MAX_DEPTH: u64 = 100_000;
/// The pattern that every queue matches.
const EVERYTHING: &str = "#";
/// Bounds that no sensible manifest meets; they keep counters small.
const MAX_CONCURRENCY: i64 = 10_000;
const MAX_ATTEMPTS: i64 = 1_000;
const MAX_MAX_DEPTH: i64 = 1_000_000_000;

/// Queues that components may publish to by their exact names, with their places.
#[derive(Default)]
pub(super) struct Publications(Vec<(String, QueueName, Range<usize>)>);

/// The names and patterns of `publish`.
pub(super) fn publish(
    check: &mut Check,
    id: &Spanned<String>,
    entries: Vec<Spanned<String>>,
    publications: &mut Publications,
) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for entry in entries {
        let Some(pattern) = parse(check, &entry) else { continue };
        if let Some(queue) = pattern.exact() {
            publications.0.push((id.get_ref().clone(), queue, entry.span()));
        }
        patterns.push(pattern);
    }
    patterns
}

fn parse(check: &mut Check, text: &Spanned<String>) -> Option<Pattern> {
    match text.get_ref().parse() {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let help =
                "examples: \"video\", \"events.converted\", \"job.*\" (one word), \"events.#\" (any number of words)";
            check.error(text.span(), reason(error), help);
            None
        }
    }
}

/// What the contract says, without the outcome's name before it.
fn reason(error: Error) -> String {
    match error {
        Error::Invalid(reason) => reason,
        other => other.to_string(),
    }
}

/// The entries of `consume`, those of one group put together.
pub(super) fn consume(check: &mut Check, id: &Spanned<String>, entries: Vec<Spanned<wire::Consume>>) -> Vec<Consume> {
    let mut groups: Vec<Consume> = Vec::new();
    for entry in entries {
        let span = entry.span();
        let Some(entry) = consumer(check, id, entry.into_inner()) else { continue };
        let Some(same) = groups.iter_mut().find(|other| other.group == entry.group) else {
            groups.push(entry);
            continue;
        };
        if (Consume { patterns: same.patterns.clone(), ..entry.clone() }) != *same {
            let message = format!("the group `{}` is given twice with different settings", entry.group);
            check.error(span, message, "give both the same settings, or one of them a `group` of its own");
            continue;
        }
        if same.patterns.iter().any(|pattern| entry.patterns.contains(pattern)) {
            check.error(span, format!("the group `{}` consumes this already", entry.group), "remove one of them");
        }
        same.patterns.extend(entry.patterns);
    }
    groups
}

fn consumer(check: &mut Check, id: &Spanned<String>, entry: wire::Consume) -> Option<Consume> {
    let pattern = parse(check, &entry.queue);
    let name = entry.group.unwrap_or_else(|| id.clone());
    let group: Option<Group> = name
        .get_ref()
        .parse()
        .map_err(|error| {
            check.error(name.span(), reason(error), "give the group another name");
        })
        .ok();
    let default = Policy::default();
    let first = entry.backoff.first.as_ref().map(Spanned::span);
    let policy = Policy {
        max_attempts: check.number(entry.max_attempts, 1..=MAX_ATTEMPTS, default.max_attempts),
        first_delay: check.duration(entry.backoff.first, default.first_delay),
        max_delay: check.duration(entry.backoff.max, default.max_delay),
    };
    if let Some(span) = first.filter(|_| policy.first_delay > policy.max_delay) {
        check.error(span, "the first delay is longer than the longest", "make `first` shorter, or give a longer `max`");
    }
    let concurrency = check.number(entry.concurrency, 1..=MAX_CONCURRENCY, 1);
    let timeout = check.duration(entry.timeout, TIMEOUT);
    let max_depth = check.number(entry.max_depth, 1..=MAX_MAX_DEPTH, MAX_DEPTH);
    Some(Consume { group: group?, patterns: vec![pattern?], concurrency, timeout, policy, max_depth })
}

/// Two components in one group would take each other's messages.
pub(super) fn separate_groups(
    check: &mut Check,
    components: &BTreeMap<String, Component>,
    spans: &BTreeMap<String, Range<usize>>,
) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (id, component) in components {
        for consume in &component.consume {
            let Some(other) = owners.insert(consume.group.as_str(), id) else { continue };
            let message = format!("the components `{other}` and `{id}` both consume as the group `{}`", consume.group);
            let help = "each would get only some of the messages; give one of them a `group` of its own";
            check.error(spans.get(id).cloned().unwrap_or_default(), message, help);
        }
    }
}

/// Warns of queues that are published to by name where the name looks like a slip: nobody
/// consumes it, or only whoever consumes everything (`#`) while a consumed name is similar.
pub(super) fn heard(check: &mut Check, components: &BTreeMap<String, Component>, publications: &Publications) {
    let consumed = components.values().flat_map(|component| &component.consume).flat_map(|consume| &consume.patterns);
    let (everything, patterns): (Vec<&Pattern>, Vec<&Pattern>) =
        consumed.partition(|pattern| pattern.as_str() == EVERYTHING);
    let names: Vec<QueueName> = patterns.iter().filter_map(|pattern| pattern.exact()).collect();
    for (id, queue, span) in &publications.0 {
        if patterns.iter().any(|pattern| pattern.matches(queue)) {
            continue;
        }
        let help = match nearest(queue.as_str(), names.iter().map(QueueName::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if !everything.is_empty() => continue,
            None => format!("let a component consume it: `consume = [{{ queue = \"{queue}\" }}]`"),
        };
        let message = format!("component `{id}` may publish to `{queue}`, which no component consumes by name");
        check.warn(span.clone(), message, help);
    }
}
