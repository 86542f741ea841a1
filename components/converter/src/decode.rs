//! Any file that Symphonia knows to blocks of samples of its main audio track, one or two channels.

use std::io::{ErrorKind, SeekFrom};
use std::ops::Range;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::errors::Error;
use symphonia::core::formats::well_known::{FORMAT_ID_ISOMP4, FORMAT_ID_MKV};
use symphonia::core::formats::{FormatReader, Track, TrackFlags};
use symphonia::core::io::MediaSource;
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use crate::codecs;
use crate::edits;
use crate::formats::{self, Unopened};
use crate::matroska;
use crate::mix::Mix;
use crate::reason::{Reason, Warning};
use crate::resample::Resampler;
use crate::tags::Tags;
use crate::track::{Pick, same_language};

/// Sample rates that are believed; outside, the file is damaged or nothing for ears.
const RATES: std::ops::RangeInclusive<u32> = 2000..=384_000;
/// Channels that are believed; buffers are made for as many.
const MAX_CHANNELS: usize = 64;
const CROWDED: &str = "sound of more than 64 channels";
/// The most silence put in for one packet that cannot be decoded, in samples.
const MAX_SILENCE: u64 = 8192;
/// Packets decoded before the first that is listened to.
const LOOK_BACK: i64 = 16;
/// Packets without a sample before a file is given up.
const MAX_BARREN: u32 = 5000;

/// The samples of one packet.
#[derive(Debug, Default)]
struct Block {
    /// Where it lies on the track's timeline, in samples; before 0: not meant to be heard.
    start: i64,
    /// One plane per output channel.
    planes: Vec<Vec<f32>>,
    /// How many samples the container says it has, if that is exact.
    length: Option<u64>,
}

impl Block {
    fn frames(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }
}

/// Which samples of the timeline are heard.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    /// All that the decoder gives; it cuts off itself what its format marks so.
    All,
    /// From 0 on; the last block may be shorter than what its decoder gives.
    Positive,
    /// These, in order.
    Ranges(Vec<Range<u64>>),
}

/// An open file.
pub struct Audio {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    pick: Pick,
    track: u32,
    time_base: Option<TimeBase>,
    rate: u32,
    outputs: usize,
    mix: Option<(symphonia::core::audio::Channels, Mix)>,
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
    /// Where the packet before ended on the container's timeline, in samples.
    last_end: i64,
    /// Part of the stream was missing before the next packet.
    after_gap: bool,
    /// Samples given out, and samples that are missing or silent among them.
    given: u64,
    lost: u64,
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
        let segment_title = matroska::title(&mut source).unwrap_or_default();
        source.seek(SeekFrom::Start(0)).map_err(|_| Reason::Damaged)?;
        let extension = file_name.rsplit_once('.').map(|(_, extension)| extension);
        let known = formats::Known { extension, entries: &movie.entries, cut: movie.cut };
        let formats::Opened { reader: mut format, endless } =
            formats::open(source, known).map_err(|error| match error {
                Unopened::Refused(name) => Reason::Unsupported(Some(name)),
                Unopened::Failed(error) => unreadable(&error, movie.cut.is_some()),
            })?;

        let (track, decoder) = choose(&*format, &pick, &movie.languages)?;
        let tags = Tags::read(&mut *format, track.id, segment_title.as_deref());
        let container = format.format_info().format;
        let edited = movie.tracks.into_iter().find(|edited| edited.id == track.id);
        let rate = track.rate.unwrap_or(0);
        let heard = match edited {
            Some(edited) if container == FORMAT_ID_ISOMP4 => {
                Heard::Ranges(edited.played.iter().map(|ticks| in_samples(ticks, edited.timescale, rate)).collect())
            }
            _ if container == FORMAT_ID_MKV || track.priming.is_some() => Heard::Positive,
            _ => Heard::All,
        };
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
            last_end: 0,
            after_gap: false,
            given: 0,
            lost: 0,
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

