//! Times of containers, in ticks, as samples and seconds.

use std::ops::Range;

use symphonia::core::units::TimeBase;

/// A time in ticks as seconds; none if it is 0.
pub(super) fn seconds(base: TimeBase, ticks: u64) -> Option<f64> {
    let seconds = ticks as f64 * f64::from(base.numer.get()) / f64::from(base.denom.get());
    (seconds > 0.0).then_some(seconds)
}

/// A time in ticks as a number of samples, rounded to the nearest.
pub(super) fn to_samples(ticks: i64, base: TimeBase, rate: u32) -> i64 {
    let (numer, denom) = (i128::from(base.numer.get()), i128::from(base.denom.get()));
    let samples = (i128::from(ticks) * numer * i128::from(rate) + denom / 2).div_euclid(denom);
    i64::try_from(samples).unwrap_or(if samples < 0 { i64::MIN } else { i64::MAX })
}

/// A span in ticks of a whole part of a second as samples; what never ends stays so.
pub(super) fn in_samples(ticks: &Range<u64>, timescale: u32, rate: u32) -> Range<u64> {
    let convert = |at: u64| match at {
        u64::MAX => at,
        at => u64::try_from(u128::from(at) * u128::from(rate) / u128::from(timescale.max(1))).unwrap_or(u64::MAX),
    };
    convert(ticks.start)..convert(ticks.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_to_samples() {
        let milliseconds = TimeBase::try_new(1, 1000).expect("a time base");
        assert_eq!(to_samples(23, milliseconds, 44_100), 1014);
        assert_eq!(to_samples(-23, milliseconds, 44_100), -1014);
        assert_eq!(in_samples(&(1024..u64::MAX), 44_100, 22_050), 512..u64::MAX);
    }
}
