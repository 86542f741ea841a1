//! A long file's MP3 in parts: each is a delivery of its own, so as many instances make them as the queue's consumer
//! may have. Whoever makes the last one puts them together.

use messages::{ConvertPart, JobId, names};

use super::record::Record;
use super::{Clock, Stop, checked, encode, guarded, now, settings, store};
use crate::convert::{Conversion, Converted};
use crate::job::{self, Task};
use crate::plan::{Made, Plan};
use crate::reason::Reason;
use crate::source::{Source, Watch};
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
    let ended = match work(message, attempt).await {
        Ok(false) => return Ok(()),
        Ok(true) => Ok(()),
        Err(Stop::File(reason)) => match Record::load(id)? {
            Some(mut record) => record.change(|job| job.fail(now(), reason.to_string())),
            None => Err(Stop::Settled),
        },
        Err(Stop::Retry(reason)) => return Err(Stop::Retry(reason)),
        Err(Stop::Settled) => Err(Stop::Settled),
    };
    // The job is final, or gone: its parts are of no more use, whoever made them.
    for part in 0..message.of {
        store::delete(&part_key(id, part));
    }
    if matches!(ended, Err(Stop::Settled)) && Record::load(id)?.is_none() {
        store::delete(&names::blob_key(id));
    }
    ended
}

fn part_key(id: JobId, part: u32) -> String {
    format!("{}.part{part}", names::blob_key(id))
}

/// True if the MP3 is complete.
async fn work(message: &ConvertPart, attempt: u32) -> Result<bool, Stop> {
    let index = usize::try_from(message.part).map_err(|_| Stop::Settled)?;
    let mut record = Record::load(message.job)?.ok_or(Stop::Settled)?;
    let plan = Plan::of(record.job()).ok_or(Stop::Settled)?;
    match job::task(record.job(), attempt) {
        Task::Nothing => return Err(Stop::Settled),
        Task::Fail(reason) => return Err(Stop::File(reason)),
        Task::Convert => {}
    }
    // If this delivery comes a second time, it may be made.
    if let Some(span) = plan.missing(index) {
        record.of_part(index);
        let made = convert(&mut record, message, span).await?;
        record.plan(|plan| plan.make(index, made.clone()))?;
    }
    let parts = Plan::of(record.job()).ok_or(Stop::Settled)?.complete();
    match parts {
        Some(parts) => join(&mut record, parts).await.map(|()| true),
        None => Ok(false),
    }
}

async fn convert(record: &mut Record, message: &ConvertPart, span: Span) -> Result<Made, Stop> {
    let mut clock = Clock::start();
    let (mut conversion, watch, size) = open(record, span)?;
    let key = part_key(message.job, message.part);
    encode(&mut conversion, record, &mut clock, &watch, size, key).await?;
    let warning = conversion.warning().map(|warning| warning.to_string());
    Ok(Made { converted: conversion.converted()?, warning })
}

fn open(record: &mut Record, span: Span) -> Result<(Conversion, Watch, u64), Stop> {
    let id = record.job().id;
    let Some(video) = store::Video::open(&names::blob_key(id))? else {
        record.refresh()?;
        return Err(Stop::File(Reason::Gone));
    };
    let size = video.bytes();
    let source = Source::new(video);
    let watch = source.watch();
    let (file_name, settings) = (record.job().file_name.clone(), settings(&record.job().choices));
    let opened = guarded(id, || Conversion::open_span(source, &file_name, settings, span));
    Ok((checked(&watch, opened)?, watch, size))
}

/// Stores the parts as one MP3, and ends the job.
async fn join(record: &mut Record, parts: Vec<Made>) -> Result<(), Stop> {
    let id = record.job().id;
    // Again for the tag only, which is too large for the record.
    let (conversion, ..) = open(record, Span::WHOLE)?;
    let warning = parts.iter().find_map(|part| part.warning.clone());
    let spans: Vec<Converted> = parts.into_iter().map(|part| part.converted).collect();
    let head = conversion.joint_head(&spans)?;
    let keys: Vec<String> =
        (0..).zip(&spans).filter(|(_, span)| span.part.bytes > 0).map(|(index, _)| part_key(id, index)).collect();
    let mut clock = Clock::start();
    let bytes = store::assemble(&keys, &names::blob_key(id), head, || clock.look(record)).await?;
    let samples = spans.iter().find_map(|span| span.samples).unwrap_or(0);
    let seconds = conversion.seconds_of(samples);
    record.change(|job| job.finish(now(), bytes, seconds, warning.clone()))
}
