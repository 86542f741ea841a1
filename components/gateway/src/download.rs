//! Conditions, ranges and the headers of an MP3's answer (RFC 9110, RFC 6266).

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use http_range_header::{EndPosition, StartPosition};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 8187's `attr-char` leaves as it is, beside letters and digits.
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The headers of a request that decide what part of an object is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// `If-None-Match`
    pub if_none_match: Option<&'a str>,
    /// `If-Range`
    pub if_range: Option<&'a str>,
    /// `Range`; of a `HEAD` request it is ignored.
    pub range: Option<&'a str>,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// 200
    Whole,
    /// 206
    Range {
        /// The first byte, from 0.
        offset: u64,
        /// At least 1.
        length: u64,
    },
    /// 304: the client has it.
    NotModified,
    /// 416: the range begins behind the end.
    Unsatisfiable,
}

impl Part {
    /// The status that goes with it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Whole => StatusCode::OK,
            Self::Range { .. } => StatusCode::PARTIAL_CONTENT,
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }
}

/// Decides what is sent of an object with a strong entity tag, given without quotes.
///
/// A malformed `Range`, or one with several ranges, is ignored as RFC 9110 allows.
#[must_use]
pub fn select(conditions: Conditions<'_>, etag: &str, size: u64) -> Part {
    let quoted = format!("\"{etag}\"");
    if let Some(tags) = conditions.if_none_match
        && tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == quoted)
    {
        return Part::NotModified;
    }
    let Some(range) = conditions.range else { return Part::Whole };
    if conditions.if_range.is_some_and(|tag| tag.trim() != quoted) {
        return Part::Whole;
    }
    match http_range_header::parse_range_header(range.trim()).as_ref().map(|parsed| parsed.ranges.as_slice()) {
        Ok([range]) => resolve(range.start, range.end, size),
        _ => Part::Whole,
    }
}

/// A range of an object of `size` bytes (section 14.1.2). The library's own way of doing this
/// refuses a suffix that is longer than the object, where the standard wants all of it.
fn resolve(start: StartPosition, end: EndPosition, size: u64) -> Part {
    let Some(last) = size.checked_sub(1) else { return Part::Unsatisfiable };
    let offset = match start {
        StartPosition::Index(start) => start,
        StartPosition::FromLast(suffix) => size.saturating_sub(suffix),
    };
    let end = match end {
        // A last byte before the first is a malformed range, not one behind the end.
        EndPosition::Index(end) if end < offset => return Part::Whole,
        EndPosition::Index(end) => end.min(last),
        EndPosition::LastByte => last,
    };
    match end.checked_sub(offset) {
        Some(distance) => Part::Range { offset, length: distance.saturating_add(1) },
        None => Part::Unsatisfiable,
    }
}

