//! Why a file cannot be converted, in words for its owner.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What to do with a file that others can read.
const SAVE: &str = "Please save it as MP4, MP3 or WAV and upload that.";
const ELSEWHERE: &str = "If it plays elsewhere, please save it there as MP4, MP3 or WAV and upload that.";

/// A fault of the file: trying again does not help. `Display` is what the owner reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was uploaded.
    Empty,
    /// No known container was found.
    NotMedia,
    /// A known container whose structure makes no sense.
    Damaged,
    /// The file stops before the part that is needed to read it.
    EndsEarly,
    /// Pictures only.
    NoAudio,
    /// The owner asked for an audio track by its number, and there are only so many.
    NoSuchTrack(usize),
    /// The owner asked for a language, and there are these.
    NoSuchLanguage(String),
    /// The piece that the owner asked for begins behind the sound's end, which is here, in seconds.
    StartsBehind(u64),
    /// There is an audio track, but in a format that nothing here decodes.
    Unsupported(Option<&'static str>),
    /// A file of a known kind that nothing here reads.
    UnsupportedFile(&'static str),
    /// An audio track without a single playable sample.
    SilentTrack,
    /// More sound than is converted, in hours.
    TooLong(u64),
    /// The conversion took longer than it may, in minutes.
    TooSlow(u64),
    /// The upload disappeared from its store.
    Gone,
    /// The decoder broke down over this file.
    Crashed,
    /// Every attempt but this one ended without an answer.
    GivenUp,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("The file is empty. Please upload it again."),
            Self::NotMedia => write!(f, "The file is not a video or audio file we can read. {ELSEWHERE}"),
            Self::Damaged => {
                write!(f, "The file is damaged: its content does not make sense as video or audio. {ELSEWHERE}")
            }
            Self::EndsEarly => f.write_str(
                "The file ends too early, so it cannot be played. Perhaps the upload or the recording was cut off; \
                 please upload the whole file.",
            ),
            Self::NoAudio => f.write_str("The file has no audio track, so there is no MP3."),
            Self::NoSuchTrack(1) => f.write_str("The file has no audio track of the number you chose: it has one."),
            Self::NoSuchTrack(tracks) => {
                write!(f, "The file has no audio track of the number you chose: it has {tracks}.")
            }
            Self::NoSuchLanguage(there) if there.is_empty() => {
                f.write_str("The file does not say in which language its sound is, so none can be chosen.")
            }
            Self::NoSuchLanguage(there) => {
                write!(f, "The file has no audio track in the language you chose. Its languages are: {there}.")
            }
            Self::StartsBehind(end) => {
                let (hours, minutes, seconds) = (end / 3600, end / 60 % 60, end % 60);
                write!(f, "The start you chose is behind the sound's end, at {hours}:{minutes:02}:{seconds:02}.")
            }
            Self::Unsupported(Some(codec)) => {
                write!(f, "The file's audio track is {codec}, which we cannot read. {SAVE}")
            }
            Self::Unsupported(None) => write!(f, "The file's audio track is in a format we cannot read. {SAVE}"),
            Self::UnsupportedFile(kind) => write!(f, "We cannot read files of this kind: {kind}. {SAVE}"),
            Self::SilentTrack => f.write_str("The file's audio track has nothing in it, so there is no MP3."),
            Self::TooLong(hours) => write!(
                f,
                "The file has more than {hours} hours of sound, which is the limit. You can convert a piece of it, by \
                 its start and end."
            ),
            Self::TooSlow(minutes) => {
                write!(
                    f,
                    "The conversion took more than {minutes} minutes, which is the limit. You can convert a piece of \
                     the file, by its start and end."
                )
            }
            Self::Gone => f.write_str("The uploaded file is no longer there. Please upload it again."),
            Self::Crashed => write!(f, "The file cannot be read: its content is damaged or very unusual. {ELSEWHERE}"),
            Self::GivenUp => f.write_str(
                "The conversion was tried several times and never came to its end. Please upload the file again; if \
                 that does not help, a piece of it, by its start and end, may be converted.",
            ),
        }
    }
}

impl std::error::Error for Reason {}

/// What the owner should know about an MP3 that was made nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Warning {
    /// The file stopped before its announced end.
    EndsEarly,
    /// From some point on the file was unreadable.
    StopsEarly,
    /// Some pieces could not be decoded.
    Gaps,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndsEarly => "The file ends too early; everything up to there was converted.",
            Self::StopsEarly => "The file is damaged; everything up to the damage was converted.",
            Self::Gaps => "Parts of the file's sound are damaged; they are silent in the MP3.",
        })
    }
}

/// A warning as it is told: with how much is missing, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What is wrong.
    pub warning: Warning,
    /// Seconds of sound that are not there, or are silent.
    pub missing: Option<f64>,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.warning.fmt(f)?;
        let verb = if self.warning == Warning::Gaps { "affected" } else { "missing" };
        match self.missing {
            Some(seconds) if seconds >= 59.5 => {
                let seconds = seconds.round() as u64;
                write!(f, " {}:{:02} minutes are {verb}.", seconds / 60, seconds % 60)
            }
            Some(seconds) if seconds >= 0.05 => write!(f, " {seconds:.1} seconds are {verb}."),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_read_is_to_be_saved_there() {
        for reason in [Reason::NotMedia, Reason::Damaged, Reason::Crashed, Reason::Unsupported(Some("DTS"))] {
            assert!(reason.to_string().ends_with(" as MP4, MP3 or WAV and upload that."), "{reason}");
        }
    }

    #[test]
    fn a_notice_says_how_much_is_missing_if_that_is_known() {
        let told = |warning, missing| Notice { warning, missing }.to_string();
        assert!(told(Warning::EndsEarly, Some(12.34)).ends_with(" converted. 12.3 seconds are missing."));
        assert!(told(Warning::StopsEarly, Some(125.0)).ends_with(" converted. 2:05 minutes are missing."));
        assert!(told(Warning::Gaps, Some(0.5)).ends_with(" 0.5 seconds are affected."));
        assert_eq!(told(Warning::EndsEarly, None), Warning::EndsEarly.to_string());
    }
}
