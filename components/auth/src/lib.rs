//! Users, passwords and tokens; other components call it through `tessera:auth`.
//!
//! - [`account`]: what an account is and which registrations are acceptable;
//! - [`password`]: how passwords are hashed, with Argon2id;
//! - [`token`]: JSON Web Tokens and their signing key.
//!
//! Everything secret is a [`secrecy`] type until it is hashed or stored, so no `Debug` shows it.

pub mod account;
pub mod password;
pub mod token;

#[cfg(target_family = "wasm")]
mod guest;
