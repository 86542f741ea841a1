//! One file to one MP3, in steps, so that whoever drives it can write, report and stop in between.

use messages::Choices;
use symphonia::core::io::MediaSource;

use crate::decode::Audio;
use crate::encode::{EncodeError, Mp3, Settings};
use crate::loudness::{Measured, Meter, MeterError};
use crate::reason::{Reason, Warning};
use crate::shape::Shape;
use crate::tags;
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
    mp3: Mp3,
    title: String,
}

impl Conversion {
    /// Opens a file, and decodes enough to know that it can be converted.
    ///
    /// # Errors
    /// It cannot be converted. If the source failed meanwhile, that is what counts, not the reason here.
    pub fn open(source: impl MediaSource + 'static, file_name: &str, settings: Settings) -> Result<Self, Error> {
        let choices = settings.choices.clone();
        let audio = Audio::open_track(source, file_name, Pick::from(&choices))?;
        let longest = settings.longest;
        within(audio.announced_seconds().unwrap_or(0.0), &choices, longest)?;
        let (rate, channels) = (audio.rate(), audio.channels());
        let shape = Shape::new(&choices, rate).leveled(settings.measured, &choices, rate, channels);
        let mp3 = Mp3::new(audio.rate(), shape.channels(audio.channels()), settings)?;
        let title = tags::title(audio.title(), file_name);
        Ok(Self { audio, shape, choices, longest, mp3, title })
    }

    /// Converts one packet and appends to the body what is ready of it. False when the body is complete.
    ///
    /// # Errors
    /// The encoder failed, or the whole track gave nothing.
    pub fn step(&mut self, body: &mut Vec<u8>) -> Result<bool, Error> {
        let next = if self.shape.is_complete() { None } else { self.audio.next_block() };
        let Some(planes) = next else {
            if self.mp3.samples() == 0 {
                return Err(match self.shape.seen() {
                    0 => Reason::SilentTrack.into(),
                    seen => Reason::StartsBehind(seen / u64::from(self.audio.rate().max(1))).into(),
                });
            }
            let last = self.shape.finish();
            self.mp3.encode(&last.iter().map(Vec::as_slice).collect::<Vec<_>>(), body)?;
            self.mp3.finish(body)?;
            return Ok(false);
        };
        let planes = self.shape.apply(planes);
        within(self.shape.seen() as f64 / f64::from(self.audio.rate()), &self.choices, self.longest)?;
        let planes: Vec<&[f32]> = planes.iter().map(Vec::as_slice).collect();
        self.mp3.encode(&planes, body)?;
        Ok(true)
    }

    /// What the complete body begins with.
    ///
    /// # Errors
    /// The encoder or the tag failed.
    pub fn head(&self) -> Result<Head, Error> {
        let mut bytes = tags::id3v2(&self.title).map_err(|error| Error::Tag(error.to_string()))?;
        let info = self.mp3.info_frame()?;
        bytes.extend_from_slice(&info);
        Ok(Head { bytes, replaces: info.len() })
    }

    /// Seconds of sound converted.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.mp3.seconds()
    }

    /// How much is done, from 0 to 1: by the file's own length if it says it, or else by the bytes read.
    #[must_use]
    pub fn progress(&self, read: u64, size: u64) -> f64 {
        let pass = progress(&self.audio, &self.shape, &self.choices, read, size);
        match self.choices.loudness {
            Some(_) => MEASURING + (1.0 - MEASURING) * pass,
            None => pass,
        }
    }

    /// What the owner should know.
    #[must_use]
    pub fn warning(&self) -> Option<Warning> {
        self.audio.warning()
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
