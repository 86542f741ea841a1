//! The job's record in the key-value store: every change is checked against the version it is based on.

use messages::{JSON, Job, JobId, names};

use super::bindings::tessera::keyvalue::store as kv;
use super::bindings::tessera::keyvalue::types::{Check, Error, Operation, Publication, Range, Set};
use super::bindings::tessera::queue::types::Message;
use super::{Stop, now};
use crate::job::{self, Announcement};
use crate::plan::Plan;

/// How often a change is tried anew because somebody else changed the record.
const TRIES: u32 = 10;

/// How long a job counts as one that is made in parts, in milliseconds, should nobody note its end.
const SHARED_FOR: u64 = 2 * 60 * 60 * 1000;

/// The store lists no more at a time.
const MOST_LISTED: u64 = 1000;

/// A record as it was read or written last.
pub(super) struct Record {
    job: Job,
    version: u64,
    /// The part whose progress is reported, if the MP3 is made in parts.
    part: Option<usize>,
}

impl Record {
    /// The record; none if the job was deleted.
    pub(super) fn load(id: JobId) -> Result<Option<Self>, Stop> {
        let Some(entry) = kv::get(names::JOBS, &names::job_key(id)).map_err(stop)? else { return Ok(None) };
        let job = messages::from_json(&entry.value)
            .map_err(|error| Stop::Retry(format!("the job's record cannot be read: {error}")))?;
        Ok(Some(Self { job, version: entry.version, part: None }))
    }

    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    /// Reads it again. Stops if it is gone, or final.
    pub(super) fn refresh(&mut self) -> Result<(), Stop> {
        let fresh = Self::load(self.job.id)?.filter(|record| !record.job.status.is_final()).ok_or(Stop::Settled)?;
        *self = Self { part: self.part, ..fresh };
        Ok(())
    }

    /// Changes it, and if that makes it final, tells so in the same commit. Stops if it is gone, or was final.
    pub(super) fn change(&mut self, change: impl Fn(&mut Job)) -> Result<(), Stop> {
        self.change_and_publish(change, &[])
    }

    /// Shares the work: the plan and the messages of its parts come into being together.
    pub(super) fn share(&mut self, plan: &Plan) -> Result<(), Stop> {
        let message = |part| {
            let body = messages::to_json(&part).map_err(|error| Stop::Retry(error.to_string()))?;
            Ok(Announcement { queue: names::PART, body })
        };
        let parts: Vec<_> = plan.messages(self.job.id).map(message).collect::<Result<_, Stop>>()?;
        self.change_and_publish(|job| written(plan, job), &parts)
    }

    /// From now on, progress is that of a part.
    pub(super) fn of_part(&mut self, index: usize) {
        self.part = Some(index);
    }

    /// Changes the plan. Stops if there is none, or no record.
    pub(super) fn plan(&mut self, change: impl Fn(&mut Plan)) -> Result<(), Stop> {
        self.change(|job| {
            if let Some(mut plan) = Plan::of(job) {
                change(&mut plan);
                written(&plan, job);
            }
        })
    }

    fn change_and_publish(&mut self, change: impl Fn(&mut Job), messages: &[Announcement]) -> Result<(), Stop> {
        // A second commit of a final record would tell of its end a second time.
        if self.job.status.is_final() {
            return Err(Stop::Settled);
        }
        for _ in 0..TRIES {
            let mut job = self.job.clone();
            change(&mut job);
            match self.commit(&job, messages) {
                Ok(version) => {
                    *self = Self { job, version, part: self.part };
                    return Ok(());
                }
                Err(Error::Conflict) => self.refresh()?,
                Err(error) => return Err(stop(error)),
            }
        }
        Err(Stop::Retry("the job's record keeps changing".into()))
    }

    /// Notes the progress. Stops if the record is gone, or final.
    pub(super) fn report(&mut self, percent: u8) -> Result<(), Stop> {
        if let Some(part) = self.part {
            let mut plan = Plan::of(&self.job).ok_or(Stop::Settled)?;
            if plan.advance(part, percent) {
                return self.plan(|plan| {
                    plan.advance(part, percent);
                });
            }
            self.refresh()
        } else if self.job.clone().advance(percent) {
            self.change(|job| {
                job.advance(percent);
            })
        } else {
            self.refresh()
        }
    }

    fn commit(&self, job: &Job, messages: &[Announcement]) -> Result<u64, Error> {
        let malformed = |error: serde_json::Error| Error::Invalid(error.to_string());
        let key = names::job_key(job.id);
        let value = messages::to_json(job).map_err(malformed)?;
        let mut operations = vec![Operation::Set(Set { key: key.clone(), value, time_to_live: None })];
        let told = job::announcements(job, now()).map_err(malformed)?;
        operations.extend(told.into_iter().chain(messages.iter().cloned()).map(|told| {
            Operation::Publish(Publication {
                queue: told.queue.into(),
                message: Message {
                    body: told.body,
                    content_type: Some(JSON.into()),
                    headers: Vec::new(),
                    deduplication_id: None,
                    not_before: None,
                    ordering_key: None,
                },
            })
        }));
        match (&self.job.plan, &job.plan) {
            (None, Some(_)) => {
                let key = names::shared_key(job.id);
                operations.push(Operation::Set(Set { key, value: Vec::new(), time_to_live: Some(SHARED_FOR) }));
            }
            (Some(_), None) => operations.push(Operation::Delete(names::shared_key(job.id))),
            _ => {}
        }
        let checks = [Check { key, version: Some(self.version) }];
        Ok(kv::commit(names::JOBS, &checks, &operations)?.version)
    }
}

/// How many jobs are being made in parts, or `most` if more are.
pub(super) async fn shared(most: u64) -> Result<u64, Stop> {
    let range = Range { prefix: Some(names::SHARED_PREFIX.into()), start: None, end: None };
    let limit = most.clamp(1, MOST_LISTED) as u32;
    let page = kv::list(names::JOBS.into(), range, limit, false, None).await.map_err(stop)?;
    Ok(page.entries.len() as u64)
}

/// Notes that a job that is gone is no longer made in parts.
pub(super) fn forget_shared(id: JobId) {
    // Else it counts until its time is over.
    if let Err(error) = kv::commit(names::JOBS, &[], &[Operation::Delete(names::shared_key(id))]) {
        eprintln!("store `{}`: {error:?}", names::JOBS);
    }
}

fn written(plan: &Plan, job: &mut Job) {
    if let Err(error) = plan.write(job) {
        eprintln!("cannot note the plan: {error}");
    }
}

fn stop(error: Error) -> Stop {
    Stop::Retry(format!("store `{}`: {error:?}", names::JOBS))
}
