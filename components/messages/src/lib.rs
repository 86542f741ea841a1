//! What the application's components tell one another.
//!
//! - [`choices`]: what an owner wants of the MP3;
//! - [`job`]: the record of a conversion, its id, and how its status may change;
//! - [`message`]: the bodies of the queues' messages;
//! - [`names`]: stores, queues and keys.
//!
//! Everything is plain data in JSON; reading and writing stores is the components' own matter.

pub mod choices;
pub mod job;
pub mod message;
pub mod names;

pub use choices::Choices;
pub use job::{Job, JobId, Owner, Status};
pub use message::{ConvertPart, ConvertVideo, Event, JobFinished, Outcome};

/// The media type of every record and message here.
pub const JSON: &str = "application/json";

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Timestamp = u64;

/// A value as the JSON bytes that are stored or sent.
///
/// # Errors
/// None for the types of this crate; an [`Event`]'s data may hold what JSON has no word for.
pub fn to_json<T: serde::Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(value)
}

/// A value from its JSON bytes. Unknown fields are ignored, so that an older component reads what
/// a newer one wrote.
///
/// # Errors
/// The bytes are not the JSON of such a value.
pub fn from_json<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes)
}
