//! What the `Authorization` header says (RFC 7617, RFC 6750).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{SecretString, zeroize::Zeroizing};

/// The credentials after a scheme's name, which is compared without regard to case.
fn after_scheme<'a>(authorization: Option<&'a [u8]>, scheme: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(authorization?).ok()?.trim();
    let (found, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    (found.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
}

/// The bearer token of an `Authorization` header's value.
#[must_use]
pub fn bearer(authorization: Option<&[u8]>) -> Option<&str> {
    after_scheme(authorization, "Bearer")
}

/// The username and password of an `Authorization` header's value.
#[must_use]
pub fn basic(authorization: Option<&[u8]>) -> Option<(String, SecretString)> {
    let decoded = Zeroizing::new(STANDARD.decode(after_scheme(authorization, "Basic")?).ok()?);
    let (username, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    (!username.is_empty()).then(|| (username.to_owned(), SecretString::from(password)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn bearer_tokens_are_found() {
        assert_eq!(bearer(Some(b"Bearer abc.def")), Some("abc.def"));
        assert_eq!(bearer(Some(b"bearer  abc ")), Some("abc"));
        for other in
            [None, Some(&b"Bearer"[..]), Some(b"Bearer "), Some(b"Basic abc"), Some(b"abc"), Some(b"\xff \xff")]
        {
            assert_eq!(bearer(other), None, "{other:?}");
        }
    }

    #[test]
    fn basic_credentials_are_decoded() {
        let header = format!("Basic {}", STANDARD.encode("ada@example.org:pass:word"));
        let (username, password) = basic(Some(header.as_bytes())).unwrap();
        assert_eq!((username.as_str(), password.expose_secret()), ("ada@example.org", "pass:word"));
    }

    #[test]
    fn broken_basic_credentials_are_none() {
        for text in ["nocolon", ":nouser", ""] {
            assert!(basic(Some(format!("Basic {}", STANDARD.encode(text)).as_bytes())).is_none(), "{text:?}");
        }
        assert!(basic(Some(b"Basic !!!")).is_none());
        assert!(basic(Some(b"Bearer abc")).is_none());
        assert!(basic(None).is_none());
    }
}
