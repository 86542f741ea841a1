//! Containers: which one a file is, and readers for those that Symphonia has none for.
//!
//! A reader is a `Demux` over an `Input`; `Reader` makes a Symphonia `FormatReader` of it. They go through the
//! file once from its start to its end and keep no more of it than one packet, take any length that the file states
//! for a claim, and look for the next sound place behind a damaged one.

mod aiff;
mod au;
mod avi;
mod ballast;
mod bytes;
mod caf;
mod clusters;
mod corrected;
mod dvd;
mod elementary;
mod flv;
mod frames;
mod input;
mod lacing;
mod latm;
mod lean;
mod matroska;
mod mpeg;
mod names;
mod patched;
mod pes;
mod program;
mod quicktime;
mod sniff;
mod source;
mod speakers;
mod tables;
mod transport;
mod wave;
mod waveform;

use std::io::{ErrorKind, Seek, SeekFrom};

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::video::VideoCodecParameters;
use symphonia::core::errors::{Error, Result, SeekErrorKind};
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{
    Attachment, FormatId, FormatInfo, FormatOptions, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
    TrackFlags,
};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::{Metadata, MetadataLog, MetadataOptions};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};
use symphonia::default::formats::IsoMp4Reader;

use crate::edits::Description;

use bytes::{HEAD, bytes_at};
use input::Input;
use lean::Lean;
pub use matroska::title as matroska_title;
pub(crate) use names::ADPCM_FLASH;
pub use names::codec_name;
use patched::Patched;
use source::{Shared, Stretched, Typed};

/// The reason of the [`Error::DecodeError`] after which a reader goes on: part of the file is missing here.
pub const GAP: &str = "part of the stream is missing";

/// Bytes of a file at whose end nothing is looked for.
const FAR: u64 = (1 << 31) - (1 << 20);

/// Why a file was not opened.
#[derive(Debug)]
pub enum Unopened {
    /// A format known by name and not read.
    Refused(&'static str),
    /// Pictures alone.
    Mute,
    /// What the reader found.
    Failed(Error),
}

impl From<std::io::Error> for Unopened {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// An open file.
pub struct Opened {
    /// Its demultiplexer.
    pub reader: Box<dyn FormatReader>,
    /// The file does not say where it ends, so that its end may be anywhere.
    pub endless: bool,
    /// The loudspeakers that uncompressed sound, or FLAC's, is for, if the file says that outside of its streams.
    pub layout: Option<Channels>,
}

/// What is known of a file by other means.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The file name's extension.
    pub extension: Option<&'a str>,
    /// Of MP4 files: how the tracks are coded.
    pub entries: &'a [Description],
    /// Of MP4 files: where the file should end, if that is behind its end.
    pub cut: Option<u64>,
}

/// Opens a file by what it begins with; the name's extension helps only where that says nothing.
///
/// # Errors
/// No reader can make sense of it.
pub fn open(mut source: impl MediaSource + 'static, known: Known<'_>) -> std::result::Result<Opened, Unopened> {
    let (without, patches) = lean::surplus(&mut source)?;
    if without.is_empty() {
        return open_lean(source, known);
    }
    open_lean(Lean::new(Patched { source, patches, position: 0 }, without), known)
}

fn open_lean(mut source: impl MediaSource + 'static, known: Known<'_>) -> std::result::Result<Opened, Unopened> {
    let caf = caf::patches(&mut source)?;
    let ballast = ballast::patches(&mut source)?;
    match [quicktime::patches(known.entries), caf, ballast].concat() {
        patches if patches.is_empty() => open_as_is(source, known),
        patches => open_as_is(Patched { source, patches, position: 0 }, known),
    }
}

fn open_as_is(mut source: impl MediaSource + 'static, known: Known<'_>) -> std::result::Result<Opened, Unopened> {
    let head = bytes_at(&mut source, 0, HEAD)?;
    source.seek(SeekFrom::Start(0))?;
    let layout = speakers::stated(&head, known.entries);
    let length = source.byte_len();
    // Symphonia's streams jump by `isize`, which in Wasm has 32 bits, to where they know the end to be.
    let far = length.filter(|length| *length > FAR);
    let kind = match sniff::kind(&head) {
        sniff::Kind::Matroska(file) => return open_matroska(source, file, known, layout),
        kind => kind,
    };
    let cut = match kind {
        sniff::Kind::Other => sniff::stated_end(&head).filter(|end| length < Some(*end)),
        _ => None,
    };
    let source: Box<dyn MediaSource> = match known.cut.or(cut).or(far) {
        _ if matches!(kind, sniff::Kind::Untyped) => {
            let end = length.unwrap_or(0);
            Box::new(Typed::new(source, end, end <= FAR)?)
        }
        // Behind the sound nothing is looked for where there is nothing.
        Some(length) => Box::new(Stretched { source, length, seekable: cut.is_none() }),
        None => Box::new(source),
    };
    let stream = MediaSourceStream::new(source, Default::default());
    let opened = match kind {
        sniff::Kind::Aiff => boxed(stream, aiff::Aiff::open),
        sniff::Kind::Au => boxed(stream, au::open),
        sniff::Kind::Avi => boxed(stream, avi::Avi::open),
        sniff::Kind::Caf => boxed(stream, caf::open),
        sniff::Kind::Elementary => boxed(stream, elementary::Elementary::open),
        sniff::Kind::Flv => boxed(stream, flv::Flv::open),
        sniff::Kind::Program => boxed(stream, program::Program::open),
        sniff::Kind::Transport => boxed(stream, transport::Transport::open),
        sniff::Kind::Wave => boxed(stream, wave::Wave::open),
        sniff::Kind::Refused(name) => return Err(Unopened::Refused(name)),
        sniff::Kind::Mute => return Err(Unopened::Mute),
        sniff::Kind::Untyped => IsoMp4Reader::try_new(stream, FormatOptions::default())
            .map(|reader| corrected::movie(Box::new(reader), known.entries)),
        sniff::Kind::Other | sniff::Kind::Matroska(_) => {
            probe(stream, known).map(|reader| corrected::movie(reader, known.entries))
        }
    };
    Ok(Opened { reader: opened.map_err(Unopened::Failed)?, endless: false, layout })
}

fn open_matroska(
    source: impl MediaSource + 'static,
    file: matroska::Matroska,
    known: Known<'_>,
    layout: Option<Channels>,
) -> std::result::Result<Opened, Unopened> {
    let length = source.byte_len().unwrap_or(0);
    let endless = file.end.is_none();
    let cut = file.end.is_some_and(|end| length < end);
    let source = Shared::new(source);
    let attempt = |seekable| {
        let mut source = source.clone();
        source.seek(SeekFrom::Start(0))?;
        let source: Box<dyn MediaSource> = match seekable && length <= FAR {
            true => Box::new(source),
            false => Box::new(Stretched { source, length: file.end.unwrap_or(length), seekable }),
        };
        probe(MediaSourceStream::new(source, Default::default()), known)
    };
    // The index and some of the tags are at the end. Where they are not to be found, what is at the start has to do.
    let opened = if cut { attempt(false) } else { attempt(true).or_else(|_| attempt(false)) };
    let reader = opened.and_then(|reader| clusters::reader(reader, file)).map_err(Unopened::Failed)?;
    Ok(Opened { reader, endless, layout })
}

fn probe(stream: MediaSourceStream<'static>, known: Known<'_>) -> Result<Box<dyn FormatReader>> {
    let mut hint = Hint::new();
    if let Some(extension) = known.extension {
        hint.with_extension(extension);
    }
    let probe = symphonia::default::get_probe();
    let reader = probe.probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())?;
    Ok(mpeg::to_the_end(reader))
}

