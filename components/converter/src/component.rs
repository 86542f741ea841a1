//! The exported consumer: deliveries in, stores and queues out.
//!
//! Symphonia reads synchronously, and the host's functions are asynchronous. So those it needs, and the short ones,
//! are lowered synchronously: a call blocks this task (an asynchronous export may), while the host goes on with
//! what is under way, such as storing the stream that this task writes. Only streams are awaited.

mod parts;
mod record;
mod store;

use std::panic;
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use messages::{Choices, ConvertPart, ConvertVideo, JobId, Timestamp, names};
use serde::de::DeserializeOwned;

use crate::convert::{self, Conversion, Measurement};
use crate::encode::Settings;
use crate::job::{self, Task};
use crate::loudness::Measured;
use crate::reason::{Notice, Reason};
use crate::source::{Fault, Source, Watch};
use crate::span::Span;
use record::Record;
use store::Upload;

#[allow(missing_docs, unsafe_code, clippy::all, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package tessera:converter;

            world converter {
                import tessera:blob/store@0.1.0;
                import tessera:keyvalue/store@0.1.0;
                export tessera:queue/consumer@0.1.0;
            }
        ",
        async: [
            "-import:tessera:blob/store@0.1.0#read-at",
            "-import:tessera:blob/store@0.1.0#head",
            "-import:tessera:blob/store@0.1.0#delete",
            "-import:tessera:blob/store@0.1.0#get",
            "-import:tessera:keyvalue/store@0.1.0#get",
            "-import:tessera:keyvalue/store@0.1.0#commit",
        ],
        generate_all,
    });

    use super::Converter;
    export!(Converter with_types_in self);
}

use bindings::exports::tessera::queue::consumer::Guest;
use bindings::tessera::queue::types::{Delivery, Rejection, Retry};

/// Bytes of MP3 written at once.
const CHUNK: usize = 64 * 1024;
/// Between two looks at the job's record: a job that is cancelled stops within a second.
const REPORT: Duration = Duration::from_millis(500);
/// How long one attempt may take when the environment does not say it.
const TIME_LIMIT: Duration = Duration::from_secs(110 * 60);

/// Why a conversion stopped without an MP3.
enum Stop {
    /// The job is no longer there, or was ended by somebody else: nothing more to do.
    Settled,
    /// The file's fault.
    File(Reason),
    /// Another time; why.
    Retry(String),
}

impl From<convert::Error> for Stop {
    fn from(error: convert::Error) -> Self {
        match error {
            convert::Error::File(reason) => Self::File(reason),
            other => Self::Retry(other.to_string()),
        }
    }
}

/// An MP3 that is stored.
struct Made {
    bytes: u64,
    seconds: f64,
    warning: Option<Notice>,
}

struct Converter;

impl Guest for Converter {
    async fn consume(delivery: Delivery) -> Result<(), Rejection> {
        let handled = match delivery.queue.as_str() {
            names::PART => {
                let message: ConvertPart = body(&delivery)?;
                parts::handle(&message, delivery.attempt).await
            }
            _ => {
                let message: ConvertVideo = body(&delivery)?;
                handle(message.job, delivery.attempt).await
            }
        };
        match handled {
            Ok(()) | Err(Stop::Settled) => Ok(()),
            Err(Stop::Retry(reason)) => Err(Rejection::Retry(Retry { after: None, reason })),
            Err(Stop::File(reason)) => Err(Rejection::Retry(Retry { after: None, reason: reason.to_string() })),
        }
    }
}

fn body<T: DeserializeOwned>(delivery: &Delivery) -> Result<T, Rejection> {
    let queue = &delivery.queue;
    messages::from_json(&delivery.message.body)
        .map_err(|error| Rejection::Discard(format!("not a message of the queue `{queue}`: {error}")))
}

async fn handle(id: JobId, attempt: u32) -> Result<(), Stop> {
    let Some(mut record) = Record::load(id)? else {
        // An earlier attempt may have been killed before the job was deleted.
        store::delete(&part_key(id));
        store::delete(&names::blob_key(id));
        return Ok(());
    };
    let made = match job::task(record.job(), attempt) {
        Task::Nothing => return Ok(()),
        Task::Fail(reason) => Err(Stop::File(reason)),
        // It is being made in parts.
        Task::Convert if record.job().plan.is_some() => return Ok(()),
        Task::Convert => {
            record.change(|job| job.start(now()))?;
            match convert(&mut record).await {
                Ok(None) => return Ok(()),
                Ok(Some(made)) => Ok(made),
                Err(stop) => Err(stop),
            }
        }
    };
    // Whatever became of it, its parts are of no more use.
    store::delete(&part_key(id));
    let ended = end(&mut record, made);
    delete_unknown(id, &ended)?;
    ended
}

