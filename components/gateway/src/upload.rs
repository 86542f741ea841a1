//! Which bodies are accepted, and the name a file gets.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use api::Problem;
use http::StatusCode;
use mime::Mime;

/// The limit of an upload when the variable `max_upload_bytes` is not set: 2 GiB.
pub const DEFAULT_LIMIT: u64 = 2 << 30;
/// What a multipart body may have beside its file: boundaries, headers, other fields.
pub const MULTIPART_OVERHEAD: u64 = 64 << 10;
/// What is answered when there is no file, or more than one.
pub const ONE_FILE: &str = "exactly 1 file required";

/// How much of a multipart body is read at once, in bytes.
pub const CHUNK: usize = 64 << 10;

/// The longest name of a file, in bytes; what is longer is cut.
const MAX_NAME: usize = 200;
/// The longest media type that is kept, in bytes.
const MAX_CONTENT_TYPE: usize = 200;
/// The name of a file that has none.
const UNNAMED: &str = "video";

/// How a body carries its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// As a part of `multipart/form-data`.
    Multipart {
        /// What stands between the parts.
        boundary: String,
    },
    /// The body is the file.
    Raw {
        /// The file's media type.
        content_type: String,
    },
}

/// Judges a request by its headers, before anything of its body is read.
///
/// # Errors
/// 415 for a media type that is no video and no audio, 413 for a `Content-Length` over the limit,
/// 400 for a malformed header.
pub fn judge(content_type: Option<&str>, content_length: Option<&str>, limit: u64) -> Result<Body, Problem> {
    let body = body(content_type)?;
    let allowed = match body {
        Body::Multipart { .. } => limit.saturating_add(MULTIPART_OVERHEAD),
        Body::Raw { .. } => limit,
    };
    if let Some(length) = content_length {
        let length = length.trim();
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Problem::bad_request("the Content-Length is not a number"));
        }
        // All digits, so what does not parse is above 2^64.
        if length.parse::<u64>().map_or(true, |length| length > allowed) {
            return Err(Problem::too_large(limit));
        }
        if length.bytes().all(|byte| byte == b'0') {
            return Err(Problem::bad_request(ONE_FILE));
        }
    }
    Ok(body)
}

fn body(content_type: Option<&str>) -> Result<Body, Problem> {
    let Some(content_type) = content_type.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(Body::Raw { content_type: "application/octet-stream".into() });
    };
    let media: Mime = content_type.parse().map_err(|_| Problem::bad_request("the Content-Type is malformed"))?;
    if content_type.len() > MAX_CONTENT_TYPE {
        return Err(Problem::bad_request("the Content-Type is too long"));
    }
    match (media.type_().as_str(), media.subtype().as_str()) {
        ("multipart", "form-data") => match media.get_param(mime::BOUNDARY) {
            Some(boundary) => Ok(Body::Multipart { boundary: boundary.as_str().into() }),
            None => Err(Problem::bad_request("the Content-Type has no boundary")),
        },
        ("application", "json" | "xml" | "x-www-form-urlencoded") => Err(unsupported(&media)),
        ("video" | "audio" | "application", _) => Ok(Body::Raw { content_type: media.essence_str().into() }),
        _ => Err(unsupported(&media)),
    }
}

fn unsupported(media: &Mime) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!(
            "{} is not accepted: send multipart/form-data with one file, or the file itself as video/…, audio/… or \
             application/octet-stream",
            media.essence_str()
        ),
    )
}

/// The media type of a multipart file's part, made safe to keep.
#[must_use]
pub fn part_type(media: Option<&Mime>) -> String {
    media
        .map(Mime::essence_str)
        .filter(|text| text.len() <= MAX_CONTENT_TYPE)
        .unwrap_or("application/octet-stream")
        .into()
}

/// A file's name as it is kept: without path, control characters or excess length, never empty.
#[must_use]
pub fn file_name(given: Option<&str>) -> String {
    let last = given.unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|character| !character.is_control()).collect();
    while name.len() > MAX_NAME {
        name.pop();
    }
    match name.trim() {
        "" | "." | ".." => UNNAMED.into(),
        trimmed => trimmed.into(),
    }
}