/// A reader of ours. `open` may leave the input anywhere.
fn boxed<D: Demux + 'static>(
    stream: MediaSourceStream<'static>,
    open: impl FnOnce(&mut Input<'_>) -> Result<D>,
) -> Result<Box<dyn FormatReader>> {
    let mut input = Input::new(stream);
    let demux = open(&mut input)?;
    let media = media_info(&demux);
    let (metadata, attachments) = (MetadataLog::default(), Vec::new());
    Ok(Box::new(Reader { input, demux, media, metadata, attachments, cut: false }))
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

    fn tracks(&self) -> &[Track];

    /// The length that the file states for itself.
    fn seconds(&self) -> Option<f64> {
        None
    }

    /// The next packet of any audio track. [`GAP`] may be asked again, and so may `ResetRequired`, before which the
    /// tracks have changed.
    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>>;

    /// No more is to be read: [`Demux::next`] gives what is left.
    fn end(&mut self);
}

struct Reader<'s, D> {
    input: Input<'s>,
    demux: D,
    media: MediaInfo,
    metadata: MetadataLog,
    attachments: Vec<Attachment>,
    /// The file ended where it should not; what was read before is still given out.
    cut: bool,
}

impl<D: Demux> FormatReader for Reader<'_, D> {
    fn format_info(&self) -> &FormatInfo {
        &D::INFO
    }

    fn media_info(&self) -> &MediaInfo {
        &self.media
    }

    fn attachments(&self) -> &[Attachment] {
        &self.attachments
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
        match self.demux.next(&mut self.input) {
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof && !self.cut => {
                self.cut = true;
                self.demux.end();
                self.next_packet()
            }
            Ok(None) if self.cut => Err(end_of_file()),
            next => next,
        }
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.input.into_inner()
    }
}

fn end_of_file() -> Error {
    Error::IoError(ErrorKind::UnexpectedEof.into())
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
