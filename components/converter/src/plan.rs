//! A conversion in parts: which parts there are, and what of them is made. Stands in the job's record until the job is
//! final, so whoever makes the last part knows that it is the last, and puts them together.

use messages::{ConvertPart, Job, JobId};
use serde::{Deserialize, Serialize};

use crate::convert::Converted;
use crate::reason::Notice;
use crate::span::Span;

/// The least that a part lasts, in seconds: each one costs the opening of the file and some frames in vain.
const SHORTEST: f64 = 60.0;

/// The parts, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    parts: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    span: Span,
    percent: u8,
    made: Option<Made>,
}

/// A part that is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Its measure.
    pub converted: Converted,
    /// What the owner should know.
    pub warning: Option<Notice>,
}

impl Made {
    /// True if the track ended before the span did.
    fn is_short_of(&self, span: Span) -> bool {
        let Converted { part, samples, .. } = &self.converted;
        samples.is_some() && span.to.is_some_and(|to| part.frames < to.saturating_sub(span.from))
    }
}

impl Plan {
    /// Up to `most` parts of a sound of so many frames and seconds; none if it is too short for two.
    #[must_use]
    pub fn share(frames: u64, seconds: f64, most: u64) -> Option<Self> {
        let count = ((seconds / SHORTEST) as u64).min(most);
        let new = |span| Entry { span, percent: 0, made: None };
        (count > 1).then(|| Self { parts: Span::share(frames, count).into_iter().map(new).collect() })
    }

    /// The one in a job's record.
    #[must_use]
    pub fn of(job: &Job) -> Option<Self> {
        serde_json::from_value(job.plan.clone()?).ok()
    }

    /// Writes it into a job's record, and the progress that follows of it. Without effect on a final job.
    ///
    /// # Errors
    /// None that a plan can cause.
    pub fn write(&self, job: &mut Job) -> serde_json::Result<()> {
        if !job.status.is_final() {
            job.plan = Some(serde_json::to_value(self)?);
            let done: u64 = self.parts.iter().map(|part| u64::from(part.percent)).sum();
            job.advance((done / (self.parts.len() as u64).max(1)) as u8);
        }
        Ok(())
    }

    /// What tells converters to make them.
    pub fn messages(&self, job: JobId) -> impl Iterator<Item = ConvertPart> {
        let count = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        (0..count).map(move |index| ConvertPart { job, part: index, of: count })
    }

    /// A part's frames, if it still has to be made.
    #[must_use]
    pub fn missing(&self, index: usize) -> Option<Span> {
        self.parts.get(index).filter(|part| part.made.is_none()).map(|part| part.span)
    }

    /// Notes how far a part is. True if that is news.
    pub fn advance(&mut self, index: usize, percent: u8) -> bool {
        let Some(part) = self.parts.get_mut(index).filter(|part| percent > part.percent) else { return false };
        part.percent = percent.min(100);
        true
    }

    /// A part is made.
    pub fn make(&mut self, index: usize, made: Made) {
        if let Some(part) = self.parts.get_mut(index) {
            part.percent = 100;
            part.made = Some(made);
        }
    }

    /// What the MP3 consists of, once all parts are made.
    ///
    /// Each part is read by itself. Where one comes to the track's end too early, as a single pass would have, no other
    /// follows it, though it may have found something behind the damage.
    #[must_use]
    pub fn complete(&self) -> Option<Vec<Made>> {
        let made = self.parts.iter().map(|part| Some((part.span, part.made.clone()?)));
        let made: Vec<(Span, Made)> = made.collect::<Option<_>>()?;
        let ends = made.iter().position(|(span, made)| made.is_short_of(*span));
        Some(made.into_iter().map(|(_, made)| made).take(ends.map_or(usize::MAX, |index| index + 1)).collect())
    }
}

#[cfg(test)]
mod tests {
    use messages::Owner;

    use super::*;
    use crate::reason::Warning;

    fn job() -> Job {
        let owner = Owner { id: "o".into(), email: "o@example.org".into() };
        Job::queued(JobId::new(3, [1; 10]), owner, "a.mp4".into(), "video/mp4".into(), 5, 10)
    }

    fn made() -> Made {
        let converted = Converted { part: crate::part::Part::default(), samples: None, info: vec![1, 2] };
        Made { converted, warning: Some(Notice { warning: Warning::Gaps, missing: Some(0.5) }) }
    }

    #[test]
    fn only_what_is_long_is_shared() {
        assert_eq!(Plan::share(4000, 119.0, 8), None);
        assert_eq!(Plan::share(4000, 1190.0, 1), None);
        assert_eq!(Plan::share(4000, 121.0, 8).map(|plan| plan.parts.len()), Some(2));
        assert_eq!(Plan::share(400_000, 40_000.0, 8).map(|plan| plan.parts.len()), Some(8));
    }

    #[test]
    fn the_record_keeps_the_plan_until_it_is_final() -> serde_json::Result<()> {
        let mut job = job();
        job.start(11);
        let mut plan = Plan::share(20_000, 600.0, 2).expect("two parts");
        assert!(plan.advance(0, 40) && !plan.advance(0, 30));
        plan.write(&mut job)?;
        assert_eq!((Plan::of(&job), job.progress), (Some(plan.clone()), 20));
        plan.make(0, made());
        assert_eq!(
            (plan.missing(0), plan.missing(1), plan.missing(2)),
            (None, Some(Span { from: 10_000, to: None }), None)
        );
        assert_eq!(plan.complete(), None);
        plan.make(1, made());
        assert_eq!(plan.complete().map(|parts| parts.len()), Some(2));
        plan.write(&mut job)?;
        assert_eq!((Plan::of(&job), job.progress), (Some(plan.clone()), 99));
        job.finish(12, 100, 600.0, None);
        plan.write(&mut job)?;
        assert_eq!(job.plan, None);
        Ok(())
    }

    #[test]
    fn what_lies_behind_an_early_end_is_left_out() {
        let mut plan = Plan::share(30_000, 900.0, 3).expect("three parts");
        let ended = |frames, samples| {
            let mut made = made();
            made.converted.part.frames = frames;
            made.converted.samples = samples;
            made
        };
        plan.make(0, ended(10_000, None));
        plan.make(2, ended(12_000, Some(9_000_000)));
        for (second, parts) in [(ended(10_000, None), 3), (ended(10_000, Some(1)), 3), (ended(9999, Some(1)), 2)] {
            assert_eq!(plan.complete().map(|parts| parts.len()), None);
            let mut plan = plan.clone();
            plan.make(1, second);
            assert_eq!(plan.complete().map(|parts| parts.len()), Some(parts));
        }
    }

    #[test]
    fn every_part_has_its_message() {
        let id = JobId::new(3, [1; 10]);
        let plan = Plan::share(20_000, 200.0, 3).expect("three parts");
        let told: Vec<_> = plan.messages(id).map(|message| (message.part, message.of)).collect();
        assert_eq!(told, [(0, 3), (1, 3), (2, 3)]);
    }
}
