//! Edit lists of MP4 and MOV files (ISO/IEC 14496-12, 8.6.6), which Symphonia leaves alone: they say
//! which part of a track is to be played, and so cut off what encoders put before the first sample
//! and after the last one.
//!
//! Only the few boxes on the way are read, whatever the file's size. Whatever is malformed means no edits:
//! it is for the demultiplexer to judge the file.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// Boxes looked at before giving up on a file.
const MAX_BOXES: u32 = 10_000;
/// Boxes looked at behind the one that has it all: enough to see whether the media is there to its end, without
/// walking over the thousands of a fragmented file.
const BOXES_BEHIND: u32 = 16;
/// Bytes of a tag that is looked at.
const MAX_TAG: u64 = 512;
/// Bytes of a description of how a track is coded.
const MAX_SAMPLE_ENTRY: u64 = 4096;
/// Tracks taken into account.
const MAX_TRACKS: usize = 256;
/// Entries of an edit list taken into account.
const MAX_ENTRIES: u32 = 1024;

/// What the file says about one track.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Track {
    /// The track's number in the file.
    pub id: u32,
    /// Ticks per second of `played`.
    pub timescale: u32,
    /// Which of the track's ticks are played, in order and apart from one another; none: all.
    pub played: Vec<Range<u64>>,
}

/// What the file says about how a track is coded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The track's number in the file.
    pub track: u32,
    /// The body of the box `stsd`, and where it lies in the file.
    pub stsd: Vec<u8>,
    /// See `stsd`.
    pub at: u64,
    /// It is played unless another track is chosen.
    pub enabled: bool,
    /// Where the size that all samples have lies in the file, and that size, unless they differ (`stsz`).
    pub size: Option<(u64, u32)>,
    /// How many samples at the start have the same duration, and which (`stts`).
    pub steady: Option<(u32, u32)>,
}

/// What was found in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Movie {
    /// The tracks with an edit list that can be followed.
    pub tracks: Vec<Track>,
    /// The languages (ISO 639-2) that tracks say they are in, by the tracks' numbers.
    pub languages: Vec<(u32, String)>,
    /// How the tracks are coded.
    pub entries: Vec<Description>,
    /// Which samples are heard, as iTunes says it (`iTunSMPB`) of files without edit lists.
    pub gapless: Option<Range<u64>>,
    /// Where the file should end, if a box reaches behind its end.
    pub cut: Option<u64>,
    /// The tables of the samples are spread over the file (`mvex`).
    pub fragmented: bool,
}

struct Entry {
    /// In the movie's timescale.
    duration: u64,
    /// In the track's timescale; negative: a pause.
    media_time: i64,
}

#[derive(Default)]
struct Raw {
    id: u32,
    timescale: u32,
    language: Option<String>,
    entries: Vec<Entry>,
    description: Description,
}

#[derive(Default)]
struct Walk {
    boxes: u32,
    movie_timescale: u32,
    tracks: Vec<Raw>,
    gapless: Option<Range<u64>>,
    cut: Option<u64>,
    fragmented: bool,
}

/// Whether a file begins as QuickTime's did before there was a box for the type.
#[must_use]
pub fn is_untyped(head: &[u8]) -> bool {
    let (Some(size), Some(kind)) = (head.first_chunk(), head.get(4..8)) else { return false };
    match (u32::from_be_bytes(*size), kind) {
        (0 | 1 | 8.., b"mdat") | (8.., b"moov") => true,
        // Next to empty boxes, and a preview.
        (8..0x10_0000, b"wide" | b"free" | b"skip" | b"pnot") => true,
        _ => false,
    }
}

/// What a box begins with.
pub(crate) struct Header {
    pub(crate) kind: [u8; 4],
    /// Where its content begins.
    pub(crate) body: u64,
    /// Where it ends; that may be behind the end of what it lies in.
    pub(crate) next: u64,
}

