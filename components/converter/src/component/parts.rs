//! A long file's MP3 in parts: each is a delivery of its own, so as many instances make them as the queue's consumer
//! may have. Whoever makes the last one puts them together.

use messages::{ConvertPart, JobId, names};

use super::record::Record;
use super::{Clock, Made, Stop, delete_unknown, encode, end, open, settings, store, video};
use crate::convert::Converted;
use crate::job::{self, Task};
use crate::plan::{self, Plan};
use crate::span::Span;

/// Into how many parts a file is shared at most.
const MOST: u64 = 8;

/// The same, as the component's environment says it (`MP3_PARTS`; 1: none).
pub(super) fn most() -> u64 {
    std::env::var("MP3_PARTS").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(MOST)
}

/// Makes a part, and all of the MP3 if it was the last.
pub(super) async fn handle(message: &ConvertPart, attempt: u32) -> Result<(), Stop> {
    let id = message.job;
    let ended = match Record::load(id)? {
        None => Err(Stop::Settled),
        Some(mut record) => match work(&mut record, message, attempt).await {
            Ok(None) => return Ok(()),
            Err(Stop::Retry(reason)) => return Err(Stop::Retry(reason)),
            Ok(Some(made)) => end(&mut record, Ok(made)),
            Err(stop) => end(&mut record, Err(stop)),
        },
    };
    // The job is final, or gone: its parts are of no more use, whoever made them.
    for part in 0..message.of {
        store::delete(&part_key(id, part));
    }
    delete_unknown(id, &ended)?;
    ended
}

fn part_key(id: JobId, part: u32) -> String {
    format!("{}.part{part}", names::blob_key(id))
}

/// The MP3, if this was the last part.
async fn work(record: &mut Record, message: &ConvertPart, attempt: u32) -> Result<Option<Made>, Stop> {
    let index = usize::try_from(message.part).map_err(|_| Stop::Settled)?;
    let plan = Plan::of(record.job()).ok_or(Stop::Settled)?;
    match job::task(record.job(), attempt) {
        Task::Nothing => return Err(Stop::Settled),
        Task::Fail(reason) => return Err(Stop::File(reason)),
        Task::Convert => {}
    }
    // If this delivery comes a second time, it may be made.
    if let Some(span) = plan.missing(index) {
        record.of_part(index);
        let made = convert(record, message, span).await?;
        record.plan(|plan| plan.make(index, made.clone()))?;
    }
    let parts = Plan::of(record.job()).ok_or(Stop::Settled)?.complete();
    match parts {
        Some(parts) => join(record, parts).await.map(Some),
        None => Ok(None),
    }
}

async fn convert(record: &mut Record, message: &ConvertPart, span: Span) -> Result<plan::Made, Stop> {
    let mut clock = Clock::start();
    let video = video(record)?;
    let size = video.bytes();
    let (mut conversion, watch) = open(record, video, settings(&record.job().choices), span)?;
    let key = part_key(message.job, message.part);
    encode(&mut conversion, record, &mut clock, &watch, size, key).await?;
    let warning = conversion.warning();
    Ok(plan::Made { converted: conversion.converted()?, warning })
}

/// Stores the parts as one MP3.
async fn join(record: &mut Record, parts: Vec<plan::Made>) -> Result<Made, Stop> {
    let id = record.job().id;
    // Again for the tag only, which is too large for the record.
    let video = video(record)?;
    let (conversion, _) = open(record, video, settings(&record.job().choices), Span::WHOLE)?;
    let warning = parts.iter().find_map(|part| part.warning);
    let spans: Vec<Converted> = parts.into_iter().map(|part| part.converted).collect();
    let head = conversion.joint_head(&spans)?;
    let keys: Vec<String> =
        (0..).zip(&spans).filter(|(_, span)| span.part.bytes > 0).map(|(index, _)| part_key(id, index)).collect();
    let mut clock = Clock::start();
    let bytes = store::assemble(&keys, &names::blob_key(id), head, || clock.look(record)).await?;
    let samples = spans.iter().find_map(|span| span.samples).unwrap_or(0);
    Ok(Made { bytes, seconds: conversion.seconds_of(samples), warning })
}
