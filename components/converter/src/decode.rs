//! Any file that Symphonia knows to blocks of samples of its main audio track, one or two channels.

mod choice;
mod errors;
mod heard;
mod jump;
mod lengths;
mod ticks;

use std::io::SeekFrom;

use symphonia::core::audio::{Audio as _, Channels, GenericAudioBufferRef};
use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::errors::Error;
use symphonia::core::formats::FormatReader;
use symphonia::core::formats::well_known::{FORMAT_ID_ISOMP4, FORMAT_ID_MKV};
use symphonia::core::io::MediaSource;
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use crate::codecs;
use crate::edits;
use crate::formats::{self, Unopened};
use crate::mix::Mix;
use crate::reason::{Reason, Warning};
use crate::resample::Resampler;
use crate::tags::Tags;
use crate::track::Pick;

use choice::choose;
use errors::{is_end, unreadable};
use heard::{Block, Heard};
use jump::Steady;
use lengths::Lengths;
use ticks::{in_samples, seconds, to_samples};

/// Sample rates that are believed; outside, the file is damaged or nothing for ears.
const RATES: std::ops::RangeInclusive<u32> = 2000..=384_000;
/// The most silence put in for one packet that cannot be decoded, in samples.
const MAX_SILENCE: u64 = 8192;
/// Packets decoded before the first that is listened to.
const LOOK_BACK: i64 = 16;
/// Packets without a sample, or without a byte, one after the other before a file is given up. MP4 can claim billions of
/// empty ones in a few bytes, each of which would otherwise count as a hole in the sound.
const MAX_BARREN: u32 = 5000;

/// An open file.
pub struct Audio {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    pick: Pick,
    track: u32,
    time_base: Option<TimeBase>,
    rate: u32,
    outputs: usize,
    /// What the file says outside of the stream about its channels.
    layout: Option<Channels>,
    mix: Option<(Channels, Mix)>,
    /// While the stream has another rate than at its start.
    resampler: Option<Resampler>,
    heard: Heard,
    /// Blocks lie one after the other; otherwise where their packets say.
    contiguous: bool,
    seconds: Option<f64>,
    tags: Tags,
    scratch: Vec<Vec<f32>>,
    /// The block before the one being read: only when another follows is it known not to be the last.
    pending: Option<Block>,
    next_start: i64,
    /// What lies before, on the track's timeline, need not be decoded.
    skipped: i64,
    /// How many samples were decoded, or skipped one packet after the other.
    produced: i64,
    lengths: Lengths,
    /// Where the reader can go at once.
    steady: Option<Steady>,
    /// Samples of the packet before.
    usual: usize,
    /// Where the packet before ended on the container's timeline, in samples.
    last_end: i64,
    /// Part of the stream was missing before the next packet.
    after_gap: bool,
    /// Samples given out, and those among them that are silent in place of what was damaged.
    given: u64,
    silent: u64,
    /// Samples that the container's timeline leaves out.
    absent: u64,
    /// Packets without a byte just before the next one.
    empty: u32,
    /// The file does not say where it ends.
    endless: bool,
    ended: bool,
    warning: Option<Warning>,
}

impl Audio {
    /// Recognises the file and decodes its first samples. The name's extension is only a hint.
    ///
    /// # Errors
    /// The file cannot be converted. If the source failed meanwhile, the reason is void.
    pub fn open(source: impl MediaSource + 'static, file_name: &str) -> Result<Self, Reason> {
        Self::open_track(source, file_name, Pick::Default)
    }

