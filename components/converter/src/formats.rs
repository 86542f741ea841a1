//! Containers: which one a file is, and readers for those that Symphonia has none for.
//!
//! A reader is a [`Demux`] over an [`Input`]; [`Reader`] makes a Symphonia `FormatReader` of it. They go through the
//! file once from its start to its end and keep no more of it than one packet, take any length that the file states
//! for a claim, and look for the next sound place behind a damaged one.

mod avi;
mod bytes;
mod flv;
mod frames;
mod input;
mod latm;
mod names;
mod pes;
mod program;
mod sniff;
mod tables;
mod transport;
mod waveform;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::video::VideoCodecParameters;
use symphonia::core::errors::{Error, Result, SeekErrorKind};
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{
    FormatId, FormatInfo, FormatOptions, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track, TrackFlags,
};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::{Metadata, MetadataLog, MetadataOptions};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};

use input::Input;
pub use names::codec_name;

/// The reason of the [`Error::DecodeError`] after which a reader goes on: part of the file is missing here.
pub const GAP: &str = "part of the stream is missing";

/// Why a file was not opened.
#[derive(Debug)]
pub enum Unopened {
    /// A format known by name and not read.
    Refused(&'static str),
    /// What the reader found.
    Failed(Error),
}

/// Opens a file by what it begins with; the name's extension helps only where that says nothing.
///
/// # Errors
/// No reader can make sense of it.
pub fn open(
    mut source: impl MediaSource + 'static,
    extension: Option<&str>,
) -> std::result::Result<Box<dyn FormatReader>, Unopened> {
    let kind = sniff::kind(&mut source).map_err(|error| Unopened::Failed(error.into()))?;
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    let opened = match kind {
        sniff::Kind::Avi => boxed::<avi::Avi>(stream),
        sniff::Kind::Flv => boxed::<flv::Flv>(stream),
        sniff::Kind::Program => boxed::<program::Program>(stream),
        sniff::Kind::Transport => boxed::<transport::Transport>(stream),
        sniff::Kind::Refused(name) => return Err(Unopened::Refused(name)),
        sniff::Kind::Other => {
            let mut hint = Hint::new();
            if let Some(extension) = extension {
                hint.with_extension(extension);
            }
            let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
            symphonia::default::get_probe().probe(&hint, stream, format, metadata)
        }
    };
    opened.map_err(Unopened::Failed)
}

fn boxed<D: Demux + 'static>(stream: MediaSourceStream<'static>) -> Result<Box<dyn FormatReader>> {
    let mut input = Input::new(stream);
    let demux = D::open(&mut input)?;
    Ok(Box::new(Reader { media: media_info::<D>(&demux), input, demux, metadata: MetadataLog::default() }))
}

fn media_info<D: Demux>(demux: &D) -> MediaInfo {
    let mut media = MediaInfo::from_tracks(demux.tracks());
    if let (Some(seconds), Some(base)) = (demux.seconds(), TimeBase::try_from_recip(1000)) {
        media.with_time_base(base).with_duration(Duration::new((seconds * 1000.0) as u64));
    }
    media
}

/// A container's reader.
trait Demux: Send + Sync + Sized {
    const INFO: FormatInfo;

    /// Finds the tracks. May leave the input anywhere.
    fn open(input: &mut Input<'_>) -> Result<Self>;

    fn tracks(&self) -> &[Track];

    /// The length that the file states for itself.
    fn seconds(&self) -> Option<f64> {
        None
    }

    /// The next packet of any audio track. [`GAP`] may be asked again, and so may `ResetRequired`, before which the
    /// tracks have changed.
    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>>;
}

struct Reader<'s, D> {
    input: Input<'s>,
    demux: D,
    media: MediaInfo,
    metadata: MetadataLog,
}

impl<D: Demux> FormatReader for Reader<'_, D> {
    fn format_info(&self) -> &FormatInfo {
        &D::INFO
    }

    fn media_info(&self) -> &MediaInfo {
        &self.media
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.metadata.metadata()
    }

    fn seek(&mut self, _mode: SeekMode, _to: SeekTo) -> Result<SeekedTo> {
        Err(Error::SeekError(SeekErrorKind::Unseekable))
    }

    fn tracks(&self) -> &[Track] {
        self.demux.tracks()
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        self.demux.next(&mut self.input)
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.input.into_inner()
    }
}

const fn info(format: FormatId, short_name: &'static str, long_name: &'static str) -> FormatInfo {
    FormatInfo { format, short_name, long_name }
}

fn audio_track(id: u32, params: AudioCodecParameters, base: TimeBase, language: Option<&str>) -> Track {
    let mut track = Track::new(id);
    track.with_codec_params(CodecParameters::Audio(params)).with_time_base(base);
    if let Some(language) = language {
        track.with_language(language);
    }
    track
}

fn video_track(id: u32) -> Track {
    let mut track = Track::new(id);
    track.with_codec_params(CodecParameters::Video(VideoCodecParameters::default())).with_flags(TrackFlags::empty());
    track
}