/// The header of the box at a place of a part of the file that ends at `end`; none if there is no such box.
///
/// # Errors
/// The source failed.
pub(crate) fn header(source: &mut (impl Read + Seek), at: u64, end: u64) -> io::Result<Option<Header>> {
    let mut head = Vec::new();
    source.seek(SeekFrom::Start(at))?;
    source.take(16).read_to_end(&mut head)?;
    let Some((&[a, b, c, d, ref kind @ ..], large)) = head.split_first_chunk::<8>() else { return Ok(None) };
    let (size, header) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (end.saturating_sub(at), 8),
        1 => (large.first_chunk().map_or(0, |size| u64::from_be_bytes(*size)), 16),
        size => (u64::from(size), 8),
    };
    let next = at.checked_add(size).filter(|_| size >= header);
    Ok(next.map(|next| Header { kind: *kind, body: at + header, next }))
}

/// Reads the edit lists; none if it is not such a file.
///
/// # Errors
/// The source failed, or ended within a box.
pub fn read(source: &mut (impl Read + Seek)) -> io::Result<Movie> {
    let end = source.seek(SeekFrom::End(0))?;
    let mut start = [0; 8];
    source.seek(SeekFrom::Start(0))?;
    if end < 8 || source.read_exact(&mut start).is_err() || !(&start[4..] == b"ftyp" || is_untyped(&start)) {
        return Ok(Movie::default());
    }
    let mut walk = Walk::default();
    walk.children(source, 0, end, 0)?;
    let movie_timescale = walk.movie_timescale;
    let tracks = walk.tracks.iter().filter_map(|raw| played(raw, movie_timescale)).collect();
    let Walk { gapless, cut, fragmented, .. } = walk;
    let mut movie = Movie { tracks, gapless, cut, fragmented, ..Movie::default() };
    for raw in walk.tracks {
        movie.languages.extend(raw.language.map(|language| (raw.id, language)));
        movie.entries.push(Description { track: raw.id, ..raw.description });
    }
    Ok(movie)
}

impl Walk {
    fn children(&mut self, source: &mut (impl Read + Seek), start: u64, end: u64, depth: u32) -> io::Result<()> {
        let mut at = start;
        while at.saturating_add(8) <= end && self.boxes < MAX_BOXES {
            self.boxes += 1;
            let Some(Header { kind, body, next }) = header(source, at, end)? else { return Ok(()) };
            if next > end {
                if depth == 0 {
                    self.cut = Some(next);
                }
                return Ok(());
            }
            source.seek(SeekFrom::Start(body))?;
            self.visit(source, kind, body, next, depth)?;
            if depth == 0 && &kind == b"moov" {
                self.boxes = self.boxes.max(MAX_BOXES - BOXES_BEHIND);
            }
            at = next;
        }
        Ok(())
    }

    fn visit(
        &mut self,
        source: &mut (impl Read + Seek),
        kind: [u8; 4],
        body: u64,
        end: u64,
        depth: u32,
    ) -> io::Result<()> {
        match (depth, &kind) {
            (0, b"moov") | (1, b"udta") | (2, b"mdia" | b"edts") | (3, b"minf" | b"ilst") | (4, b"stbl") => {
                self.children(source, body, end, depth + 1)?
            }
            // Of a movie, with a version in front.
            (2, b"meta") => self.children(source, body.saturating_add(4), end, depth + 1)?,
            (4, b"----") => {
                let mut tag = Vec::new();
                source.take(end.saturating_sub(body).min(MAX_TAG)).read_to_end(&mut tag)?;
                self.gapless = self.gapless.take().or_else(|| gapless(&tag));
            }
            (1, b"trak") if self.tracks.len() < MAX_TRACKS => {
                self.tracks.push(Raw::default());
                self.children(source, body, end, depth + 1)?;
            }
            (1, b"mvex") => self.fragmented = true,
            (1, b"mvhd") => self.movie_timescale = after_times(source)?,
            (2, b"tkhd") => {
                let flags = u32_of(source)?;
                source.seek(SeekFrom::Start(body))?;
                let id = after_times(source)?;
                self.with_track(|track| {
                    track.id = id;
                    track.description.enabled = flags & 1 == 1;
                });
            }
            (3, b"mdhd") => {
                let timescale = after_times(source)?;
                let behind = source.stream_position()?;
                let language = language(source, behind, end)?;
                self.with_track(|track| {
                    track.timescale = timescale;
                    track.language = language;
                });
            }
            (5, b"stsd") => {
                let mut entry = Vec::new();
                source.take(end.saturating_sub(body).min(MAX_SAMPLE_ENTRY)).read_to_end(&mut entry)?;
                self.with_track(|track| {
                    track.description.stsd = entry;
                    track.description.at = body;
                });
            }
            (5, b"stsz") => {
                let _version = u32_of(source)?;
                let size = u32_of(source)?;
                self.with_track(|track| track.description.size = (size > 0).then_some((body.saturating_add(4), size)));
            }
            (5, b"stts") => {
                let (_version, entries) = (u32_of(source)?, u32_of(source)?);
                if entries > 0 {
                    let steady = (u32_of(source)?, u32_of(source)?);
                    self.with_track(|track| track.description.steady = Some(steady));
                }
            }
            (3, b"elst") => {
                let entries = entries(source, end)?;
                self.with_track(|track| track.entries = entries);
            }
            _ => {}
        }
        Ok(())
    }

