//! Named things that are done, counted by how they came out.

use super::Counter;

/// How something came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done.
    Ok,
    /// Whoever asked is to blame: nothing there, a conflict, too large.
    Refused,
    /// Whoever was asked is to blame.
    Failed,
}

impl Outcome {
    /// All, in the order of the counters.
    const ALL: [(Self, &'static str); 3] = [(Self::Ok, "ok"), (Self::Refused, "refused"), (Self::Failed, "failed")];
}

/// What a component did with one store.
#[derive(Debug)]
pub(crate) struct Operations {
    /// `key_value` or `blob`.
    pub(crate) kind: &'static str,
    /// The store's label.
    pub(crate) label: String,
    counts: Vec<(&'static str, [Counter; 3])>,
}

impl Operations {
    pub(crate) fn new(kind: &'static str, label: &str, names: &[&'static str]) -> Self {
        let counts = names.iter().map(|name| (*name, <[Counter; 3]>::default())).collect();
        Self { kind, label: label.to_owned(), counts }
    }

    /// One more `operation`.
    pub(crate) fn count(&self, operation: &str, outcome: Outcome) {
        let counters = self.counts.iter().find(|(name, _)| *name == operation).map(|(_, counters)| counters);
        let place = Outcome::ALL.iter().position(|(other, _)| *other == outcome);
        if let (Some(counters), Some(place)) = (counters, place)
            && let Some(counter) = counters.get(place)
        {
            counter.increment();
        }
    }

    /// Operation, outcome and how often.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.counts.iter().flat_map(|(name, counters)| {
            let outcomes = Outcome::ALL.iter().map(|(_, outcome)| *outcome).zip(counters);
            outcomes.map(|(outcome, counter)| (*name, outcome, counter.get()))
        })
    }
}

/// What operators did to the application, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Changes([Counter; 8]);

/// Actions and their results.
const CHANGES: [(&str, &str); 8] = [
    ("swap", "ok"),
    ("swap", "refused"),
    ("rollback", "ok"),
    ("rollback", "refused"),
    ("reload", "ok"),
    ("reload", "refused"),
    ("canary", "promoted"),
    ("canary", "returned"),
];

impl Changes {
    /// One more.
    pub(crate) fn count(&self, action: &str, result: &str) {
        if let Some(counter) = CHANGES.iter().position(|known| *known == (action, result)).and_then(|at| self.0.get(at))
        {
            counter.increment();
        }
    }

    /// Action, result and how often.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        CHANGES.iter().zip(&self.0).map(|((action, result), counter)| (*action, *result, counter.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_counted() {
        let operations = Operations::new("key_value", "jobs", &["get", "list"]);
        operations.count("get", Outcome::Ok);
        operations.count("list", Outcome::Failed);
        operations.count("nothing", Outcome::Ok);
        let counted: Vec<_> = operations.counts().filter(|(.., count)| *count > 0).collect();
        assert_eq!(counted, [("get", "ok", 1), ("list", "failed", 1)]);
        let changes = Changes::default();
        changes.count("canary", "returned");
        changes.count("canary", "ok");
        assert_eq!(changes.counts().filter(|(.., count)| *count > 0).collect::<Vec<_>>(), [("canary", "returned", 1)]);
    }
}
