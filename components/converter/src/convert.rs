//! One file to one MP3, in steps, so that whoever drives it can write, report and stop in between.

use messages::Choices;
use symphonia::core::io::MediaSource;

use crate::decode::Audio;
use crate::encode::{EncodeError, Mp3, Settings};
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
        let shape = Shape::new(&choices, audio.rate());
        let mp3 = Mp3::new(audio.rate(), shape.channels(audio.channels()), settings)?;
        let title = tags::title(audio.title(), file_name);
        Ok(Self { audio, shape, choices, mp3, title })
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
            self.mp3.finish(body)?;
            return Ok(false);
        };
        let planes = self.shape.apply(planes);
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
        let done = match self.audio.announced_seconds() {
            Some(seconds) => {
                let end = self.choices.end.map_or(seconds, |end| end.min(seconds));
                self.shape.seen() as f64 / f64::from(self.audio.rate()) / end
            }
            None => read as f64 / size.max(1) as f64,
        };
        done.clamp(0.0, 1.0)
    }

    /// What the owner should know.
    #[must_use]
    pub fn warning(&self) -> Option<Warning> {
        self.audio.warning()
    }
}
