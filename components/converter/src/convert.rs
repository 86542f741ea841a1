//! One file to one MP3, in steps, so that whoever drives it can write, report and stop in between.

use messages::Choices;
use serde::{Deserialize, Serialize};
use symphonia::core::io::MediaSource;

use crate::decode::Audio;
use crate::encode::{EncodeError, Settings};
use crate::loudness::{Measured, Meter, MeterError};
use crate::part::{self, Part};
use crate::piece::Piece;
use crate::plan::Plan;
use crate::reason::{Notice, Reason};
use crate::shape::Shape;
use crate::span::Span;
use crate::tags::Tags;
use crate::track::Pick;

/// Why there is no MP3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file's fault.
    #[error("{0}")]
    File(#[from] Reason),
    /// Not the file's fault.
    #[error("{0}")]
    Encoder(#[from] EncodeError),
    /// Not the file's fault.
    #[error("{0}")]
    Meter(#[from] MeterError),
    /// The tag could not be made; why.
    #[error("ID3: {0}")]
    Tag(String),
}

/// The beginning of an MP3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Tag and info frame.
    pub bytes: Vec<u8>,
    /// How many bytes at the body's start they take the place of.
    pub replaces: usize,
}

/// A conversion under way.
///
/// Its output is a body of which, when it is complete, the beginning is to be replaced by the [`Head`].
pub struct Conversion {
    audio: Audio,
    shape: Shape,
    choices: Choices,
    longest: u32,
    piece: Piece,
    tags: Tags,
    /// The track's end was reached, and not only that of the span.
    ended: bool,
}

/// A span of an MP3 that is converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Converted {
    /// Its measure.
    pub part: Part,
    /// The length of the whole sound in samples, if this one came to its end.
    pub samples: Option<u64>,
    /// The info frame it begins with, if it is the first span.
    pub info: Vec<u8>,
}

impl Conversion {
    /// Opens a file, and decodes enough to know that it can be converted.
    ///
    /// # Errors
    /// It cannot be converted. If the source failed meanwhile, that is what counts, not the reason here.
    pub fn open(source: impl MediaSource + 'static, file_name: &str, settings: Settings) -> Result<Self, Error> {
        Self::open_span(source, file_name, settings, Span::WHOLE)
    }

    /// As [`Conversion::open`], for a span of the frames, which begins without tag.
    ///
    /// # Errors
    /// As there.
    pub fn open_span(
        source: impl MediaSource + 'static,
        file_name: &str,
        settings: Settings,
        span: Span,
    ) -> Result<Self, Error> {
        let choices = settings.choices.clone();
        let mut audio = Audio::open_track(source, file_name, Pick::from(&choices))?;
        let longest = settings.longest;
        within(audio.announced_seconds().unwrap_or(0.0), &choices, longest)?;
        let (rate, channels) = (audio.rate(), audio.channels());
        let mut shape = Shape::new(&choices, rate).leveled(settings.measured, &choices, rate, channels);
        let mut piece = Piece::new(rate, shape.channels(channels), settings, span)?;
        let skipped = audio.skip_before(shape.start().saturating_add(piece.first_sample()));
        piece.skip(shape.skip(skipped));
        let tags = audio.take_tags().or_named(file_name);
        Ok(Self { audio, shape, choices, longest, piece, tags, ended: false })
    }

    /// Converts one packet and appends to the body what is ready of it. False when the body is complete.
    ///
    /// # Errors
    /// The encoder failed, or the whole track gave nothing.
    pub fn step(&mut self, body: &mut Vec<u8>) -> Result<bool, Error> {
        if self.piece.is_complete() {
            return Ok(false);
        }
        let next = if self.shape.is_complete() { None } else { self.audio.next_block() };
        let Some(planes) = next else {
            if self.piece.seen() == 0 {
                return Err(match self.shape.seen() {
                    0 => Reason::SilentTrack.into(),
                    seen => Reason::StartsBehind(seen / u64::from(self.audio.rate().max(1))).into(),
                });
            }
            let last = self.shape.finish();
            self.piece.encode(&last.iter().map(Vec::as_slice).collect::<Vec<_>>(), body)?;
            self.piece.finish(body)?;
            self.ended = true;
            return Ok(false);
        };
        let planes = self.shape.apply(planes);
        within(self.shape.seen() as f64 / f64::from(self.audio.rate()), &self.choices, self.longest)?;
        let planes: Vec<&[f32]> = planes.iter().map(Vec::as_slice).collect();
        self.piece.encode(&planes, body)?;
        Ok(true)
    }

