//! Tags, pictures and attachments so large that they are not looked at: Symphonia would keep all of them in memory.
//!
//! They are told otherwise than they are, as something that is passed over; an ID3v2 tag, which comes before the file,
//! loses its large frames.

use std::io::{self, Read, Seek, SeekFrom};

use super::bytes::{array, be32, bytes_at, le32};
use super::matroska::{CLUSTER, EBML, Elements, SEGMENT, TRACKS, child, id_at, number, size as size_at};
use super::patched::Patch;
use crate::edits::{self, Header};

/// Bytes of pictures that are believed, with what is around them: more than the largest cover that is carried over.
pub(super) const MOST: u64 = 6 << 20;
/// Bytes of texts.
const MOST_TEXT: u64 = 512 * 1024;
/// Bytes of an index that nobody needs.
const MOST_INDEX: u64 = 2 << 20;
/// Blocks, chunks, boxes and elements that are looked at, and texts that are believed.
pub(super) const MAX_STEPS: usize = 1000;
/// Bytes of an attached file in which its kind is looked for.
const HEAD: u64 = 1024;

/// What is to be changed in a file. Leaves the source at its start.
///
/// # Errors
/// The source failed.
pub(super) fn patches(source: &mut (impl Read + Seek)) -> io::Result<Vec<Patch>> {
    let start = bytes_at(source, 0, 12)?;
    let four = |at: usize| start.get(at..at + 4).unwrap_or_default();
    let mut patches = match (four(0), four(4), four(8)) {
        (b"fLaC", ..) => flac(source)?,
        (b"RIFF", _, b"WAVE") => wave(source)?,
        (b"FORM", _, b"AIFF" | b"AIFC") => aiff(source)?,
        (start, ..) if start == EBML => matroska(source)?,
        (_, b"ftyp" | b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"pnot", _) => movie(source)?,
        _ => Vec::new(),
    };
    patches.extend(ape(source)?);
    source.seek(SeekFrom::Start(0))?;
    Ok(patches)
}

/// Pictures and comments (RFC 9639, 8), which become padding once there are too many of them.
fn flac(source: &mut (impl Read + Seek)) -> io::Result<Vec<Patch>> {
    let (mut patches, mut at, mut sum) = (Vec::new(), 4_u64, 0);
    for step in 0.. {
        let Some(head) = be32(&bytes_at(source, at, 4)?, 0) else { break };
        let (kind, size) = (head >> 24 & 0x7f, u64::from(head & 0xff_ffff));
        if kind > 1 {
            let large = match kind {
                4 => comments(source, at.saturating_add(4))? > MAX_STEPS as u64,
                _ => false,
            };
            if large || sum + size > MOST || step > MAX_STEPS {
                patches.push(Patch { at, bytes: (head & 0x80ff_ffff | 1 << 24).to_be_bytes() });
            } else {
                sum += size;
            }
        }
        if head >> 31 == 1 || patches.len() > MAX_STEPS {
            break;
        }
        at += 4 + size;
    }
    Ok(patches)
}

/// How many comments a Vorbis comment says that it has.
fn comments(source: &mut (impl Read + Seek), at: u64) -> io::Result<u64> {
    let vendor = le32(&bytes_at(source, at, 4)?, 0).unwrap_or(0);
    let count = bytes_at(source, at.saturating_add(4).saturating_add(u64::from(vendor)), 4)?;
    Ok(u64::from(le32(&count, 0).unwrap_or(0)))
}

/// Lists before the sound, which become junk.
fn wave(source: &mut (impl Read + Seek)) -> io::Result<Vec<Patch>> {
    let (mut patches, mut at) = (Vec::new(), 12_u64);
    for _ in 0..MAX_STEPS {
        let head = bytes_at(source, at, 8)?;
        let (Some(kind), Some(size)) = (array(&head, 0), le32(&head, 4)) else { break };
        match &kind {
            b"LIST" if u64::from(size) > MOST_TEXT => patches.push(Patch { at, bytes: *b"junk" }),
            b"data" => break,
            _ => {}
        }
        at += 8 + u64::from(size) + u64::from(size & 1);
    }
    Ok(patches)
}

