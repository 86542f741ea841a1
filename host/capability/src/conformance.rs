//! The suites that every back-end must pass: plain functions, one for each sentence of a contract,
//! and a macro for each suite that makes them the tests of a back-end.
//!
//! Nothing here depends on how fast the machine is: leases and times-to-live that are to end are
//! short, those that are to hold are long, and what is awaited is polled up to [`DEADLINE`].

// Cases fail by panicking, like any test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod blob;
pub mod kv;
pub mod mail;
pub mod publish;
pub mod queue;

use std::time::Duration;

/// How long a case waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(30);
/// How much earlier than the suite's own clock an engine's clock may see a time pass.
const MARGIN: Duration = Duration::from_millis(20);

/// A word that no other case uses.
fn unique() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    /// The names of the functions that sources define, and of those that a macro lists.
    fn compare(sources: &[&str], suite: &str) {
        let mut defined: Vec<&str> = sources
            .iter()
            .flat_map(|source| source.lines())
            .filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next())
            .collect();
        let cases = suite.split("@cases $make;").nth(1).unwrap().split('}').next().unwrap();
        let mut listed: Vec<&str> =
            cases.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).collect();
        defined.sort_unstable();
        listed.sort_unstable();
        assert!(!listed.is_empty());
        assert_eq!(defined, listed, "a case is not in its suite, or the other way around");
    }

    #[test]
    fn every_case_is_in_its_suite() {
        compare(
            &[
                include_str!("conformance/kv/commits.rs"),
                include_str!("conformance/kv/counters.rs"),
                include_str!("conformance/kv/expiry.rs"),
                include_str!("conformance/kv/listing.rs"),
            ],
            include_str!("conformance/kv.rs"),
        );
        compare(
            &[
                include_str!("conformance/blob/changing.rs"),
                include_str!("conformance/blob/listing.rs"),
                include_str!("conformance/blob/putting.rs"),
                include_str!("conformance/blob/reading.rs"),
            ],
            include_str!("conformance/blob.rs"),
        );
        compare(
            &[include_str!("conformance/mail/cases.rs"), include_str!("conformance/mail/outbox.rs")],
            include_str!("conformance/mail.rs"),
        );
        compare(&[include_str!("conformance/publish.rs")], include_str!("conformance/publish.rs"));
        compare(
            &[
                include_str!("conformance/queue/dead.rs"),
                include_str!("conformance/queue/delivery.rs"),
                include_str!("conformance/queue/lease.rs"),
                include_str!("conformance/queue/ordering.rs"),
                include_str!("conformance/queue/peek.rs"),
                include_str!("conformance/queue/publish.rs"),
                include_str!("conformance/queue/steer.rs"),
                include_str!("conformance/queue/subscribe.rs"),
            ],
            include_str!("conformance/queue.rs"),
        );
    }
}
