//! Several frames in one block of Matroska (RFC 9559, 10.3).

use super::bytes::u8_at;
use super::matroska::size;

/// The frames of a block, which begins behind its flags. None if their sizes make no sense.
pub(super) fn frames(flags: u8, mut body: &[u8]) -> Option<Vec<&[u8]>> {
    if flags & 6 == 0 {
        return Some(vec![body]);
    }
    let count = usize::from(u8_at(body, 0)?) + 1;
    body = body.get(1..)?;
    let sizes = match flags & 6 {
        2 => xiph(&mut body, count - 1)?,
        6 => ebml(&mut body, count - 1)?,
        _ => {
            let each = body.len() / count;
            vec![each; count - 1]
        }
    };
    let mut frames = Vec::with_capacity(count);
    for size in sizes {
        let (frame, rest) = body.split_at_checked(size)?;
        frames.push(frame);
        body = rest;
    }
    frames.push(body);
    Some(frames)
}

/// Sums of bytes, each ended by one that is not 255.
fn xiph(body: &mut &[u8], count: usize) -> Option<Vec<usize>> {
    let mut sizes = Vec::with_capacity(count);
    for _ in 0..count {
        let mut size = 0;
        loop {
            let (byte, rest) = body.split_first()?;
            *body = rest;
            size += usize::from(*byte);
            if *byte != 255 {
                break;
            }
        }
        sizes.push(size);
    }
    Some(sizes)
}

/// The first size, and what each of the others differs from the one before.
fn ebml(body: &mut &[u8], count: usize) -> Option<Vec<usize>> {
    let mut sizes = Vec::with_capacity(count);
    let mut last = 0_i64;
    for index in 0..count {
        let (value, at) = size(body, 0)?;
        let value = i64::try_from(value?).ok()?;
        let middle = (1_i64 << (7 * at - 1)) - 1;
        last = if index == 0 { value } else { last.checked_add(value - middle)? };
        sizes.push(usize::try_from(last).ok()?);
        *body = body.get(at..)?;
    }
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_in_all_three_ways() {
        assert_eq!(frames(0, b"abc"), Some(vec![&b"abc"[..]]));
        let expected = Some(vec![&b"a"[..], b"bcd", b"ef"]);
        assert_eq!(frames(2, b"\x02\x01\x03abcdef"), expected);
        assert_eq!(frames(6, b"\x02\x81\xc1abcdef"), expected);
        assert_eq!(frames(4, b"\x01abcdef"), Some(vec![&b"abc"[..], b"def"]));
        let long = [&b"\x01\xff\x01"[..], &[7; 256], b"x"].concat();
        assert_eq!(frames(2, &long).map(|frames| frames[1]), Some(&b"x"[..]));
    }

    #[test]
    fn sizes_without_sense_are_refused() {
        for (flags, body) in [(2, &b"\x01"[..]), (2, b"\x01\x05ab"), (6, b"\x02\x81\x80ab"), (6, b"\x01\xff"), (4, b"")]
        {
            assert_eq!(frames(flags, body), None, "{body:?}");
        }
    }
}