/// Texts and tags, before or behind the sound, which become something that nobody knows.
fn aiff(source: &mut (impl Read + Seek)) -> io::Result<Vec<Patch>> {
    let (mut patches, mut at) = (Vec::new(), 12_u64);
    for _ in 0..MAX_STEPS {
        let head = bytes_at(source, at, 8)?;
        let (Some(kind), Some(size)) = (array(&head, 0), be32(&head, 4)) else { break };
        let most = match &kind {
            b"SSND" => u64::MAX,
            b"ID3 " => MOST,
            _ => MOST_TEXT,
        };
        if u64::from(size) > most {
            patches.push(Patch { at, bytes: *b"junk" });
        }
        at += 8 + u64::from(size) + u64::from(size & 1);
    }
    Ok(patches)
}

/// An APE tag at the end, before a tag of ID3v1 if there is one.
fn ape(source: &mut (impl Read + Seek)) -> io::Result<Option<Patch>> {
    let end = source.seek(SeekFrom::End(0))?;
    for behind in [32, 32 + 128] {
        let Some(at) = end.checked_sub(behind) else { break };
        let foot = bytes_at(source, at, 32)?;
        if foot.starts_with(b"APETAGEX") {
            let many = le32(&foot, 16).is_some_and(|items| items as usize > MAX_STEPS);
            let large = le32(&foot, 12).is_some_and(|size| u64::from(size) > MOST);
            return Ok((many || large).then_some(Patch { at, bytes: *b"none" }));
        }
    }
    Ok(None)
}

/// Pictures and texts in the tags of iTunes, whose content becomes free space.
fn movie(source: &mut (impl Read + Seek)) -> io::Result<Vec<Patch>> {
    let end = source.seek(SeekFrom::End(0))?;
    let whole = end;
    let (mut patches, mut left, mut sum) = (Vec::new(), 10 * MAX_STEPS, 0);
    let mut left_of_fragments = left;
    // Parts of the file yet to be looked at: where they begin and end, and how deep they are.
    let mut parts = vec![(0_u64, end, 0)];
    while let Some((mut at, end, depth)) = parts.pop() {
        while at.saturating_add(8) <= end {
            if left == 0 {
                return Ok(patches);
            }
            left -= 1;
            let Some(Header { kind, body, next }) = edits::header(source, at, end)? else { break };
            let (size, within) = (next - at, next.min(end));
            match (depth, &kind) {
                (0, b"moof") => patches.extend(claims(source, body, within, whole, &mut left_of_fragments)?),
                (0, b"moov") | (1, b"trak" | b"udta") => parts.push((body, within, depth + 1)),
                // With a version in front.
                (0..=2, b"meta") => parts.push((body + 4, within, 3)),
                (3, b"ilst") => parts.push((body, within, 4)),
                // A tag, whatever its name.
                (4, _) => parts.push((body, within, 5)),
                (5, b"data" | b"name" | b"mean") => {
                    if size.saturating_add(sum) > MOST {
                        patches.push(Patch { at: at + 4, bytes: *b"free" });
                    } else {
                        sum += size;
                    }
                }
                _ => {}
            }
            at = next;
        }
    }
    Ok(patches)
}

/// Runs of more samples, in a fragment, than the file has bytes: they are of no size, and to count them takes long.
fn claims(
    source: &mut (impl Read + Seek),
    start: u64,
    end: u64,
    whole: u64,
    left: &mut usize,
) -> io::Result<Vec<Patch>> {
    /// Any of the fields that each sample may have.
    const OWN_FIELDS: u32 = 0xf00;
    let (mut patches, mut parts) = (Vec::new(), vec![(start, end)]);
    while let Some((mut at, end)) = parts.pop() {
        while at.saturating_add(8) <= end && *left > 0 {
            *left -= 1;
            let Some(Header { kind, body, next }) = edits::header(source, at, end)? else { break };
            if &kind == b"traf" {
                parts.push((body, next.min(end)));
            } else if &kind == b"trun" {
                let head = bytes_at(source, body, 8)?;
                let plain = be32(&head, 0).is_some_and(|flags| flags & OWN_FIELDS == 0);
                let count = u32::try_from(whole).ok().filter(|whole| be32(&head, 4) > Some(*whole));
                if let Some(count) = count.filter(|_| plain) {
                    patches.push(Patch { at: body + 4, bytes: count.to_be_bytes() });
                }
            }
            at = next;
        }
    }
    Ok(patches)
}