    fn with_track(&mut self, change: impl FnOnce(&mut Raw)) {
        if let Some(track) = self.tracks.last_mut() {
            change(track);
        }
    }
}

/// The samples that are heard, from the tag `iTunSMPB`: hexadecimal numbers, the second of them the samples before,
/// the third those behind, the fourth those that are heard.
fn gapless(tag: &[u8]) -> Option<Range<u64>> {
    let behind = |what: &[u8]| {
        let at = tag.windows(what.len()).position(|window| window == what)?;
        tag.get(at.checked_add(what.len())?..)
    };
    behind(b"iTunSMPB")?;
    let text = std::str::from_utf8(behind(b"data")?.get(8..)?).ok()?;
    let mut numbers = text.split_ascii_whitespace().skip(1).map(|number| u64::from_str_radix(number, 16).ok());
    let (before, length) = (numbers.next()??, numbers.nth(1)??);
    // A second of delay is more than any encoder has.
    (before < 65_536 && length > 0).then(|| before..before.saturating_add(length))
}

/// The field behind creation and modification time, which mvhd, tkhd and mdhd have in common.
fn after_times(source: &mut (impl Read + Seek)) -> io::Result<u32> {
    let version = u32_of(source)? >> 24;
    source.seek(SeekFrom::Current(if version == 1 { 16 } else { 8 }))?;
    u32_of(source)
}

/// The language in an mdhd whose timescale was read: three letters of five bits, behind the duration.
fn language(source: &mut (impl Read + Seek), behind_timescale: u64, end: u64) -> io::Result<Option<String>> {
    // The box ends with the language and two bytes more; the duration before it has one of two lengths.
    let at = end.saturating_sub(4);
    if !matches!(at.saturating_sub(behind_timescale), 4 | 8) {
        return Ok(None);
    }
    source.seek(SeekFrom::Start(at))?;
    let packed = u32_of(source)? >> 16;
    let letters: Option<String> = [10, 5, 0]
        .into_iter()
        .map(|shift| u8::try_from(packed >> shift & 31).ok().filter(|letter| (1..=26).contains(letter)))
        .map(|letter| letter.map(|letter| char::from(b'`' + letter)))
        .collect();
    // QuickTime's own codes are numbers below any letters.
    Ok(letters.filter(|letters| letters != "und"))
}

fn entries(source: &mut (impl Read + Seek), end: u64) -> io::Result<Vec<Entry>> {
    let long = u32_of(source)? >> 24 == 1;
    let count = u32_of(source)?;
    if count > MAX_ENTRIES {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        if source.stream_position()?.saturating_add(if long { 20 } else { 12 }) > end {
            return Ok(Vec::new());
        }
        let (duration, media_time) = if long {
            (u64_of(source)?, u64_of(source)?.cast_signed())
        } else {
            (u64::from(u32_of(source)?), i64::from(u32_of(source)?.cast_signed()))
        };
        u32_of(source)?;
        entries.push(Entry { duration, media_time });
    }
    Ok(entries)
}

fn played(raw: &Raw, movie_timescale: u32) -> Option<Track> {
    if raw.timescale == 0 || movie_timescale == 0 {
        return None;
    }
    let mut played: Vec<Range<u64>> = Vec::new();
    for entry in &raw.entries {
        // Pauses are for keeping in step with the pictures.
        let Ok(start) = u64::try_from(entry.media_time) else { continue };
        let ticks = u128::from(entry.duration) * u128::from(raw.timescale) / u128::from(movie_timescale);
        let end = match ticks {
            // Of fragmented files, whose length was not known: to the end.
            0 => u64::MAX,
            ticks => start.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX)),
        };
        // Repetitions and jumps back would need seeking; such rare films are played straight through.
        if played.last().is_some_and(|last| start < last.end) {
            return None;
        }
        played.push(start..end);
    }
    (!played.is_empty()).then_some(Track { id: raw.id, timescale: raw.timescale, played })
}

