//! Adds up what the test binaries report.

use std::fmt;
use std::ops::AddAssign;

/// Counts over all test binaries of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Tests marked `#[ignore]`; those a filter leaves out are not counted at all.
    pub(crate) skipped: u64,
}

impl Totals {
    /// Counts a line of libtest's output: its summary, such as
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
    /// Any other line counts nothing.
    pub(crate) fn add_line(&mut self, line: &str) {
        let Some(summary) = line.strip_prefix("test result: ") else { return };
        let Some((_outcome, counts)) = summary.split_once(". ") else { return };
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_summaries() {
        let mut totals = Totals::default();
        for line in "running 4 tests\n\
             test one ... ok\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             test result: FAILED. 10 passed; 2 failed; 0 ignored; 5 measured; 7 filtered out; finished in 1.20s\n"
            .lines()
        {
            totals.add_line(line);
        }
        assert_eq!(totals, Totals { passed: 13, failed: 2, skipped: 1 });
        assert_eq!(totals.to_string(), "13 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn counts_nothing_else() {
        let mut totals = Totals::default();
        for line in
            ["", "test result: ", "test result: ok. passed", "3 passed; 1 failed", "  test result: ok. 1 passed;"]
        {
            totals.add_line(line);
        }
        assert_eq!(totals, Totals::default());
    }
}
