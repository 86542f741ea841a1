//! What an account is and which registrations are acceptable.

use email_address::{EmailAddress, Options};
use messages::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// The longest username, in bytes (RFC 5321, section 4.5.3.1.3, without the angle brackets).
pub const MAX_USERNAME: usize = 254;
/// The shortest password, in bytes.
pub const MIN_PASSWORD: usize = 8;
/// The longest password, in bytes.
pub const MAX_PASSWORD: usize = 1024;
/// The longest display name, in bytes.
pub const MAX_DISPLAY_NAME: usize = 200;

/// An account as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub struct Account {
    /// Stable and unique.
    pub id: String,
    /// The email address in lower case.
    pub username: String,
    /// As the user wants to be called.
    pub display_name: Option<String>,
    /// The password's hash in PHC string format.
    pub password_hash: String,
    /// May see everybody's jobs and the reports.
    pub admin: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// A registration that is acceptable.
#[derive(Debug)]
pub struct Registration {
    /// The email address in lower case.
    pub username: String,
    /// The password.
    pub password: SecretString,
    /// As the user wants to be called.
    pub display_name: Option<String>,
}

impl Registration {
    /// Checks a registration.
    ///
    /// # Errors
    /// What is wrong, in words for the user.
    pub fn new(username: &str, password: SecretString, display_name: Option<String>) -> Result<Self, String> {
        let username = normalize(username);
        if username.is_empty() {
            return Err("an email address is required".into());
        }
        if username.len() > MAX_USERNAME {
            return Err(format!("the email address has more than {MAX_USERNAME} bytes"));
        }
        let options = Options::default().without_display_text().without_domain_literal();
        if let Err(error) = EmailAddress::parse_with_options(&username, options) {
            return Err(format!("not an email address: {error}"));
        }
        match password.expose_secret().len() {
            0..MIN_PASSWORD => return Err(format!("the password is shorter than {MIN_PASSWORD} characters")),
            MIN_PASSWORD..=MAX_PASSWORD => {}
            _ => return Err(format!("the password has more than {MAX_PASSWORD} bytes")),
        }
        let display_name = display_name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        if let Some(name) = &display_name
            && (name.len() > MAX_DISPLAY_NAME || name.chars().any(char::is_control))
        {
            return Err(format!("the name has more than {MAX_DISPLAY_NAME} bytes, or control characters"));
        }
        Ok(Self { username, password, display_name })
    }
}

/// The form in which usernames are compared and kept.
#[must_use]
pub fn normalize(username: &str) -> String {
    username.trim().to_lowercase()
}

/// The key of an account in the store `accounts`; none for what cannot be a username.
#[must_use]
pub fn key(username: &str) -> Option<Vec<u8>> {
    (!username.is_empty() && username.len() <= MAX_USERNAME).then(|| format!("user/{username}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(username: &str, password: &str) -> Result<Registration, String> {
        Registration::new(username, password.to_owned().into(), None)
    }

    #[test]
    fn usernames_are_lower_cased_addresses() {
        assert_eq!(register(" Ada@Example.ORG ", "12345678").unwrap().username, "ada@example.org");
        for bad in ["", " ", "ada", "ada@", "@example.org", "Ada <ada@example.org>", "a b@example.org", "a@b@c"] {
            assert!(register(bad, "12345678").is_err(), "{bad:?} was accepted");
        }
        assert!(register(&format!("{}@example.org", "a".repeat(250)), "12345678").is_err());
    }

    #[test]
    fn passwords_have_limits() {
        assert_eq!(register("a@example.org", "1234567").unwrap_err(), "the password is shorter than 8 characters");
        assert!(register("a@example.org", &"x".repeat(MAX_PASSWORD)).is_ok());
        assert!(register("a@example.org", &"x".repeat(MAX_PASSWORD + 1)).is_err());
    }

    #[test]
    fn names_are_trimmed_and_limited() {
        let named = |name: &str| Registration::new("a@example.org", "12345678".to_owned().into(), Some(name.into()));
        assert_eq!(named("  Ada ").unwrap().display_name.as_deref(), Some("Ada"));
        assert_eq!(named("  ").unwrap().display_name, None);
        assert!(named("a\nb").is_err());
        assert!(named(&"x".repeat(201)).is_err());
    }

    #[test]
    fn a_registration_does_not_print_its_password() {
        let text = format!("{:?}", register("a@example.org", "hunter2hunter2").unwrap());
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn keys_are_bounded() {
        assert_eq!(key("a@example.org").unwrap(), b"user/a@example.org");
        assert_eq!(key(""), None);
        assert_eq!(key(&"x".repeat(300)), None);
    }
}