    /// The same, with a track that the owner picked.
    ///
    /// # Errors
    /// There is no such track, or the file cannot be converted.
    pub fn open_track(mut source: impl MediaSource + 'static, file_name: &str, pick: Pick) -> Result<Self, Reason> {
        if source.byte_len() == Some(0) {
            return Err(Reason::Empty);
        }
        let movie = edits::read(&mut source).unwrap_or_default();
        let segment_title = formats::matroska_title(&mut source).unwrap_or_default();
        source.seek(SeekFrom::Start(0)).map_err(|_| Reason::Damaged)?;
        let extension = file_name.rsplit_once('.').map(|(_, extension)| extension);
        let known = formats::Known { extension, entries: &movie.entries, cut: movie.cut };
        let formats::Opened { reader: mut format, endless, layout } =
            formats::open(source, known).map_err(|error| match error {
                Unopened::Refused(name) => Reason::UnsupportedFile(name),
                Unopened::Mute => Reason::NoAudio,
                Unopened::Failed(error) => unreadable(&error, movie.cut.is_some()),
            })?;

        let (track, decoder) = choose(&*format, &pick, &movie.languages)?;
        let tags = Tags::read(&mut *format, track.id, segment_title.as_deref());
        let container = format.format_info().format;
        let steady = Steady::of(&movie, track.id);
        let edited = movie.tracks.into_iter().find(|edited| edited.id == track.id);
        // MP4 has no room for rates above 65,535 Hz. Until the decoder says it, the ticks of the track's times have to do.
        let ticks = edited.as_ref().map(|edited| edited.timescale).or(track.time_base.map(|base| base.denom.get()));
        let rate = track.rate.filter(|rate| RATES.contains(rate)).or(ticks).unwrap_or(0);
        let heard = match edited {
            Some(edited) if container == FORMAT_ID_ISOMP4 => {
                Heard::Ranges(edited.played.iter().map(|ticks| in_samples(ticks, edited.timescale, rate)).collect())
            }
            None if container == FORMAT_ID_ISOMP4 && track.priming.is_none() && movie.gapless.is_some() => {
                Heard::Ranges(movie.gapless.into_iter().collect())
            }
            _ if container == FORMAT_ID_MKV || track.priming.is_some() => Heard::Positive,
            _ => Heard::All,
        };
        let lengths = Lengths::of(container, decoder.codec_params().codec);
        // An edit list says it in its own way.
        let priming = track.priming.filter(|_| heard == Heard::Positive);
        let whole = format.media_info();
        let seconds = track.seconds.or_else(|| seconds(whole.time_base?, whole.duration?.get()));
        let mut audio = Self {
            format,
            decoder,
            pick,
            track: track.id,
            time_base: track.time_base,
            rate,
            outputs: 0,
            layout,
            mix: None,
            resampler: None,
            contiguous: heard == Heard::All || priming.is_some(),
            heard,
            seconds,
            tags,
            scratch: Vec::new(),
            pending: None,
            next_start: -i64::from(priming.unwrap_or(0)),
            skipped: 0,
            produced: 0,
            lengths,
            steady,
            usual: 0,
            last_end: 0,
            after_gap: false,
            given: 0,
            silent: 0,
            absent: 0,
            empty: 0,
            endless,
            ended: false,
            warning: None,
        };
        audio.pending = audio.read_block();
        match (audio.pending.is_some(), audio.warning) {
            (true, _) => Ok(audio),
            (false, Some(Warning::EndsEarly)) => Err(Reason::EndsEarly),
            (false, Some(_)) => Err(if movie.cut.is_some() { Reason::EndsEarly } else { Reason::Damaged }),
            (false, None) => Err(Reason::SilentTrack),
        }
    }