/// Attachments, mostly fonts, tags, chapters and indices, before or behind the media: they become elements that nobody
/// knows. Symphonia looks at what comes before the sound, and at what the elements for that refer to.
fn matroska(source: &mut (impl Read + Seek)) -> io::Result<Vec<Patch>> {
    const REFERENCES: u64 = 0x114d_9b74;
    let (mut patches, mut at, mut segment, mut references) = (Vec::new(), 0, 0, Vec::new());
    for _ in 0..MAX_STEPS {
        let Some((id, body, next)) = element(source, at)? else { break };
        match id {
            SEGMENT => {
                segment = body;
                at = body;
                continue;
            }
            CLUSTER => break,
            REFERENCES if references.len() < MAX_STEPS => {
                let head = bytes_at(source, body, next.saturating_sub(body).min(MOST_TEXT))?;
                references.extend(referred(&head).take(MAX_STEPS));
            }
            _ => judge(source, (at, id, body, next), &mut patches)?,
        }
        at = next;
    }
    for reference in references {
        let at = reference.saturating_add(segment);
        if let Some((id, body, next)) = element(source, at)? {
            judge(source, (at, id, body, next), &mut patches)?;
        }
    }
    Ok(patches)
}

/// Where the elements lie that others refer to, from the segment's start.
fn referred(references: &[u8]) -> impl Iterator<Item = u64> {
    const REFERENCE: u64 = 0x4dbb;
    const POSITION: u64 = 0x53ac;
    let references = Elements(references).filter(|(id, _)| *id == REFERENCE);
    references.filter_map(|(_, body)| child(body, POSITION).map(number))
}

/// An element whose size is known: what it is, where its body begins and where it ends.
fn element(source: &mut (impl Read + Seek), at: u64) -> io::Result<Option<(u64, u64, u64)>> {
    let head = bytes_at(source, at, 12)?;
    Ok(id_at(&head, 0).and_then(|(id, length)| {
        let (size, length) = size_at(&head, length)?;
        let body = at.checked_add(length as u64)?;
        // A segment may be open.
        let next = body.checked_add(size.unwrap_or(0))?;
        Some((id, body, next))
    }))
}

fn judge(
    source: &mut (impl Read + Seek),
    (at, id, body, next): (u64, u64, u64, u64),
    patches: &mut Vec<Patch>,
) -> io::Result<()> {
    const ATTACHMENTS: u64 = 0x1941_a469;
    const CUES: u64 = 0x1c53_bb6b;
    const UNKNOWN: [u8; 4] = [0x1f, 0xff, 0xff, 0xfe];
    let most = match id {
        TRACKS | ATTACHMENTS => MOST,
        CUES => MOST_INDEX,
        SEGMENT | CLUSTER => return Ok(()),
        // Those of fewer bytes in their number are nothing that Symphonia keeps.
        0x1000_0000.. => MOST_TEXT,
        _ => return Ok(()),
    };
    let whole = Patch { at, bytes: UNKNOWN };
    match id {
        ATTACHMENTS => match attachments(source, body, next)? {
            Some(found) => patches.extend(found),
            None => patches.push(whole),
        },
        _ if next - body > most => patches.push(whole),
        _ => {}
    }
    Ok(())
}

/// What is no picture, and pictures once there are too many of them; none: all of it.
fn attachments(source: &mut (impl Read + Seek), mut at: u64, end: u64) -> io::Result<Option<Vec<Patch>>> {
    const FILE: u64 = 0x61a7;
    const UNKNOWN: [u8; 2] = [0x7f, 0xfe];
    let (mut patches, mut sum) = (Vec::new(), 0);
    for _ in 0..MAX_STEPS {
        if at >= end {
            return Ok(Some(patches));
        }
        let Some((id, body, next)) = element(source, at)? else { break };
        let size = next.saturating_sub(at);
        let head = bytes_at(source, body, size.min(HEAD))?;
        if id == FILE && head.windows(6).any(|text| text == b"image/") && size.saturating_add(sum) <= MOST {
            sum += size;
        } else if id == FILE {
            let Some([_, _, more, last]) = array(&bytes_at(source, at, 4)?, 0) else { break };
            let [first, second] = UNKNOWN;
            patches.push(Patch { at, bytes: [first, second, more, last] });
        } else if size > MOST_TEXT {
            break;
        }
        at = next;
    }
    Ok(None)
}
