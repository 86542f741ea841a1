//! What the components with an HTTP API share.
//!
//! - [`answer`]: whole answers, and errors as problem details (RFC 9457);
//! - [`credentials`]: what the `Authorization` header says;
//! - [`request`]: path, query and limits of their numbers;
//! - `wasi`: between these and `wasi:http`, in Wasm only.

pub mod answer;
pub mod credentials;
pub mod request;
#[cfg(target_family = "wasm")]
pub mod wasi;

pub use answer::{Answer, Problem};
pub use request::Query;

/// A time in milliseconds since 1970 as RFC 3339 has it, such as `2026-05-01T12:00:00.000Z`.
#[must_use]
pub fn rfc3339(milliseconds: u64) -> String {
    // The year 9999, behind which RFC 3339 has no digits.
    const LAST: u64 = 253_402_300_799_999;
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(milliseconds.min(LAST));
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(super::rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(super::rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