/// Chunks that the parser reads before it is known whose their bytes are: two while it looks for
/// the first part, one with that part's content.
const READ_AHEAD: usize = 3;

/// Bounds what a multipart body has beside its file, and with it what a parser may hold: what is
/// read is taken, what turns out to be the file's is given back.
#[derive(Debug)]
pub struct Allowance(AtomicUsize);

impl Default for Allowance {
    fn default() -> Self {
        let overhead = usize::try_from(MULTIPART_OVERHEAD).unwrap_or(usize::MAX);
        Self(AtomicUsize::new(overhead.saturating_add(READ_AHEAD.saturating_mul(CHUNK))))
    }
}

impl Allowance {
    /// Takes bytes, or is false if there are not so many left.
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    /// Gives bytes back.
    pub fn give_back(&self, bytes: usize) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_add(bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(content_type: &str, length: &str) -> u16 {
        judge(Some(content_type), Some(length), 1000).unwrap_err().status().as_u16()
    }

    #[test]
    fn raw_bodies_are_files() {
        for kind in ["video/mp4", "audio/wav", "application/octet-stream"] {
            assert_eq!(judge(Some(kind), Some("10"), 1000), Ok(Body::Raw { content_type: kind.into() }));
        }
        let octets = Body::Raw { content_type: "application/octet-stream".into() };
        assert_eq!(judge(None, None, 1000), Ok(octets));
        assert_eq!(
            judge(Some("Video/MP4; codecs=avc1"), None, 1000),
            Ok(Body::Raw { content_type: "video/mp4".into() })
        );
    }

    #[test]
    fn multipart_needs_a_boundary() {
        assert_eq!(
            judge(Some("multipart/form-data; boundary=xYz"), None, 1000),
            Ok(Body::Multipart { boundary: "xYz".into() })
        );
        assert_eq!(status("multipart/form-data", "10"), 400);
    }

    #[test]
    fn what_is_no_media_is_refused() {
        for kind in
            ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/mixed", "image/png"]
        {
            assert_eq!(status(kind, "10"), 415, "{kind}");
        }
        assert_eq!(status("nonsense", "10"), 400);
    }

    #[test]
    fn lengths_are_limited_up_front() {
        assert!(judge(Some("video/mp4"), Some("1000"), 1000).is_ok());
        assert_eq!(status("video/mp4", "1001"), 413);
        assert_eq!(status("video/mp4", "3221225472"), 413);
        assert_eq!(status("video/mp4", "99999999999999999999999999"), 413);
        assert_eq!(status("video/mp4", "-1"), 400);
        assert_eq!(status("video/mp4", "0"), 400);
        assert!(judge(Some("multipart/form-data; boundary=x"), Some("2000"), 1000).is_ok(), "room for the boundaries");
        assert_eq!(status("multipart/form-data; boundary=x", "1000000"), 413);
    }

    #[test]
    fn what_is_beside_the_file_is_bounded() {
        let allowance = Allowance::default();
        for _ in 1..READ_AHEAD {
            assert!(allowance.take(CHUNK), "read before the file is found");
        }
        for _ in 0..1000 {
            assert!(allowance.take(CHUNK), "a file of any size");
            allowance.give_back(CHUNK - 10);
        }
        let headers = Allowance::default();
        let taken = (0..1000).take_while(|_| headers.take(1 << 10)).count();
        assert_eq!(taken, 256, "an endless header is refused");
    }

    #[test]
    fn names_lose_their_paths_and_tricks() {
        for (given, kept) in [
            ("talk.mp4", "talk.mp4"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\a\\talk.mp4", "talk.mp4"),
            ("a\r\nSet-Cookie: x.mp4", "aSet-Cookie: x.mp4"),
            ("Übung 1.mp4", "Übung 1.mp4"),
            ("..", "video"),
            ("dir/", "video"),
            ("  ", "video"),
            ("", "video"),
        ] {
            assert_eq!(file_name(Some(given)), kept, "{given:?}");
        }
        assert_eq!(file_name(None), "video");
        let long = file_name(Some(&"ü".repeat(300)));
        assert!(long.len() <= 200 && long.chars().all(|character| character == 'ü'));
    }
}