/// Ends the job with its MP3, or with the reason why there is none.
fn end(record: &mut Record, made: Result<Made, Stop>) -> Result<(), Stop> {
    match made {
        Ok(made) => record.change(|job| {
            job.finish(now(), made.bytes, made.seconds, made.warning.map(|warning| warning.to_string()));
            job.missing_seconds = made.warning.and_then(|warning| warning.missing);
        }),
        Err(Stop::File(reason)) => record.change(|job| job.fail(now(), reason.to_string())),
        Err(stop) => Err(stop),
    }
}

/// An MP3 that no record knows would stay for ever, and a job that is gone would count as one that is made in parts.
fn delete_unknown(id: JobId, ended: &Result<(), Stop>) -> Result<(), Stop> {
    if matches!(ended, Err(Stop::Settled)) && Record::load(id)?.is_none() {
        store::delete(&names::blob_key(id));
        record::forget_shared(id);
    }
    Ok(())
}

fn part_key(id: JobId) -> String {
    format!("{}.part", names::blob_key(id))
}

/// Converts to the job's MP3, under its key when it is complete; none if it will be made in parts.
///
/// The info frame, which comes first, is known last. So the frames are stored under a key of their own, and are
/// then copied behind it, which takes a small part of the time of encoding them.
async fn convert(record: &mut Record) -> Result<Option<Made>, Stop> {
    let id = record.job().id;
    let video = video(record)?;
    let size = video.bytes();
    let mut settings = settings(&record.job().choices);
    let mut clock = Clock::start();
    measure(record, &mut clock, &video, &mut settings)?;
    let (mut conversion, watch) = open(record, video, settings, Span::WHOLE)?;
    // The more jobs are being made in parts, the fewer parts one more has: they would only wait for one another.
    let most = parts::most();
    if conversion.share(most).is_some()
        && let Some(plan) = conversion.share(most / record::shared(most).await?.saturating_add(1))
    {
        record.share(&plan)?;
        return Ok(None);
    }
    encode(&mut conversion, record, &mut clock, &watch, size, part_key(id)).await?;
    let head = conversion.head()?;
    let bytes = store::assemble(&[part_key(id)], &names::blob_key(id), head, || clock.look(record)).await?;
    Ok(Some(Made { bytes, seconds: conversion.seconds(), warning: conversion.warning() }))
}

/// What is to be converted.
fn video(record: &mut Record) -> Result<store::Video, Stop> {
    match store::Video::open(&names::blob_key(record.job().id))? {
        Some(video) => Ok(video),
        None => {
            record.refresh()?;
            Err(Stop::File(Reason::Gone))
        }
    }
}

/// The conversion of a span of it.
fn open(record: &Record, video: store::Video, settings: Settings, span: Span) -> Result<(Conversion, Watch), Stop> {
    let source = Source::new(video);
    let watch = source.watch();
    let job = record.job();
    let opened = guarded(job.id, || Conversion::open_span(source, &job.file_name, settings, span));
    Ok((checked(&watch, opened)?, watch))
}

/// Encodes into an object of the store `mp3s`.
async fn encode(
    conversion: &mut Conversion,
    record: &mut Record,
    clock: &mut Clock,
    watch: &Watch,
    size: u64,
    key: String,
) -> Result<(), Stop> {
    let (upload, stored) = Upload::begin(key);
    let encode = encode_to(upload, conversion, record, clock, watch, size);
    let (encoded, stored) = futures::join!(encode, stored);
    // A store that stops taking the stream ends the encoding too; its own reason says more.
    match (encoded, stored) {
        (Ok(()), Ok(_)) => Ok(()),
        (Ok(()) | Err(None), Err(stop)) => Err(stop),
        (Err(Some(stop)), _) => Err(stop),
        (Err(None), Ok(_)) => Err(Stop::Retry("the store stopped taking the MP3".into())),
    }
}

/// Says when it is time to look at the record, and to give up.
struct Clock {
    started: Instant,
    looked: Instant,
    limit: Duration,
}

impl Clock {
    fn start() -> Self {
        let minutes = std::env::var("TIME_LIMIT_MINUTES").ok().and_then(|text| text.trim().parse().ok());
        let limit = minutes.map_or(TIME_LIMIT, |minutes: u64| Duration::from_secs(minutes.saturating_mul(60)));
        Self { started: Instant::now(), looked: Instant::now(), limit }
    }

    fn is_due(&self) -> bool {
        self.looked.elapsed() >= REPORT
    }