fn u32_of(source: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    source.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn u64_of(source: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    source.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is meant")]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(body);
        bytes
    }

    fn words(words: &[i32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn movie(elst: &[i32]) -> Vec<u8> {
        let minf = boxed(b"minf", &boxed(b"stbl", &boxed(b"stts", &words(&[0, 2, 90, 1024, 1, 500]))));
        let trak = [
            boxed(b"tkhd", &words(&[0, 0, 0, 7])),
            boxed(b"edts", &boxed(b"elst", &words(elst))),
            boxed(b"mdia", &[boxed(b"mdhd", &words(&[0, 0, 0, 44_100])), minf].concat()),
        ]
        .concat();
        let moov = [boxed(b"mvhd", &words(&[0, 0, 0, 1000])), boxed(b"trak", &trak)].concat();
        [boxed(b"ftyp", b"isom"), boxed(b"mdat", &[0; 100]), boxed(b"moov", &moov)].concat()
    }

    #[test]
    fn an_edit_says_what_is_played() -> io::Result<()> {
        let found = read(&mut Cursor::new(movie(&[0, 1, 2000, 1024, 0x1_0000])))?;
        let expected = Track { id: 7, timescale: 44_100, played: vec![1024..1024 + 88_200] };
        assert_eq!(found.tracks, [expected]);
        assert_eq!((found.cut, found.fragmented), (None, false));
        assert_eq!(found.entries.first().and_then(|entry| entry.steady), Some((90, 1024)));
        Ok(())
    }

    #[test]
    fn pauses_are_skipped_and_open_ends_stay_open() -> io::Result<()> {
        let found = read(&mut Cursor::new(movie(&[0, 2, 500, -1, 0x1_0000, 0, 1024, 0x1_0000])))?;
        assert_eq!(found.tracks.first().map(|track| track.played.clone()), Some(vec![1024..u64::MAX]));
        Ok(())
    }

    #[test]
    fn repetitions_mean_no_edits() -> io::Result<()> {
        let found = read(&mut Cursor::new(movie(&[0, 2, 1000, 0, 0x1_0000, 1000, 0, 0x1_0000])))?;
        assert_eq!(found.tracks, []);
        Ok(())
    }

    #[test]
    fn a_box_that_reaches_behind_the_end_is_noticed() -> io::Result<()> {
        let mut bytes = movie(&[0, 0]);
        bytes.truncate(60);
        assert!(read(&mut Cursor::new(bytes))?.cut.is_some_and(|end| end > 60));
        Ok(())
    }

    #[test]
    fn itunes_says_what_is_heard() -> io::Result<()> {
        let data = [&[0; 8][..], b" 00000000 00000840 000001C2 00000000001F0E7E 00000000 00000000"].concat();
        let tag =
            [boxed(b"mean", b"\0\0\0\0com.apple.iTunes"), boxed(b"name", b"\0\0\0\0iTunSMPB"), boxed(b"data", &data)];
        let meta = [&[0; 4][..], &boxed(b"ilst", &boxed(b"----", &tag.concat()))].concat();
        let moov = boxed(b"moov", &boxed(b"udta", &boxed(b"meta", &meta)));
        let found = read(&mut Cursor::new([boxed(b"ftyp", b"M4A "), moov].concat()))?;
        assert_eq!(found.gapless, Some(0x840..0x840 + 0x1f_0e7e));
        assert_eq!(gapless(b"data....iTunSMPB 0 0 0 0"), None);
        Ok(())
    }

    #[test]
    fn nonsense_is_survived() {
        let whole = movie(&[0, 1, 2000, 1024, 0x1_0000]);
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = read(&mut Cursor::new(&bytes));
                let _ = read(&mut Cursor::new(&bytes[..at]));
            }
        }
        assert_eq!(read(&mut Cursor::new(b"RIFF....WAVE")).ok(), Some(Movie::default()));
    }
}
