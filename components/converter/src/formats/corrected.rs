//! Symphonia's reader of MP4 and QuickTime files, with the audio tracks put right that it cannot tell.
//!
//! In QuickTime files it knows neither ALAC nor G.711; MPEG-4 has one number for all layers of MPEG audio; and a codec
//! that Symphonia does not know leaves a track of unknown type, which could not be refused by name.

use std::collections::VecDeque;

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::errors::Result;
use symphonia::core::formats::well_known::FORMAT_ID_ISOMP4;
use symphonia::core::formats::{Attachment, FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::{ChapterGroup, Metadata};
use symphonia::core::packet::Packet;

use super::bytes::{array, be16, be32, find, u8_at};
use super::names;

/// Packets kept while looking for one of every MPEG audio track.
const MAX_HELD: usize = 64;

pub(super) struct Corrected {
    inner: Box<dyn FormatReader>,
    tracks: Vec<Track>,
    held: VecDeque<Packet>,
}

/// Puts the tracks of an MP4 file right by its sample entries, which are the bodies of the boxes `stsd`.
pub(super) fn movie(inner: Box<dyn FormatReader>, entries: &[(u32, Vec<u8>)]) -> Box<dyn FormatReader> {
    if inner.format_info().format != FORMAT_ID_ISOMP4 {
        return inner;
    }
    let mut reader = Corrected { tracks: inner.tracks().to_vec(), inner, held: VecDeque::new() };
    for track in &mut reader.tracks {
        let entry = entries.iter().find(|(id, _)| *id == track.id);
        if let Some(params) = entry.and_then(|(_, entry)| sample_entry(entry)) {
            track.codec_params = Some(CodecParameters::Audio(params));
        }
    }
    reader.find_layers();
    Box::new(reader)
}

impl Corrected {
    /// MP3 tracks may be of another layer, which the first packet says.
    fn find_layers(&mut self) {
        let mut wanted: Vec<u32> = Vec::new();
        for track in &self.tracks {
            if let Some(CodecParameters::Audio(params)) = &track.codec_params
                && params.codec == codec::CODEC_ID_MP3
            {
                wanted.push(track.id);
            }
        }
        while !wanted.is_empty() && self.held.len() < MAX_HELD {
            // What is wrong with the packet shows again when it is read for itself.
            let Ok(Some(packet)) = self.inner.next_packet() else { break };
            if let Some(index) = wanted.iter().position(|id| *id == packet.track_id) {
                wanted.swap_remove(index);
                let id = match u8_at(&packet.data, 1).map(|byte| byte >> 1 & 3) {
                    Some(3) => codec::CODEC_ID_MP1,
                    Some(2) => codec::CODEC_ID_MP2,
                    _ => codec::CODEC_ID_MP3,
                };
                let track = self.tracks.iter_mut().find(|track| track.id == packet.track_id);
                if let Some(CodecParameters::Audio(params)) = track.and_then(|track| track.codec_params.as_mut()) {
                    params.codec = id;
                }
            }
            self.held.push_back(packet);
        }
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
        self.held.clear();
        self.inner.seek(mode, to)
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

/// What a sample entry says that Symphonia does not understand; none if that is nothing.
fn sample_entry(stsd: &[u8]) -> Option<AudioCodecParameters> {
    let kind: [u8; 4] = array(stsd, 12)?;
    let entry = stsd.get(16..)?;
    let (version, channels, rate) = (be16(entry, 8)?, be16(entry, 16)?, be32(entry, 24)? >> 16);
    let mut params = AudioCodecParameters::new();
    params.with_sample_rate(rate);
    if let Some(positions) = Position::from_wave_channel_count(u32::from(channels)) {
        params.with_channels(Channels::Positioned(positions));
    }
    match &kind {
        // The settings, behind version and flags, are in a box `wave`, in the description's own first version.
        b"alac" if version > 0 => {
            let at = find(entry, b"\0\0\0\x24alac\0\0\0\0")?;
            params.for_codec(codec::CODEC_ID_ALAC).with_extra_data(entry.get(at + 12..at + 36)?.into());
        }
        b"alaw" => _ = params.for_codec(codec::CODEC_ID_PCM_ALAW),
        b"ulaw" => _ = params.for_codec(codec::CODEC_ID_PCM_MULAW),
        b"samr" | b"sawb" | b"sawp" => _ = params.for_codec(names::AMR),
        b"dtsc" | b"dtse" | b"dtsh" | b"dtsl" | b"dtsx" => _ = params.for_codec(codec::CODEC_ID_DCA),
        b"mlpa" => _ = params.for_codec(codec::CODEC_ID_TRUEHD),
        b"ac-4" => _ = params.for_codec(codec::CODEC_ID_AC4),
        b"mha1" | b"mhm1" => _ = params.for_codec(names::MPEG_H),
        b"enca" => _ = params.for_codec(names::ENCRYPTED),
        b"ima4" => _ = params.for_codec(names::IMA_QUICKTIME),
        b"QDM2" | b"QDMC" | b"Qclp" => _ = params.for_codec(names::QDESIGN),
        b"MAC3" | b"MAC6" => _ = params.for_codec(names::MACE),
        b"agsm" | b"ms\x001" => _ = params.for_codec(names::GSM),
        b"spex" => _ = params.for_codec(codec::CODEC_ID_SPEEX),
        _ => return None,
    }
    Some(params)
}
