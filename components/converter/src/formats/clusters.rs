//! The media of Matroska and WebM files (RFC 9559): clusters of blocks, which are taken as they come.
//!
//! Symphonia's reader says what the tracks are. It ends at the first damaged place, though, and leaves out what is
//! said about the end of a track's last block.

use std::collections::VecDeque;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::well_known::FORMAT_ID_MKV;
use symphonia::core::formats::{Attachment, FileAttachment, FormatInfo, FormatReader, Track, TrackFlags};
use symphonia::core::meta::MetadataLog;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use super::bytes::{be16, u8_at};
use super::input::{Input, MAX_PEEK};
use super::lacing;
use super::matroska::{self, Audio, Elements, Matroska, id_at, number, size};
use super::waveform::blocks_per_packet;
use super::{Demux, GAP, Reader, end_of_file, info};

/// Nanoseconds per second, which the file's times are in.
const SECOND: i128 = 1_000_000_000;
/// The longest header of an element.
const HEADER: usize = 12;
/// Bytes of a group that come before its block, at most.
const BEFORE_BLOCK: usize = 256;

const CLUSTER: u64 = 0x1f43_b675;
const TIME: u64 = 0xe7;
const SIMPLE_BLOCK: u64 = 0xa3;
const GROUP: u64 = 0xa0;
const BLOCK: u64 = 0xa1;
const BLOCK_DURATION: u64 = 0x9b;
const DISCARD: u64 = 0x75a2;

/// Whether an element of this number may be in a segment (first) or in a cluster (second).
fn place(id: u64) -> (bool, bool) {
    match id {
        0xec | 0xbf => (true, true),
        TIME | SIMPLE_BLOCK | GROUP | 0xa7 | 0xab | 0x5854 | 0xaf => (false, true),
        CLUSTER | 0x114d_9b74 | 0x1549_a966 | 0x1654_ae6b | 0x1c53_bb6b | 0x1941_a469 | 0x1043_a770 | 0x1254_c367 => {
            (true, false)
        }
        _ => (false, false),
    }
}

pub(super) struct Clusters {
    tracks: Vec<Track>,
    audio: Vec<Audio>,
    /// Nanoseconds per tick of the clusters' times.
    scale: u64,
    /// Where the file should end, if it says that, and where the cluster does.
    end: Option<u64>,
    cluster_end: Option<u64>,
    cluster_time: Option<u64>,
    held: VecDeque<Packet>,
    lost: bool,
    ended: bool,
}

/// A reader that takes the place of Symphonia's, with its tracks and tags.
pub(super) fn reader(mut inner: Box<dyn FormatReader>, file: Matroska) -> Result<Box<dyn FormatReader>> {
    let media = *inner.media_info();
    let mut metadata = MetadataLog::default();
    let mut revisions = inner.metadata();
    // The last one stays where it is.
    while let Some(revision) = revisions.pop() {
        metadata.push(revision);
    }
    if let Some(revision) = revisions.current() {
        metadata.push(revision.clone());
    }
    let attachments = inner.attachments().iter().map(copied).collect();
    let mut tracks = inner.tracks().to_vec();
    let mut audio = file.audio;
    for track in &mut tracks {
        let index = audio.iter().position(|audio| audio.number == track.id);
        let params = match (&track.codec_params, index.and_then(|index| audio.get(index))) {
            (Some(CodecParameters::Audio(params)), _) => params.clone(),
            (None, Some(known)) => known.params.clone(),
            _ => continue,
        };
        if index.is_none() {
            // Described too far behind the file's start.
            audio.push(Audio::new(track.id));
        }
        let Some(known) = audio.iter_mut().find(|audio| audio.number == track.id) else { continue };
        // Times are counted in samples, as decoders cut them off.
        known.rate = if params.codec == CODEC_ID_OPUS { 48_000 } else { params.sample_rate.unwrap_or(0).max(1) };
        track.time_base = TimeBase::try_from_recip(known.rate);
        // What a file leaves out counts too.
        track.flags.set(TrackFlags::DEFAULT, known.default);
        track.codec_params = Some(CodecParameters::Audio(params));
    }
    let mut input = Input::new(inner.into_inner());
    input.seek(file.start)?;
    let demux = Clusters {
        tracks,
        audio,
        scale: file.scale,
        end: file.end,
        cluster_end: None,
        cluster_time: None,
        held: VecDeque::new(),
        lost: false,
        ended: false,
    };
    Ok(Box::new(Reader { input, demux, media, metadata, attachments, cut: false }))
}