    /// Nobody listens to what lies before this sample of what is heard: it may be silence, but not shorter or longer.
    pub fn skip_before(&mut self, sample: u64) {
        // Only where the container tells for each packet where it lies and how long it is.
        if matches!(self.heard, Heard::Ranges(_)) {
            self.skipped = i64::try_from(sample).unwrap_or(i64::MAX);
        }
    }

    /// How much of the sound is missing, in seconds, as far as the file says how much there should be; complete when
    /// [`Audio::next_block`] has given none.
    #[must_use]
    pub fn missing_seconds(&self) -> Option<f64> {
        let rate = f64::from(self.rate.max(1));
        let lost = self.lost as f64 / rate;
        match self.warning? {
            Warning::Gaps => Some(lost).filter(|lost| *lost > 0.0),
            Warning::EndsEarly | Warning::StopsEarly => {
                self.seconds.map(|seconds| (seconds - self.given as f64 / rate).max(0.0) + lost)
            }
        }
    }

    /// The next samples to be heard, one plane per channel; none at the end. May be empty.
    pub fn next_block(&mut self) -> Option<Vec<Vec<f32>>> {
        let block = self.pending.take()?;
        self.pending = self.read_block();
        let planes = heard(&self.heard, block, self.pending.is_none(), self.rate);
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
            if let Some(block) = self.decode(&packet) {
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
        let start = match self.time_base.filter(|_| !self.contiguous) {
            Some(base) => to_samples(packet.pts.get(), base, self.rate),
            None => self.next_start,
        };
        let announced = self.time_base.map(|base| {
            let ticks = i64::try_from(packet.dur.get()).unwrap_or(i64::MAX);
            u64::try_from(to_samples(ticks, base, self.rate)).unwrap_or(0)
        });
        self.note_gap(packet);
        if let (true, Some(length)) = (self.outputs > 0, announced.and_then(|length| i64::try_from(length).ok())) {
            // Decoders look back by a few packets.
            let reach = length.saturating_mul(LOOK_BACK);
            if (1..=MAX_SILENCE as i64).contains(&length) && start.saturating_add(reach) < self.skipped {
                self.next_start = start.saturating_add(length);
                return Some(self.silence(start, length as usize));
            }
        }
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
                    self.mix = Some((spec.channels().clone(), Mix::new(spec.channels(), self.outputs)));
                }
                decoded.copy_to_vecs_planar(&mut self.scratch);
                let mut planes = vec![Vec::new(); self.outputs];
                if let Some((_, mix)) = &self.mix {
                    mix.apply(&self.scratch, &mut planes);
                }
                let planes = self.at_one_rate(rate, planes);
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
                let frames = usize::try_from(announced.unwrap_or(0).min(MAX_SILENCE)).unwrap_or(0);
                self.next_start = start.saturating_add(i64::try_from(frames).unwrap_or(0));
                self.lost = self.lost.saturating_add(frames as u64);
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
            self.lost = self.lost.saturating_add(u64::try_from(gap).unwrap_or(0));
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
        self.time_base = track.time_base;
        self.decoder = decoder;
        self.next_start = -i64::from(track.priming.unwrap_or(0));
        true
    }
}

/// Cuts off what is not to be heard.
fn heard(heard: &Heard, block: Block, last: bool, rate: u32) -> Vec<Vec<f32>> {
    let frames = block.frames() as u64;
    let end = block.start.saturating_add_unsigned(frames);
    let positive;
    let keep: &[Range<u64>] = match heard {
        Heard::All => return block.planes,
        Heard::Positive => {
            // Block times in Matroska are in milliseconds by default, so only what differs by more is meant.
            let slack = u64::from(rate / 500);
            let length = block.length.filter(|length| last && length + slack < frames).unwrap_or(frames);
            positive = 0..u64::try_from(block.start.saturating_add_unsigned(length)).unwrap_or(0);
            std::slice::from_ref(&positive)
        }
        Heard::Ranges(ranges) => ranges,
    };
    let start = u64::try_from(block.start).unwrap_or(0);
    let end = u64::try_from(end).unwrap_or(0);
    let whole = block.start >= 0;
    if whole && keep.iter().any(|range| range.start <= start && end <= range.end) {
        return block.planes;
    }
    let mut planes = vec![Vec::new(); block.planes.len()];
    for range in keep {
        let from = i128::from(range.start.max(start)) - i128::from(block.start);
        let to = i128::from(range.end.min(end)) - i128::from(block.start);
        let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to)) else { continue };
        for (plane, source) in planes.iter_mut().zip(&block.planes) {
            plane.extend_from_slice(source.get(from..to).unwrap_or_default());
        }
    }
    planes
}