    /// Samples per second of every block.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Channels of every block, 1 or 2.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.outputs
    }

    /// The length that the file announces, in seconds; good for showing progress.
    #[must_use]
    pub fn announced_seconds(&self) -> Option<f64> {
        self.seconds
    }

    /// What the file says about itself; nothing is left behind.
    #[must_use]
    pub fn take_tags(&mut self) -> Tags {
        std::mem::take(&mut self.tags)
    }

    /// What the owner should know, complete when [`Audio::next_block`] has given none.
    #[must_use]
    pub fn warning(&self) -> Option<Warning> {
        self.warning
    }

    /// How much of the sound is missing, in seconds, as far as the file says how much there should be; complete when
    /// [`Audio::next_block`] has given none.
    #[must_use]
    pub fn missing_seconds(&self) -> Option<f64> {
        let rate = f64::from(self.rate.max(1));
        let silent = self.silent as f64 / rate;
        match self.warning? {
            Warning::Gaps => Some(silent + self.absent as f64 / rate).filter(|lost| *lost > 0.0),
            Warning::EndsEarly | Warning::StopsEarly => {
                self.seconds.map(|seconds| (seconds - self.given as f64 / rate).max(0.0) + silent)
            }
        }
    }

    /// The next samples to be heard, one plane per channel; none at the end. May be empty.
    pub fn next_block(&mut self) -> Option<Vec<Vec<f32>>> {
        let block = self.pending.take()?;
        self.pending = self.read_block();
        let planes = self.heard.cut(block, self.pending.is_none(), self.rate);
        self.given = self.given.saturating_add(planes.first().map_or(0, Vec::len) as u64);
        Some(planes)
    }

    /// Decodes packets until one gives samples. What stops it is noted as a warning.
    fn read_block(&mut self) -> Option<Block> {
        let mut barren = 0;
        while !self.ended && barren < MAX_BARREN {
            let packet = match self.format.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(Error::ResetRequired) if self.reopen() => continue,
                Err(Error::DecodeError(formats::GAP)) => {
                    self.warning = Some(Warning::Gaps);
                    self.after_gap = true;
                    continue;
                }
                Err(error) if self.endless && is_end(&error) => break,
                Err(error) => {
                    self.stop(if is_end(&error) { Warning::EndsEarly } else { Warning::StopsEarly });
                    break;
                }
            };
            if packet.track_id != self.track {
                continue;
            }
            self.empty = if packet.data.is_empty() { self.empty.saturating_add(1) } else { 0 };
            if self.empty >= MAX_BARREN {
                self.stop(Warning::StopsEarly);
                break;
            }
            if let Some(block) = self.decode(&packet) {
                self.produced = self.produced.saturating_add_unsigned(block.frames() as u64);
                return Some(block);
            }
            barren += 1;
        }
        if barren >= MAX_BARREN {
            self.stop(Warning::StopsEarly);
        }
        self.ended = true;
        let planes = self.resampler.take()?.finish();
        Some(Block { start: self.next_start, planes, length: None }).filter(|block| block.frames() > 0)
    }

    fn decode(&mut self, packet: &Packet) -> Option<Block> {
        let (start, announced) = self.place(packet);
        self.note_gap(packet);
        let known = self.length(packet, start, announced);
        if let Some(length) = known.and_then(|length| i64::try_from(length).ok())
            && self.is_unheard(start, length)
        {
            self.next_start = start.saturating_add(length);
            return Some(self.silence(start, usize::try_from(length).unwrap_or(0)));
        }
        let codec = self.decoder.codec_params().codec;
        match self.decoder.decode(packet) {
            Ok(decoded) => {
                let spec = decoded.spec();
                if decoded.frames() == 0 {
                    return None;
                }
                if !RATES.contains(&spec.rate()) {
                    self.stop(Warning::StopsEarly);
                    return None;
                }
                if self.outputs == 0 {
                    // A range of the timeline was computed with the rate that the container says.
                    if let (Heard::Ranges(ranges), true) = (&mut self.heard, self.rate != spec.rate()) {
                        for range in ranges {
                            *range = in_samples(range, self.rate, spec.rate());
                        }
                    }
                    self.rate = spec.rate();
                    self.outputs = spec.channels().count().clamp(1, 2);
                }
                let rate = spec.rate();
                if self.mix.as_ref().is_none_or(|(channels, _)| channels != spec.channels()) {
                    let stated = self.layout.as_ref().filter(|_| codecs::in_order_of_the_file(codec));
                    let layout = stated.filter(|layout| layout.count() == spec.channels().count());
                    self.mix =
                        Some((spec.channels().clone(), Mix::new(layout.unwrap_or(spec.channels()), self.outputs)));
                }
                let (_, mix) = self.mix.as_ref()?;
                let planes = match &decoded {
                    GenericAudioBufferRef::F32(samples) => mix.apply(&samples.iter_planes().collect::<Vec<_>>()),
                    others => {
                        others.copy_to_vecs_planar(&mut self.scratch);
                        mix.apply(&self.scratch.iter().map(Vec::as_slice).collect::<Vec<_>>())
                    }
                };
                // With the rate, which may have been another before the first packet.
                let (start, announced) = self.place(packet);
                let planes = self.at_one_rate(rate, planes);
                self.usual = planes.first().map_or(0, Vec::len);
                let block = Block { start, planes, length: announced.filter(|length| *length > 0) };
                self.next_start = start.saturating_add(i64::try_from(block.frames()).unwrap_or(0));
                Some(block)
            }
            Err(Error::ResetRequired) => {
                self.decoder.reset();
                None
            }
            Err(_) if self.outputs == 0 => {
                self.warning = Some(Warning::Gaps);
                None
            }
            // A hole in the sound keeps its length.
            Err(_) => {
                self.warning = Some(Warning::Gaps);
                let length = known.or(announced.filter(|length| *length > 0)).unwrap_or(self.usual as u64);
                let frames = usize::try_from(length.min(MAX_SILENCE)).unwrap_or(0);
                self.next_start = start.saturating_add(i64::try_from(frames).unwrap_or(0));
                self.silent = self.silent.saturating_add(frames as u64);
                Some(self.silence(start, frames))
            }
        }
    }

    /// Samples at the rate of the first ones, which is that of the MP3, also where the stream changes its own.
    fn at_one_rate(&mut self, rate: u32, mut planes: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        if rate == self.rate && self.resampler.is_none() {
            return planes;
        }
        let mut converted = match self.resampler.take_if(|resampler| resampler.from() != rate) {
            Some(mut before) => before.finish(),
            None => vec![Vec::new(); planes.len()],
        };
        if rate != self.rate {
            if self.resampler.is_none() {
                self.resampler = Resampler::new(rate, self.rate, planes.len());
            }
            if let Some(resampler) = &mut self.resampler {
                planes = resampler.process(&planes.iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
        }
        for (converted, plane) in converted.iter_mut().zip(planes) {
            converted.extend(plane);
        }
        converted
    }

    /// Where a packet lies on the track's timeline and how long it is said to be, in samples.
    fn place(&self, packet: &Packet) -> (i64, Option<u64>) {
        let start = match self.time_base.filter(|_| !self.contiguous) {
            Some(base) => to_samples(packet.pts.get(), base, self.rate),
            None => self.next_start,
        };
        let announced = self.time_base.map(|base| {
            let ticks = i64::try_from(packet.dur.get()).unwrap_or(i64::MAX);
            u64::try_from(to_samples(ticks, base, self.rate)).unwrap_or(0)
        });
        (start, announced)
    }

    fn silence(&self, start: i64, frames: usize) -> Block {
        Block { start, planes: vec![vec![0.0; frames]; self.outputs], length: None }
    }

    /// Counts what the container's timeline leaves out behind a damaged place.
    fn note_gap(&mut self, packet: &Packet) {
        let Some(base) = self.time_base else { return };
        let start = to_samples(packet.pts.get(), base, self.rate);
        let end = packet.pts.get().saturating_add_unsigned(packet.dur.get());
        if std::mem::take(&mut self.after_gap) && self.last_end > 0 {
            let gap = start.saturating_sub(self.last_end);
            self.absent = self.absent.saturating_add(u64::try_from(gap).unwrap_or(0));
        }
        self.last_end = to_samples(end, base, self.rate);
    }

    fn stop(&mut self, warning: Warning) {
        self.warning = Some(warning);
        self.ended = true;
    }

    /// Goes on with the next of several chained streams. False if that is not possible.
    fn reopen(&mut self) -> bool {
        let Ok((track, decoder)) = choose(&*self.format, &self.pick, &[]) else { return false };
        self.track = track.id;
        self.lengths = Lengths::Decoder;
        self.time_base = track.time_base;
        self.decoder = decoder;
        self.next_start = -i64::from(track.priming.unwrap_or(0));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_media_says_so() {
        let open = |bytes: &[u8]| Audio::open(std::io::Cursor::new(bytes.to_vec()), "a.mp4").err();
        assert_eq!(open(b""), Some(Reason::Empty));
        assert_eq!(open(b"x"), Some(Reason::NotMedia));
        assert_eq!(open("Dear diary, ".repeat(10_000).as_bytes()), Some(Reason::NotMedia));
        assert_eq!(open(&[0; 100_000]), Some(Reason::NotMedia));
    }
}
