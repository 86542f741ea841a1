//! MPEG audio without a container (MP3, MP2), read to its end.
//!
//! Symphonia's reader takes the length that it estimates, or that a header states, for the end: of a variable bit rate
//! without a header, or of files joined to one, it would give a part. And it says nothing of a file that ends before.

use symphonia::core::errors::Result;
use symphonia::core::formats::well_known::{FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3};
use symphonia::core::formats::{Attachment, FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::{ChapterGroup, Metadata};
use symphonia::core::packet::Packet;
use symphonia::core::units::Duration;

use super::end_of_file;

/// Samples that may be missing at the end without a word: encoders' headers differ in what they count.
const SLACK: i64 = 2 * 1152;

struct ToTheEnd {
    inner: Box<dyn FormatReader>,
    /// Where the frames end that a header speaks of, in samples.
    end: i64,
    /// The same, if it can be relied on.
    stated: Option<i64>,
    /// Where the frame before ended.
    position: i64,
}

/// Wraps Symphonia's reader, if it is that one.
pub(super) fn to_the_end(inner: Box<dyn FormatReader>) -> Box<dyn FormatReader> {
    if ![FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3].contains(&inner.format_info().format) {
        return inner;
    }
    let track = inner.tracks().first();
    let frames = track.and_then(|track| track.num_frames);
    let padding = track.and_then(|track| track.padding);
    let frames = i64::try_from(frames.unwrap_or(0)).unwrap_or(i64::MAX);
    let end = frames.saturating_add(i64::from(padding.unwrap_or(0)));
    // What has no padding was estimated, or counted by who knows whom.
    Box::new(ToTheEnd { inner, end, stated: padding.map(|_| end), position: 0 })
}

impl FormatReader for ToTheEnd {
    fn format_info(&self) -> &FormatInfo {
        self.inner.format_info()
    }

    fn media_info(&self) -> &MediaInfo {
        self.inner.media_info()
    }

    fn attachments(&self) -> &[Attachment] {
        self.inner.attachments()
    }

    fn chapters(&self) -> Option<&ChapterGroup> {
        self.inner.chapters()
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.inner.metadata()
    }

    fn seek(&mut self, mode: SeekMode, to: SeekTo) -> Result<SeekedTo> {
        self.inner.seek(mode, to)
    }

    fn tracks(&self) -> &[Track] {
        self.inner.tracks()
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        let Some(mut packet) = self.inner.next_packet()? else {
            // Said once.
            let stated = self.stated.take();
            return match stated.is_some_and(|end| self.position.saturating_add(SLACK) < end) {
                true => Err(end_of_file()),
                false => Ok(None),
            };
        };
        let whole = packet.block_dur();
        if packet.pts.get() >= self.end {
            packet.dur = whole;
            packet.trim_start = Duration::new(0);
            packet.trim_end = Duration::new(0);
        }
        self.position = packet.pts.get().saturating_add_unsigned(whole.get());
        Ok(Some(packet))
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.inner.into_inner()
    }
}