struct Chosen {
    id: u32,
    /// Samples at the start that the codec says are not meant to be heard.
    priming: Option<u32>,
    rate: Option<u32>,
    time_base: Option<TimeBase>,
    seconds: Option<f64>,
}

/// The track that was asked for. Otherwise the default audio track if it can be decoded, or else the first one that
/// can.
fn choose(
    format: &dyn FormatReader,
    pick: &Pick,
    languages: &[(u32, String)],
) -> Result<(Chosen, Box<dyn AudioDecoder>), Reason> {
    let language = |track: &Track| {
        let elsewhere = || languages.iter().find(|(id, _)| *id == track.id).map(|(_, language)| language.clone());
        track.language.clone().or_else(elsewhere)
    };
    let audio = |track: &&Track| matches!(track.codec_params, Some(CodecParameters::Audio(_)));
    let is_default = |track: &&Track| track.flags.contains(TrackFlags::DEFAULT);
    let all = || format.tracks().iter().filter(audio);
    let picked: Vec<&Track> = match pick {
        Pick::Default => all().collect(),
        Pick::Number(number) => all().skip(number.saturating_sub(1) as usize).take(1).collect(),
        Pick::Language(wanted) => {
            all().filter(|track| language(track).is_some_and(|own| same_language(&own, wanted))).collect()
        }
    };
    if picked.is_empty() && all().next().is_some() {
        return Err(match pick {
            Pick::Language(_) => Reason::NoSuchLanguage(listed(all().filter_map(language))),
            _ => Reason::NoSuchTrack(all().count()),
        });
    }
    let tracks = || picked.iter().copied();
    let mut refused = None;
    for track in tracks().filter(is_default).chain(tracks().filter(|track| !is_default(track))) {
        let Some(CodecParameters::Audio(params)) = &track.codec_params else { continue };
        let crowded = params.channels.as_ref().is_some_and(|channels| channels.count() > MAX_CHANNELS);
        let decoder = if crowded { Err(Reason::Unsupported(Some(CROWDED))) } else { codecs::decoder(params) };
        match decoder {
            Ok(decoder) => {
                let chosen = Chosen {
                    id: track.id,
                    priming: codecs::priming(params),
                    rate: params.sample_rate,
                    time_base: track.time_base,
                    seconds: track.time_base.zip(track.duration).and_then(|(base, ticks)| seconds(base, ticks.get())),
                };
                return Ok((chosen, decoder));
            }
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    let unknown = format.tracks().iter().any(|track| track.codec_params.is_none());
    Err(refused.unwrap_or(if unknown && !has_pictures(format) { Reason::Unsupported(None) } else { Reason::NoAudio }))
}

/// Languages, for people; only what is fit to be shown.
fn listed(languages: impl Iterator<Item = String>) -> String {
    let printable = |language: &String| language.bytes().all(|byte| byte.is_ascii_graphic()) && language.len() < 36;
    let mut languages: Vec<String> =
        languages.filter(|language| language != "und" && printable(language)).take(20).collect();
    languages.dedup();
    languages.join(", ")
}

fn has_pictures(format: &dyn FormatReader) -> bool {
    format.tracks().iter().any(|track| matches!(track.codec_params, Some(CodecParameters::Video(_))))
}

fn unreadable(error: &Error, cut: bool) -> Reason {
    match error {
        _ if cut => Reason::EndsEarly,
        Error::Unsupported("isomp4: missing moov atom") => Reason::EndsEarly,
        Error::IoError(io) if io.kind() == ErrorKind::UnexpectedEof => Reason::NotMedia,
        Error::Unsupported(what) if what.starts_with("core (probe)") => Reason::NotMedia,
        // A segment that reaches behind the file's end counts for none.
        Error::Unsupported("mkv: missing segment element") => Reason::EndsEarly,
        Error::Unsupported(_) => Reason::Unsupported(None),
        _ => Reason::Damaged,
    }
}

fn is_end(error: &Error) -> bool {
    matches!(error, Error::IoError(io) if io.kind() == ErrorKind::UnexpectedEof)
}

fn seconds(base: TimeBase, ticks: u64) -> Option<f64> {
    let seconds = ticks as f64 * f64::from(base.numer.get()) / f64::from(base.denom.get());
    (seconds > 0.0).then_some(seconds)
}

/// A time in ticks as a number of samples, rounded to the nearest.
fn to_samples(ticks: i64, base: TimeBase, rate: u32) -> i64 {
    let (numer, denom) = (i128::from(base.numer.get()), i128::from(base.denom.get()));
    let samples = (i128::from(ticks) * numer * i128::from(rate) + denom / 2).div_euclid(denom);
    i64::try_from(samples).unwrap_or(if samples < 0 { i64::MIN } else { i64::MAX })
}

fn in_samples(ticks: &Range<u64>, timescale: u32, rate: u32) -> Range<u64> {
    let convert = |at: u64| match at {
        u64::MAX => at,
        at => u64::try_from(u128::from(at) * u128::from(rate) / u128::from(timescale.max(1))).unwrap_or(u64::MAX),
    };
    convert(ticks.start)..convert(ticks.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(start: i64, frames: usize, length: Option<u64>) -> Block {
        Block { start, planes: vec![(0..frames).map(|i| i as f32).collect()], length }
    }

    fn kept(rule: &Heard, block: Block, last: bool) -> Vec<f32> {
        heard(rule, block, last, 48_000).concat()
    }

    #[test]
    fn ranges_cut_blocks_at_their_borders() {
        let rule = Heard::Ranges(vec![4..10, 12..13]);
        assert_eq!(kept(&rule, block(0, 4, None), false), Vec::<f32>::new());
        assert_eq!(kept(&rule, block(2, 4, None), false), [2.0, 3.0]);
        assert_eq!(kept(&rule, block(5, 3, None), false), [0.0, 1.0, 2.0]);
        assert_eq!(kept(&rule, block(8, 10, None), false), [0.0, 1.0, 4.0]);
        assert_eq!(kept(&rule, block(-3, 8, None), false), [7.0]);
    }

    #[test]
    fn before_zero_nothing_is_heard_and_the_last_block_may_be_shorter() {
        assert_eq!(kept(&Heard::Positive, block(-2, 4, None), false), [2.0, 3.0]);
        assert_eq!(kept(&Heard::Positive, block(-9, 4, None), false), Vec::<f32>::new());
        assert_eq!(kept(&Heard::Positive, block(0, 1000, Some(500)), false).len(), 1000);
        assert_eq!(kept(&Heard::Positive, block(0, 1000, Some(500)), true).len(), 500);
        assert_eq!(kept(&Heard::Positive, block(0, 1000, Some(990)), true).len(), 1000);
    }

    #[test]
    fn times_are_rounded_to_samples() {
        let milliseconds = TimeBase::try_new(1, 1000).expect("a time base");
        assert_eq!(to_samples(23, milliseconds, 44_100), 1014);
        assert_eq!(to_samples(-23, milliseconds, 44_100), -1014);
        assert_eq!(in_samples(&(1024..u64::MAX), 44_100, 22_050), 512..u64::MAX);
    }

    #[test]
    fn what_is_no_media_says_so() {
        let open = |bytes: &[u8]| Audio::open(std::io::Cursor::new(bytes.to_vec()), "a.mp4").err();
        assert_eq!(open(b""), Some(Reason::Empty));
        assert_eq!(open(b"x"), Some(Reason::NotMedia));
        assert_eq!(open("Dear diary, ".repeat(10_000).as_bytes()), Some(Reason::NotMedia));
        assert_eq!(open(&[0; 100_000]), Some(Reason::NotMedia));
    }
}