    /// What the complete body begins with.
    ///
    /// # Errors
    /// The encoder or the tag failed.
    pub fn head(&self) -> Result<Head, Error> {
        let info = self.piece.mp3().info_frame()?;
        Ok(Head { bytes: [self.tag()?, info.clone()].concat(), replaces: info.len() })
    }

    /// What the MP3 of these spans, which are all there are, begins with.
    ///
    /// # Errors
    /// The tag failed, or the spans are not those of one file.
    pub fn joint_head(&self, spans: &[Converted]) -> Result<Head, Error> {
        let info = spans.first().map(|first| first.info.as_slice()).unwrap_or_default();
        let samples = spans.iter().find_map(|span| span.samples).unwrap_or(0);
        let parts: Vec<_> = spans.iter().map(|span| span.part.clone()).collect();
        let joint = match info {
            [] => Vec::new(),
            info => part::info_frame(info, &parts, samples, self.piece.mp3().frame_samples())
                .ok_or_else(|| Error::Tag("the first part begins with no info frame".into()))?,
        };
        Ok(Head { bytes: [self.tag()?, joint].concat(), replaces: info.len() })
    }

    fn tag(&self) -> Result<Vec<u8>, Error> {
        self.tags.id3v2().map_err(|error| Error::Tag(error.to_string()))
    }

    /// The span's measure, when it is complete.
    ///
    /// # Errors
    /// The encoder failed.
    pub fn converted(self) -> Result<Converted, Error> {
        let info = if self.piece.span().from == 0 { self.piece.mp3().info_frame()? } else { Vec::new() };
        let samples = self.ended.then(|| self.piece.seen());
        Ok(Converted { part: self.piece.part(), samples, info })
    }

    /// Up to `most` parts that can be made at the same time; none if one is as good, or if that is not possible: because
    /// the length is not known, or because something has to be done at one go.
    #[must_use]
    pub fn share(&self, most: u64) -> Option<Plan> {
        let most = if self.audio.can_skip() { most } else { most.min(MOST_DECODED) };
        Plan::share(self.frames()?, self.heard_seconds()?, most)
    }

    /// About how many frames the MP3 will have, if it can be made in spans.
    fn frames(&self) -> Option<u64> {
        let rate = f64::from(self.audio.rate());
        let frame = self.piece.mp3().frame_samples() as f64;
        let possible = self.piece.mp3().keeps_rate() && self.choices.loudness.is_none();
        possible.then_some((self.heard_seconds()? * rate / frame) as u64)
    }

    /// The announced length of what is wanted of the sound, in seconds.
    fn heard_seconds(&self) -> Option<f64> {
        let whole = self.audio.announced_seconds()?;
        let end = self.choices.end.map_or(whole, |end| end.min(whole));
        Some((end - self.choices.start.unwrap_or(0.0)).max(0.0))
    }

    /// Seconds of sound seen, before and in the span.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.seconds_of(self.piece.seen())
    }

    /// So many samples in seconds.
    #[must_use]
    pub fn seconds_of(&self, samples: u64) -> f64 {
        samples as f64 / f64::from(self.audio.rate())
    }

    /// How much is done, from 0 to 1: by the file's own length if it says it, or else by the bytes read.
    #[must_use]
    pub fn progress(&self, read: u64, size: u64) -> f64 {
        let pass = progress(&self.audio, &self.shape, &self.choices, read, size);
        let pass = self.piece.span().progress(pass, self.frames());
        match self.choices.loudness {
            Some(_) => MEASURING + (1.0 - MEASURING) * pass,
            None => pass,
        }
    }

    /// What the owner should know.
    #[must_use]
    pub fn warning(&self) -> Option<Notice> {
        self.audio.warning().map(|warning| Notice { warning, missing: self.audio.missing_seconds() })
    }
}

/// Whether a sound up to here, in seconds, leaves a piece that may be converted.
fn within(seconds: f64, choices: &Choices, longest: u32) -> Result<(), Reason> {
    let end = choices.end.map_or(seconds, |end| end.min(seconds));
    if end - choices.start.unwrap_or(0.0) > f64::from(longest) {
        return Err(Reason::TooLong(u64::from(longest / 3600)));
    }
    Ok(())
}

/// The share of the first pass in a conversion with two, about.
const MEASURING: f64 = 0.25;
/// The most parts of a file of which each part decodes all that lies before it.
const MOST_DECODED: u64 = 2;

/// How much of a pass is done, from 0 to 1.
fn progress(audio: &Audio, shape: &Shape, choices: &Choices, read: u64, size: u64) -> f64 {
    let done = match audio.announced_seconds() {
        Some(seconds) => {
            let end = choices.end.map_or(seconds, |end| end.min(seconds));
            shape.seen() as f64 / f64::from(audio.rate()) / end
        }
        None => read as f64 / size.max(1) as f64,
    };
    done.clamp(0.0, 1.0)
}