/// The headers of an answer.
#[must_use]
pub fn headers(part: Part, etag: &str, size: u64, upload_name: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    insert(&mut headers, ETAG, format!("\"{etag}\""));
    match part {
        Part::NotModified => return headers,
        Part::Unsatisfiable => {
            insert(&mut headers, CONTENT_RANGE, format!("bytes */{size}"));
            return headers;
        }
        Part::Whole => insert(&mut headers, CONTENT_LENGTH, size.to_string()),
        Part::Range { offset, length } => {
            let last = offset.saturating_add(length).saturating_sub(1);
            insert(&mut headers, CONTENT_RANGE, format!("bytes {offset}-{last}/{size}"));
            insert(&mut headers, CONTENT_LENGTH, length.to_string());
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("audio/mpeg"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    insert(&mut headers, CONTENT_DISPOSITION, disposition(upload_name));
    headers
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(name, value);
    }
}

/// The MP3's name: the upload's, with its extension replaced.
#[must_use]
pub fn mp3_name(upload_name: &str) -> String {
    let stem = match upload_name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 5 && !extension.contains(' ') => stem,
        _ => upload_name,
    };
    format!("{stem}.mp3")
}

/// `Content-Disposition` with a name for old clients and the exact one in UTF-8 for others.
fn disposition(upload_name: &str) -> String {
    let name = mp3_name(upload_name);
    let plain: String = name
        .chars()
        .map(|character| match character {
            // `%` and these two are read differently by different clients.
            '"' | '\\' | '%' => '_',
            ' '..='~' => character,
            _ => '_',
        })
        .collect();
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, EXTENDED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Part {
        select(Conditions { range: Some(text), ..Conditions::default() }, "e", 100)
    }

    #[test]
    fn single_ranges_are_served() {
        assert_eq!(range("bytes=0-9"), Part::Range { offset: 0, length: 10 });
        assert_eq!(range("bytes=90-"), Part::Range { offset: 90, length: 10 });
        assert_eq!(range("bytes=-5"), Part::Range { offset: 95, length: 5 });
        assert_eq!(range("bytes=50-1000"), Part::Range { offset: 50, length: 50 });
        assert_eq!(range("bytes=-1000"), Part::Range { offset: 0, length: 100 });
        assert_eq!(range("bytes=99-99"), Part::Range { offset: 99, length: 1 });
    }

    #[test]
    fn ranges_behind_the_end_are_416_and_nonsense_is_ignored() {
        assert_eq!(range("bytes=100-"), Part::Unsatisfiable);
        assert_eq!(range("bytes=500-600"), Part::Unsatisfiable);
        let empty = Conditions { range: Some("bytes=0-"), ..Conditions::default() };
        assert_eq!(select(empty, "e", 0), Part::Unsatisfiable);
        for nonsense in ["bytes=", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=9-5", "0-9"] {
            assert_eq!(range(nonsense), Part::Whole, "{nonsense}");
        }
    }

    #[test]
    fn conditions_come_first() {
        let with = |if_none_match, if_range| {
            select(Conditions { if_none_match, if_range, range: Some("bytes=0-0") }, "e", 100)
        };
        for tags in ["\"e\"", "W/\"e\"", "\"x\", \"e\"", "*"] {
            assert_eq!(with(Some(tags), None), Part::NotModified, "{tags}");
        }
        let part = Part::Range { offset: 0, length: 1 };
        assert_eq!(with(Some("\"x\""), None), part);
        assert_eq!(with(None, Some("\"e\"")), part);
        assert_eq!(with(None, Some("W/\"e\"")), Part::Whole, "If-Range compares strongly");
        assert_eq!(with(None, Some("Wed, 21 Oct 2015 07:28:00 GMT")), Part::Whole);
    }

    #[test]
    fn headers_fit_the_part() {
        let part = Part::Range { offset: 10, length: 5 };
        let partial = headers(part, "e", 100, "talk.mp4");
        assert_eq!(
            (part.status().as_u16(), &partial[CONTENT_RANGE]),
            (206, &HeaderValue::from_static("bytes 10-14/100"))
        );
        assert_eq!(partial[CONTENT_LENGTH], "5");
        assert_eq!(partial[ETAG], "\"e\"");
        let refused = headers(Part::Unsatisfiable, "e", 100, "talk.mp4");
        assert_eq!(refused[CONTENT_RANGE], "bytes */100");
        assert!(!refused.contains_key(CONTENT_LENGTH));
        assert_eq!(headers(Part::Whole, "e", 100, "talk.mp4")[CONTENT_LENGTH], "100");
    }

    #[test]
    fn names_survive_every_client() {
        assert_eq!(disposition("talk.mp4"), "attachment; filename=\"talk.mp3\"");
        assert_eq!(disposition("no extension"), "attachment; filename=\"no extension.mp3\"");
        assert_eq!(disposition(".mp4"), "attachment; filename=\".mp4.mp3\"");
        assert_eq!(disposition("a\"b\r\n.mp4"), "attachment; filename=\"a_b__.mp3\"; filename*=UTF-8''a%22b%0D%0A.mp3");
        assert_eq!(
            disposition("Übung 1.mov"),
            "attachment; filename=\"_bung 1.mp3\"; filename*=UTF-8''%C3%9Cbung%201.mp3"
        );
    }
}
