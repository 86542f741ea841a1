//! The component `converter`: turns the videos of the queue `video` into MP3s.
//!
//! ```text
//! component (Wasm only: queue, stores, streams)
//!   -> job       what to do with a delivery; what is committed at its end
//!   -> plan      a long file in parts, which several instances make
//!   -> convert   one file to one MP3, in steps
//!        -> decode -> formats, source, edits, codecs, mix
//!        -> track, shape, loudness
//!        -> piece -> encode, part, span
//!        -> tags
//! ```
//!
//! Everything but `component` runs natively too, which is how it is tested. Trying again gives the same
//! MP3 under the same key, and the job record's version decides who ends the job: so a crash anywhere,
//! or two converters at once, leave one MP3 and one message.

#[cfg(target_family = "wasm")]
mod component;

mod codecs;
pub mod convert;
pub mod decode;
pub mod edits;
pub mod encode;
pub mod formats;
pub mod job;
pub mod loudness;
pub mod mix;
pub mod part;
pub mod piece;
pub mod plan;
pub mod reason;
pub mod resample;
pub mod shape;
pub mod source;
pub mod span;
pub mod tags;
pub mod track;
