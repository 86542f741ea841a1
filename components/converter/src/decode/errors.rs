//! What an error of a reader means.

use std::io::ErrorKind;

use symphonia::core::errors::Error;

use crate::reason::Reason;

/// Why a file was not opened. `cut`: it says itself that there is more of it.
pub(super) fn unreadable(error: &Error, cut: bool) -> Reason {
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

/// The file ended in the middle of something.
pub(super) fn is_end(error: &Error) -> bool {
    matches!(error, Error::IoError(io) if io.kind() == ErrorKind::UnexpectedEof)
}
