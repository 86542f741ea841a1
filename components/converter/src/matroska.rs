//! The title of a Matroska or WebM file, which Symphonia leaves alone: it stands in the segment's information, before
//! the sound. Whatever is malformed means no title: it is for the demultiplexer to judge the file.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes at the file's start that are looked at.
const HEAD: u64 = 256 * 1024;

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_A966;
const TITLE: u32 = 0x7BA9;

/// Finds the title; none if it is not such a file, or has none.
///
/// # Errors
/// The source failed.
pub fn title(source: &mut (impl Read + Seek)) -> io::Result<Option<String>> {
    source.seek(SeekFrom::Start(0))?;
    let mut start = [0; 4];
    if source.read_exact(&mut start).is_err() || u32::from_be_bytes(start) != EBML {
        return Ok(None);
    }
    let mut head = start.to_vec();
    source.by_ref().take(HEAD).read_to_end(&mut head)?;
    Ok(find(&head, &[SEGMENT, INFO, TITLE]).and_then(|title| std::str::from_utf8(title).ok()).map(str::to_owned))
}

/// The content of the first element with this path.
fn find<'a>(mut elements: &'a [u8], path: &[u32]) -> Option<&'a [u8]> {
    let Some((wanted, rest)) = path.split_first() else { return Some(elements) };
    loop {
        let (id, behind) = number(elements, 4, false)?;
        let (size, content) = number(behind, 8, true)?;
        // The last element may reach behind what is looked at, or have an unknown size.
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(content.len());
        if id == u64::from(*wanted) {
            return find(content.get(..size)?, rest);
        }
        elements = content.get(size..)?;
    }
}

/// A number of variable length (RFC 8794), with or without the bit that tells its length, and what is behind it.
fn number(bytes: &[u8], longest: u32, is_size: bool) -> Option<(u64, &[u8])> {
    let length = bytes.first()?.leading_zeros() + 1;
    let (digits, behind) = bytes.split_at_checked(length as usize).filter(|_| length <= longest)?;
    let value = digits.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let mask = 1_u64 << (7 * length);
    Some((if is_size { value & (mask - 1) } else { value }, behind))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
        let size = 0x10_0000_0000_0000_u64 << 4 | content.len() as u64;
        [id, &size.to_be_bytes(), content].concat()
    }

    #[test]
    fn the_title_is_found_behind_other_elements() -> io::Result<()> {
        let info = [element(&[0x2A, 0xD7, 0xB1], &[1, 2, 3]), element(&[0x7B, 0xA9], "Über".as_bytes())].concat();
        let segment = [element(&[0xEC], &[0; 100]), element(&[0x15, 0x49, 0xA9, 0x66], &info)].concat();
        let file =
            [element(&[0x1A, 0x45, 0xDF, 0xA3], &[0; 30]), element(&[0x18, 0x53, 0x80, 0x67], &segment)].concat();
        assert_eq!(title(&mut Cursor::new(&file))?.as_deref(), Some("Über"));
        for end in 0..file.len() - 2 {
            let cut = title(&mut Cursor::new(&file[..end]))?;
            assert!(cut.is_none_or(|cut| "Über".starts_with(&cut)), "cut at {end}");
        }
        Ok(())
    }

    #[test]
    fn other_files_have_none() -> io::Result<()> {
        for bytes in [&b""[..], b"RIFF....", &[0x1A, 0x45, 0xDF, 0xA3], &[0x1A, 0x45, 0xDF, 0xA3, 0, 0, 0]] {
            assert_eq!(title(&mut Cursor::new(bytes))?, None);
        }
        Ok(())
    }
}