    /// Notes the progress, from 0 to 1, if it is time to. Stops if the job is gone or takes too long.
    fn report(&mut self, record: &mut Record, progress: f64) -> Result<(), Stop> {
        if !self.is_due() {
            return Ok(());
        }
        if self.started.elapsed() > self.limit {
            return Err(Stop::File(Reason::TooSlow(self.limit.as_secs() / 60)));
        }
        record.report((progress * 100.0) as u8)?;
        self.looked = Instant::now();
        Ok(())
    }

    /// The same where there is no progress to be noted.
    fn look(&mut self, record: &mut Record) -> Result<(), Stop> {
        self.report(record, 0.0)
    }
}

/// The passes before a conversion that sets the loudness: one, and where peaks have to be limited up to two more, which
/// find out what that takes from the loudness.
fn measure(record: &mut Record, clock: &mut Clock, video: &store::Video, settings: &mut Settings) -> Result<(), Stop> {
    let Some(target) = settings.choices.loudness else { return Ok(()) };
    let mut measured = pass(record, clock, video.clone(), settings)?;
    for _ in 0..2 {
        settings.measured = Some(measured);
        if !measured.is_limited(target) {
            break;
        }
        let result = pass(record, clock, video.clone(), settings)?;
        let Some(refined) = measured.refined(target, result) else { break };
        measured = refined;
    }
    settings.measured = Some(measured);
    Ok(())
}

fn pass(record: &mut Record, clock: &mut Clock, video: store::Video, settings: &Settings) -> Result<Measured, Stop> {
    let (id, size, file_name) = (record.job().id, video.bytes(), record.job().file_name.clone());
    let source = Source::new(video);
    let watch = source.watch();
    let opened = guarded(id, || Measurement::open(source, &file_name, settings));
    let mut measurement = checked(&watch, opened)?;
    while checked(&watch, guarded(id, || measurement.step()))? {
        clock.report(record, measurement.progress(watch.furthest(), size))?;
    }
    Ok(measurement.measured()?)
}

/// Encodes to the upload's end. The error is absent if the store stopped taking it.
async fn encode_to(
    mut upload: Upload,
    conversion: &mut Conversion,
    record: &mut Record,
    clock: &mut Clock,
    watch: &Watch,
    size: u64,
) -> Result<(), Option<Stop>> {
    let id = record.job().id;
    let mut more = true;
    while more {
        let mut chunk = Vec::with_capacity(CHUNK * 2);
        while more && chunk.len() < CHUNK && !clock.is_due() {
            let step = guarded(id, || conversion.step(&mut chunk));
            more = checked(watch, step).map_err(Some)?;
        }
        if !upload.write(chunk).await {
            return Err(None);
        }
        clock.report(record, conversion.progress(watch.furthest(), size)).map_err(Some)?;
    }
    if upload.complete().await { Ok(()) } else { Err(None) }
}

/// The store's fault, if there was one, explains whatever the decoder made of it.
fn checked<T>(watch: &Watch, result: Result<T, convert::Error>) -> Result<T, Stop> {
    match watch.fault() {
        None => Ok(result?),
        Some(Fault::Missing) => Err(Stop::File(Reason::Gone)),
        Some(Fault::Temporary(reason)) => Err(Stop::Retry(reason)),
    }
}

fn settings(choices: &Choices) -> Settings {
    let variable = |name| std::env::var(name).ok();
    let parsed = Settings::parse(variable("MP3_BITRATE").as_deref(), variable("MP3_QUALITY").as_deref());
    let defaults = parsed.unwrap_or_else(|error| {
        eprintln!("{error}; the default is used");
        Settings::default()
    });
    defaults.with(choices.clone())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The job whose file is being decoded at this moment.
static DECODING: Mutex<Option<JobId>> = Mutex::new(None);

/// Runs a piece of decoding. Should it panic, which a hostile file may bring about, the job fails with a reason
/// before the trap: otherwise the host would deliver the same file again, with the same end.
fn guarded<T>(id: JobId, decode: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            default(panic);
            if let Some(id) = decoding(None) {
                fail_crashed(id);
            }
        }));
    });
    decoding(Some(id));
    let result = decode();
    decoding(None);
    result
}

fn decoding(id: Option<JobId>) -> Option<JobId> {
    std::mem::replace(&mut *DECODING.lock().unwrap_or_else(PoisonError::into_inner), id)
}

fn fail_crashed(id: JobId) {
    store::delete(&part_key(id));
    if let Ok(Some(mut record)) = Record::load(id) {
        // If this fails too, the next attempt comes to the same point.
        let _ = record.change(|job| job.fail(now(), Reason::Crashed.to_string()));
    }
}
