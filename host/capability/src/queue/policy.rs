//! What to do with a delivery that was not handled: a pure decision.

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// When and how often a consumer's failed deliveries are tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// After so many attempts a message is given up; at least 1.
    pub max_attempts: u32,
    /// The delay after the first failure; it doubles with every further one.
    pub first_delay: Duration,
    /// The longest delay.
    pub max_delay: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_attempts: 5, first_delay: Duration::from_secs(1), max_delay: Duration::from_secs(600) }
    }
}

/// What happens to a failed delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered again after this time.
    Retry(Duration),
    /// It goes to the dead letters.
    Bury,
}

impl Policy {
    /// The verdict on attempt number `attempt` (from 1) that failed and asked to wait `after`.
    ///
    /// Without `after` the delay is exponential with jitter: evenly between half of the step and
    /// all of it, so that messages that failed together do not come back together.
    pub fn verdict(&self, attempt: u32, after: Option<Duration>, random: &mut impl Rng) -> Verdict {
        if attempt >= self.max_attempts {
            return Verdict::Bury;
        }
        Verdict::Retry(after.unwrap_or_else(|| {
            let doublings = attempt.saturating_sub(1).min(31);
            let step = self.first_delay.saturating_mul(1 << doublings).min(self.max_delay);
            step.mul_f64(random.random_range(0.5..=1.0))
        }))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_with_jitter() {
        let policy = Policy { max_attempts: 100, ..Policy::default() };
        let mut random = StdRng::seed_from_u64(1);
        for (attempt, step) in [(1, 1), (2, 2), (5, 16), (20, 600), (90, 600)] {
            for _ in 0..100 {
                let Verdict::Retry(delay) = policy.verdict(attempt, None, &mut random) else { panic!("buried") };
                let step = Duration::from_secs(step);
                assert!(delay >= step / 2 && delay <= step, "attempt {attempt}: {delay:?}");
            }
        }
    }

    #[test]
    fn the_last_attempt_is_buried_whatever_it_asked_for() {
        let policy = Policy { max_attempts: 2, ..Policy::default() };
        let mut random = StdRng::seed_from_u64(1);
        let after = Some(Duration::from_secs(7));
        assert_eq!(policy.verdict(1, after, &mut random), Verdict::Retry(Duration::from_secs(7)));
        assert_eq!(policy.verdict(2, after, &mut random), Verdict::Bury);
    }
}