fn copied(attachment: &Attachment) -> Attachment {
    match attachment {
        Attachment::VendorData(data) => Attachment::VendorData(data.clone()),
        Attachment::File(FileAttachment { name, description, media_type, data }) => Attachment::File(FileAttachment {
            name: name.clone(),
            description: description.clone(),
            media_type: media_type.clone(),
            data: data.clone(),
        }),
    }
}

impl Demux for Clusters {
    const INFO: FormatInfo = info(FORMAT_ID_MKV, "matroska", "Matroska / WebM");

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.held.pop_front() {
                return Ok(Some(packet));
            }
            if self.ended {
                return Ok(None);
            }
            if self.lost {
                // Whatever lies between is no longer trusted.
                if next_cluster(input)? {
                    self.lost = false;
                    return Err(Error::DecodeError(GAP));
                }
                return Err(Error::DecodeError("mkv: nothing behind a damaged place"));
            }
            self.element(input)?;
        }
    }

    fn end(&mut self) {
        self.ended = true;
    }
}

impl Clusters {
    /// Reads one element, or goes into it.
    fn element(&mut self, input: &mut Input<'_>) -> Result<()> {
        let position = input.position();
        if self.cluster_end.is_some_and(|end| position >= end) {
            self.cluster_end = None;
            self.cluster_time = None;
        }
        let head = input.peek(HEADER)?;
        if self.end.map_or(head.is_empty(), |end| position >= end) {
            self.end();
            return Ok(());
        }
        let Some((id, (size, length))) = id_at(head, 0).and_then(|(id, at)| Some((id, size(head, at)?))) else {
            // A file may end within an element's header.
            if head.len() < HEADER {
                return Err(end_of_file());
            }
            self.lost = true;
            return Ok(());
        };
        let behind = size.map(|size| position.saturating_add(length as u64).saturating_add(size));
        let (in_segment, in_cluster) = place(id);
        let bounded = match (self.cluster_end, behind) {
            (Some(end), Some(behind)) => behind <= end,
            (Some(_), None) => false,
            (None, _) => true,
        };
        match (id, size) {
            (CLUSTER, _) if self.cluster_end.is_none() => {
                input.consume(length);
                self.cluster_end = behind;
                self.cluster_time = None;
            }
            (TIME, Some(size @ 0..=8)) if bounded => {
                let value = input.take(length + size as usize)?;
                self.cluster_time = value.get(length..).map(number);
            }
            (SIMPLE_BLOCK, Some(size)) if bounded => self.block(input, length, size, false)?,
            (GROUP, Some(size)) if bounded => self.block(input, length, size, true)?,
            (_, Some(size)) if bounded && (in_cluster || (in_segment && self.cluster_end.is_none())) => {
                input.skip((length as u64).saturating_add(size))?;
            }
            // What is unknown in a segment is gone over, if it can be: files have elements of a later day.
            (_, Some(size)) if !self.is_inside() && self.end.is_some() && id > 0x7f => {
                let known = input.length().or(self.end).unwrap_or(u64::MAX);
                if behind.is_some_and(|behind| behind > known) {
                    self.lost = true;
                } else {
                    input.skip((length as u64).saturating_add(size))?;
                }
            }
            _ => self.lost = true,
        }
        if self.lost {
            self.cluster_end = None;
            self.cluster_time = None;
        }
        Ok(())
    }

    fn is_inside(&self) -> bool {
        self.cluster_time.is_some() || self.cluster_end.is_some()
    }

