//! Chunks of CAF files (Apple's Core Audio Format), where Symphonia's reader does not see to them.

use std::io::{self, Read, Seek, SeekFrom};

use super::bytes::{HEAD, array, bytes_at};
use super::patched::Patch;

const MAGIC: &[u8] = b"caff";
/// Kind and size.
const HEADER: usize = 12;

/// Where the body of a chunk begins, and its size; none if the sound comes before it, or no such file does.
pub(super) fn chunk(head: &[u8], wanted: &[u8; 4]) -> Option<(usize, i64)> {
    let mut at = 8;
    head.starts_with(MAGIC).then_some(())?;
    loop {
        let kind: [u8; 4] = array(head, at)?;
        let (size, body) = (i64::from_be_bytes(array(head, at.checked_add(4)?)?), at.checked_add(HEADER)?);
        if &kind == wanted {
            return Some((body, size));
        }
        if &kind == b"data" {
            return None;
        }
        at = body.checked_add(usize::try_from(size).ok()?)?;
    }
}

/// The length of the sound, where a recorder left it open: it lasts to the end.
pub(super) fn patches(source: &mut (impl Read + Seek)) -> io::Result<Vec<Patch>> {
    if bytes_at(source, 0, MAGIC.len() as u64)? != MAGIC {
        return Ok(Vec::new());
    }
    let Some((body, -1)) = chunk(&bytes_at(source, 0, HEAD)?, b"data") else { return Ok(Vec::new()) };
    let end = source.seek(SeekFrom::End(0))?;
    let body = body as u64;
    let [high, low] = [end.saturating_sub(body) >> 32, end.saturating_sub(body) & u64::from(u32::MAX)];
    let bytes = |half| u32::try_from(half).unwrap_or(0).to_be_bytes();
    Ok(vec![Patch { at: body - 8, bytes: bytes(high) }, Patch { at: body - 4, bytes: bytes(low) }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_end_is_that_of_the_file() -> io::Result<()> {
        let sound =
            |size: i64| [&b"caff\0\x01\0\0free\0\0\0\0\0\0\0\x02xxdata"[..], &size.to_be_bytes(), &[7; 50]].concat();
        let found = patches(&mut io::Cursor::new(sound(-1)))?;
        assert_eq!(found, [Patch { at: 26, bytes: [0; 4] }, Patch { at: 30, bytes: [0, 0, 0, 50] }]);
        assert_eq!(patches(&mut io::Cursor::new(sound(50)))?, []);
        assert_eq!(patches(&mut io::Cursor::new(b"caff"))?, []);
        Ok(())
    }
}
