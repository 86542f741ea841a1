//! Symphonia's reader of MP4 and QuickTime files, with the audio tracks put right that it cannot tell.
//!
//! MPEG-4 has one number for all layers of MPEG audio; and a codec that Symphonia does not know leaves a track of unknown
//! type, which could not be refused by name.

use std::collections::VecDeque;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::codecs::video::VideoCodecParameters;
use symphonia::core::errors::Result;
use symphonia::core::formats::well_known::FORMAT_ID_ISOMP4;
use symphonia::core::formats::{
    Attachment, FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track, TrackFlags,
};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::{ChapterGroup, Metadata};
use symphonia::core::packet::Packet;

use super::bytes::u8_at;
use super::{Description, names, quicktime};

/// Packets kept while looking for the first one of some tracks.
const MAX_HELD: usize = 64;

pub(super) struct Corrected {
    inner: Box<dyn FormatReader>,
    tracks: Vec<Track>,
    held: VecDeque<Packet>,
}

/// Puts the tracks of an MP4 file right by its sample entries.
pub(super) fn movie(inner: Box<dyn FormatReader>, entries: &[Description]) -> Box<dyn FormatReader> {
    if inner.format_info().format != FORMAT_ID_ISOMP4 {
        return inner;
    }
    let mut reader = Corrected { tracks: inner.tracks().to_vec(), inner, held: VecDeque::new() };
    for track in &mut reader.tracks {
        let entry = entries.iter().find(|entry| entry.track == track.id);
        // Of tracks that exclude one another, such as languages, players play the enabled one.
        track.flags.set(TrackFlags::DEFAULT, entry.is_none_or(|entry| entry.enabled));
        if let Some(params) = entry.and_then(|entry| quicktime::parameters(&entry.stsd)) {
            track.codec_params = Some(CodecParameters::Audio(params));
        }
        if entry.is_some_and(|entry| quicktime::is_pictures(&entry.stsd)) {
            track.codec_params = Some(CodecParameters::Video(VideoCodecParameters::default()));
        }
    }
    reader.look_at_first_packets();
    Box::new(reader)
}

impl Corrected {
    /// Some codecs show what they are only in the first packet.
    fn look_at_first_packets(&mut self) {
        let codec_of = |track: &Track| match &track.codec_params {
            Some(CodecParameters::Audio(params)) => Some(params.codec),
            _ => None,
        };
        let unclear =
            |track: &&Track| matches!(codec_of(track), Some(codec::CODEC_ID_MP3 | codec::CODEC_ID_ADPCM_IMA_QT));
        let mut wanted: Vec<u32> = self.tracks.iter().filter(unclear).map(|track| track.id).collect();
        while !wanted.is_empty() && self.held.len() < MAX_HELD {
            // What is wrong with the packet shows again when it is read for itself.
            let Ok(Some(packet)) = self.inner.next_packet() else { break };
            if let Some(index) = wanted.iter().position(|id| *id == packet.track_id) {
                wanted.swap_remove(index);
                let track = self.tracks.iter_mut().find(|track| track.id == packet.track_id);
                if let Some(CodecParameters::Audio(params)) = track.and_then(|track| track.codec_params.as_mut()) {
                    params.codec = shown(params, &packet);
                }
            }
            self.held.push_back(packet);
        }
    }
}

/// The codec of a track by its first packet.
fn shown(params: &AudioCodecParameters, packet: &Packet) -> AudioCodecId {
    let channels = params.channels.as_ref().map_or(0, Channels::count);
    match (params.codec, u8_at(&packet.data, 1).map(|byte| byte >> 1 & 3)) {
        // MP3 tracks may be of another layer.
        (codec::CODEC_ID_MP3, Some(3)) => codec::CODEC_ID_MP1,
        (codec::CODEC_ID_MP3, Some(2)) => codec::CODEC_ID_MP2,
        // Where a packet is not a block of every channel, Symphonia does not find them.
        (codec::CODEC_ID_ADPCM_IMA_QT, _) if packet.data.len() != 34 * channels || packet.dur.get() != 64 => {
            names::IMA_QUICKTIME
        }
        (codec, _) => codec,
    }
}

impl FormatReader for Corrected {
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
        // If it fails, what is held is still to come.
        let sought = self.inner.seek(mode, to)?;
        self.held.clear();
        Ok(sought)
    }

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        match self.held.pop_front() {
            Some(packet) => Ok(Some(packet)),
            None => self.inner.next_packet(),
        }
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.inner.into_inner()
    }
}