/// A pass over a sound whose loudness is to be set: its piece, track and channels are those of the MP3, and once it was
/// measured its loudness too.
pub struct Measurement {
    audio: Audio,
    shape: Shape,
    choices: Choices,
    longest: u32,
    meter: Meter,
}

impl Measurement {
    /// Opens a file.
    ///
    /// # Errors
    /// As those of [`Conversion::open`].
    pub fn open(source: impl MediaSource + 'static, file_name: &str, settings: &Settings) -> Result<Self, Error> {
        let (choices, longest) = (&settings.choices, settings.longest);
        let audio = Audio::open_track(source, file_name, Pick::from(choices))?;
        within(audio.announced_seconds().unwrap_or(0.0), choices, longest)?;
        let (rate, channels) = (audio.rate(), audio.channels());
        let shape = Shape::new(choices, rate).leveled(settings.measured, choices, rate, channels);
        let meter = Meter::new(shape.channels(audio.channels()), audio.rate())?;
        Ok(Self { audio, shape, choices: choices.clone(), longest, meter })
    }

    /// Measures one packet. False at the end.
    ///
    /// # Errors
    /// The meter failed.
    pub fn step(&mut self) -> Result<bool, Error> {
        let next = if self.shape.is_complete() { None } else { self.audio.next_block() };
        let Some(planes) = next else {
            let last = self.shape.finish();
            if !last.is_empty() {
                self.meter.add(&last.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            }
            return Ok(false);
        };
        let planes = self.shape.apply(planes);
        within(self.shape.seen() as f64 / f64::from(self.audio.rate()), &self.choices, self.longest)?;
        self.meter.add(&planes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        Ok(true)
    }

    /// What was found.
    ///
    /// # Errors
    /// The meter failed.
    pub fn measured(&self) -> Result<Measured, Error> {
        Ok(self.meter.measured()?)
    }

    /// How much of the whole conversion is done, from 0 to 1.
    #[must_use]
    pub fn progress(&self, read: u64, size: u64) -> f64 {
        progress(&self.audio, &self.shape, &self.choices, read, size) * MEASURING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAV of one channel with 8000 samples per second.
    fn wav(seconds: usize) -> std::io::Cursor<Vec<u8>> {
        let samples: Vec<u8> =
            (0..seconds * 8000).flat_map(|at| (((at as f32 * 0.3).sin() * 3000.0) as i16).to_le_bytes()).collect();
        let mut file = b"RIFF".to_vec();
        file.extend((samples.len() as u32 + 36).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
        file.extend((samples.len() as u32).to_le_bytes());
        file.extend(samples);
        std::io::Cursor::new(file)
    }

    fn convert(seconds: usize, settings: Settings) -> Result<f64, Error> {
        let mut conversion = Conversion::open(wav(seconds), "a.wav", settings)?;
        let mut body = Vec::new();
        while conversion.step(&mut body)? {}
        Ok(conversion.seconds())
    }

    #[test]
    fn more_sound_than_the_limit_is_refused_but_a_piece_of_it_is_not() {
        let limited = |choices| {
            let mut settings = Settings::default().with(choices);
            settings.longest = 3;
            settings
        };
        assert_eq!(convert(3, limited(Choices::default())), Ok(3.0));
        assert_eq!(convert(4, limited(Choices::default())), Err(Error::File(Reason::TooLong(0))));
        let piece = Choices { start: Some(2.0), end: Some(5.0), ..Choices::default() };
        assert_eq!(convert(10, limited(piece.clone())), Ok(3.0));
        assert_eq!(convert(10, limited(Choices { end: None, ..piece })), Err(Error::File(Reason::TooLong(0))));
    }

    #[test]
    fn measuring_comes_before_converting() -> Result<(), Error> {
        let mut settings = Settings::default().with(Choices { loudness: Some(-20.0), ..Choices::default() });
        let mut measurement = Measurement::open(wav(5), "a.wav", &settings)?;
        while measurement.step()? {
            assert!(measurement.progress(0, 1) <= MEASURING);
        }
        let measured = measurement.measured()?;
        assert!((measured.peak - 3000.0 / 32_768.0).abs() < 0.01, "{measured:?}");
        settings.measured = Some(measured);
        let conversion = Conversion::open(wav(5), "a.wav", settings)?;
        assert!((conversion.progress(0, 1) - MEASURING).abs() < 1e-9);
        Ok(())
    }
}
