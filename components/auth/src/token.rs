//! JSON Web Tokens and their signing key.
//!
//! HS256: this component alone signs and verifies, so a shared secret has no second holder, and it
//! is the cheapest to verify on every request. The algorithm is pinned; a token's own `alg` only
//! ever leads to its refusal.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Serialize};

use crate::account::Account;

/// How long a token is valid, in seconds.
pub const LIFETIME: u64 = 24 * 60 * 60;
/// Who makes the tokens.
pub const ISSUER: &str = "tessera-auth";
/// Whom they are for.
pub const AUDIENCE: &str = "tessera";
/// The key under which the signing key is kept, in the store `keys`.
pub const SIGNING_KEY: &[u8] = b"signing-key";
/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 4096;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The account's id.
    pub sub: String,
    /// The account's email address.
    pub username: String,
    /// `user` or `admin`.
    pub role: String,
    /// True for the role `admin`.
    pub admin: bool,
    /// The token's own id.
    pub jti: String,
    /// [`ISSUER`].
    pub iss: String,
    /// [`AUDIENCE`].
    pub aud: String,
    /// Issued at, in seconds since 1970, like the next two.
    pub iat: u64,
    /// Not valid before.
    pub nbf: u64,
    /// Not valid from then on.
    pub exp: u64,
}

impl Claims {
    /// What an account's token says when it is made at `now`, in seconds since 1970.
    #[must_use]
    pub fn new(account: &Account, jti: String, now: u64) -> Self {
        Self {
            sub: account.id.clone(),
            username: account.username.clone(),
            role: if account.admin { "admin" } else { "user" }.into(),
            admin: account.admin,
            jti,
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(LIFETIME),
        }
    }
}

/// The secret that signs tokens, with its name.
#[derive(Debug)]
pub struct SigningKey {
    id: String,
    secret: SecretBox<[u8; 32]>,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    kid: String,
    alg: String,
    secret: String,
}

/// A token or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Malformed, wrongly signed, expired, not yet valid, or for somebody else.
    #[error("the token is not valid")]
    Invalid,
    /// The stored signing key cannot be read.
    #[error("the stored signing key is damaged")]
    DamagedKey,
    /// Signing failed.
    #[error("cannot sign a token: {0}")]
    Sign(String),
}

impl SigningKey {
    /// A key from random bytes.
    #[must_use]
    pub fn new(id: String, random: [u8; 32]) -> Self {
        Self { id, secret: SecretBox::new(Box::new(random)) }
    }

    /// As it is kept.
    ///
    /// # Errors
    /// None in practice: a key always has JSON.
    pub fn to_json(&self) -> serde_json::Result<SecretString> {
        let stored = StoredKey {
            kid: self.id.clone(),
            alg: "HS256".into(),
            secret: URL_SAFE_NO_PAD.encode(self.secret.expose_secret()),
        };
        serde_json::to_string(&stored).map(SecretString::from)
    }

    /// From what was kept.
    ///
    /// # Errors
    /// [`Error::DamagedKey`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        let stored: StoredKey = serde_json::from_slice(bytes).map_err(|_| Error::DamagedKey)?;
        let secret = URL_SAFE_NO_PAD.decode(&stored.secret).map_err(|_| Error::DamagedKey)?;
        let secret: [u8; 32] = secret.try_into().map_err(|_| Error::DamagedKey)?;
        if stored.alg != "HS256" {
            return Err(Error::DamagedKey);
        }
        Ok(Self::new(stored.kid, secret))
    }

    /// Signs.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(self.secret.expose_secret());
        jsonwebtoken::encode(&header, claims, &key).map_err(|error| Error::Sign(error.to_string()))
    }

    /// Verifies a token's key id, algorithm, signature, issuer, audience and times, by the clock of
    /// this machine and without leeway.
    ///
    /// # Errors
    /// [`Error::Invalid`], whatever is wrong.
    pub fn verify(&self, token: &str) -> Result<Claims, Error> {
        if token.len() > MAX_TOKEN {
            return Err(Error::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Error::Invalid)?;
        if header.kid.as_deref() != Some(self.id.as_str()) {
            return Err(Error::Invalid);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        // RFC 7519: not valid "on or after" its expiry, where the library takes the second itself as valid.
        validation.reject_tokens_expiring_in_less_than = 1;
        validation.validate_nbf = true;
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        let key = DecodingKey::from_secret(self.secret.expose_secret());
        jsonwebtoken::decode(token, &key, &validation).map(|token| token.claims).map_err(|_| Error::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn key() -> SigningKey {
        SigningKey::new("k1".into(), [7; 32])
    }

    fn claims(now: u64) -> Claims {
        let account = Account {
            id: "a1".into(),
            username: "ada@example.org".into(),
            display_name: None,
            password_hash: String::new(),
            admin: true,
            created: 0,
        };
        Claims::new(&account, "j1".into(), now)
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let claims = claims(now());
        let token = key().sign(&claims).unwrap();
        assert_eq!(key().verify(&token).unwrap(), claims);
        assert_eq!((claims.role.as_str(), claims.exp - claims.iat), ("admin", 86_400));
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::HS256, Some("k1")));
    }

    #[test]
    fn times_are_kept_to_the_second() {
        for (what, made) in [("expired", now() - LIFETIME), ("not yet valid", now() + 60)] {
            let token = key().sign(&claims(made)).unwrap();
            assert!(matches!(key().verify(&token), Err(Error::Invalid)), "{what}");
        }
    }

    #[test]
    fn another_issuer_audience_key_or_signature_is_refused() {
        let good = claims(now());
        let issuer = Claims { iss: "x".into(), ..good.clone() };
        let audience = Claims { aud: "x".into(), ..good.clone() };
        for claims in [issuer, audience] {
            assert!(key().verify(&key().sign(&claims).unwrap()).is_err());
        }
        let token = key().sign(&good).unwrap();
        assert!(SigningKey::new("k1".into(), [8; 32]).verify(&token).is_err(), "other secret");
        assert!(SigningKey::new("k2".into(), [7; 32]).verify(&token).is_err(), "other key id");
        let mut parts: Vec<&str> = token.split('.').collect();
        parts[2] = "AAAA";
        assert!(key().verify(&parts.join(".")).is_err(), "other signature");
        for junk in ["", "a.b.c", &"x".repeat(10_000)] {
            assert!(key().verify(junk).is_err());
        }
    }

    #[test]
    fn the_algorithm_is_pinned() {
        let key = key();
        let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS384) };
        let secret = EncodingKey::from_secret(&[7; 32]);
        let other = jsonwebtoken::encode(&header, &claims(now()), &secret).unwrap();
        assert!(key.verify(&other).is_err(), "HS384 with the right secret");
        let token = key.sign(&claims(now())).unwrap();
        let payload = token.split('.').nth(1).unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"k1"}"#);
        assert!(key.verify(&format!("{none}.{payload}.")).is_err(), "alg none");
    }

    #[test]
    fn the_key_survives_storage_and_does_not_print() {
        let json = key().to_json().unwrap();
        let again = SigningKey::from_json(json.expose_secret().as_bytes()).unwrap();
        assert!(again.verify(&key().sign(&claims(now())).unwrap()).is_ok());
        assert!(SigningKey::from_json(b"{}").is_err());
        assert!(!format!("{again:?} {json:?}").contains("BwcH"), "the secret's base64");
        assert!(!format!("{again:?}").contains("7, 7"), "the secret's bytes");
    }
}