    /// Reads a block or a group with one, if it is of an audio track.
    fn block(&mut self, input: &mut Input<'_>, length: usize, size: u64, group: bool) -> Result<()> {
        let whole = (length as u64).saturating_add(size);
        let head = input.peek(length.saturating_add(BEFORE_BLOCK))?.get(length..).unwrap_or_default();
        let block =
            if group { Elements(head).find(|(id, _)| *id == BLOCK).map(|(_, block)| block) } else { Some(head) };
        let number = block.and_then(|block| matroska::size(block, 0)).and_then(|(number, _)| number);
        let is_audio = self.audio.iter().any(|audio| Some(u64::from(audio.number)) == number);
        let taken = usize::try_from(whole).ok().filter(|whole| is_audio && *whole <= MAX_PEEK);
        let Some(taken) = taken else { return input.skip(whole) };
        let bytes = input.take(taken)?;
        if bytes.len() < taken {
            return Err(end_of_file());
        }
        let body = bytes.get(length..).unwrap_or_default();
        let parsed = if group {
            let child = |wanted| Elements(body).find(|(id, _)| *id == wanted).map(|(_, body)| body);
            let discard = child(DISCARD).map_or(0, matroska::number);
            child(BLOCK).and_then(|block| self.packets(block, child(BLOCK_DURATION).map(matroska::number), discard))
        } else {
            self.packets(body, None, 0)
        };
        if parsed.is_none() {
            self.lost = true;
        }
        Ok(())
    }

    /// Takes the packets out of a block. None if it is malformed.
    fn packets(&mut self, block: &[u8], ticks: Option<u64>, discard: u64) -> Option<()> {
        let (number, at) = size(block, 0)?;
        let id = u32::try_from(number?).ok()?;
        let (delta, flags) = (be16(block, at)?.cast_signed(), u8_at(block, at + 2)?);
        let frames = lacing::frames(flags, block.get(at + 3..)?)?;
        let audio = self.audio.iter().find(|audio| audio.number == id)?;
        let count = frames.len().max(1) as u64;
        let each = match (ticks, audio.duration) {
            (Some(ticks), _) => ticks.saturating_mul(self.scale) / count,
            (None, Some(each)) => each,
            (None, None) => 0,
        };
        let start = i128::from(self.cluster_time?) + i128::from(delta);
        let mut start = start.checked_mul(i128::from(self.scale))? - i128::from(audio.delay);
        let last = frames.len().saturating_sub(1);
        for (index, frame) in frames.into_iter().enumerate() {
            if let Some((bytes, samples)) = audio.block.filter(|(_, samples)| *samples > 1) {
                // As much at once as the decoder has room for.
                let mut begin = self::samples(start, audio.rate)?;
                for piece in frame.chunks((bytes * blocks_per_packet(samples)) as usize) {
                    let length = u64::try_from(piece.len()).ok()? / u64::from(bytes) * u64::from(samples);
                    self.held.push_back(Packet::new(id, Timestamp::new(begin), Duration::new(length), piece));
                    begin = begin.checked_add_unsigned(length)?;
                }
                continue;
            }
            let data = [&audio.prefix, frame].concat();
            let length = Duration::new(u64::try_from(samples(each.into(), audio.rate)?).ok()?);
            let mut packet = Packet::new(id, Timestamp::new(samples(start, audio.rate)?), length, data);
            if index == last && discard > 0 {
                // Negative numbers, of what is not heard at a block's start, are beyond any block's length.
                packet.trim_end = Duration::new(u64::try_from(samples(discard.into(), audio.rate)?).ok()?);
                packet.dur = packet.dur.saturating_sub(packet.trim_end);
            }
            self.held.push_back(packet);
            start += i128::from(each);
        }
        Some(())
    }
}

fn samples(nanoseconds: i128, rate: u32) -> Option<i64> {
    let samples = nanoseconds.checked_mul(i128::from(rate))?.checked_add(SECOND / 2)?.div_euclid(SECOND);
    i64::try_from(samples).ok()
}

/// Goes to the next place where a cluster begins; false at the file's end.
fn next_cluster(input: &mut Input<'_>) -> Result<bool> {
    const START: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
    loop {
        let window = input.peek(16 * 1024)?;
        let found = window.windows(START.len()).position(|four| four == START);
        let Some(found) = found else {
            let passed = window.len().saturating_sub(START.len() - 1);
            if passed == 0 {
                return Ok(false);
            }
            input.consume(passed);
            continue;
        };
        input.consume(found);
        // Its first element is usually its time.
        let head = input.peek(START.len() + HEADER)?;
        let first = size(head, START.len()).and_then(|(_, at)| id_at(head, at));
        if first.is_some_and(|(id, _)| place(id).1) {
            return Ok(true);
        }
        input.consume(1);
    }
}
