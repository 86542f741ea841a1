//! Passwords, hashed with Argon2id at OWASP's parameters.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use secrecy::{ExposeSecret, SecretString};

/// Memory in KiB, passes and lanes, as OWASP's password storage cheat sheet has them.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What an unknown user's password is compared with: a hash of the same cost that nothing matches,
/// because its password is thrown away.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashing failed for a reason that is not the password's.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash a password: {0}")]
pub struct HashError(String);

fn argon2id() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| HashError(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The hash to keep, in PHC string format, with its own random salt.
///
/// # Errors
/// No randomness or no memory.
pub fn hash(password: &SecretString, salt: [u8; 16]) -> Result<String, HashError> {
    argon2id()?
        .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| HashError(error.to_string()))
}

/// True if the password is the one that `hash` was made from. Without a hash it is false after the
/// same work, so that nobody learns from the time whether a user exists.
///
/// # Errors
/// The stored hash is malformed, or there is no memory.
pub fn verify(password: &SecretString, hash: Option<&str>) -> Result<bool, HashError> {
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODY)).map_err(|error| HashError(error.to_string()))?;
    let matches = match argon2id()?.verify_password(password.expose_secret().as_bytes(), &parsed) {
        Ok(()) => true,
        Err(argon2::password_hash::Error::PasswordInvalid) => false,
        Err(error) => return Err(HashError(error.to_string())),
    };
    Ok(matches && hash.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    #[test]
    fn the_right_password_alone_verifies() {
        let kept = hash(&secret("correct horse"), [1; 16]).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(verify(&secret("correct horse"), Some(&kept)).unwrap());
        assert!(!verify(&secret("Correct horse"), Some(&kept)).unwrap());
        assert!(!verify(&secret(""), Some(&kept)).unwrap());
    }

    #[test]
    fn salts_make_hashes_differ() {
        assert_ne!(hash(&secret("a"), [1; 16]).unwrap(), hash(&secret("a"), [2; 16]).unwrap());
    }

    #[test]
    fn nobody_costs_what_somebody_costs() {
        assert!(!verify(&secret("anything"), None).unwrap());
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let somebody = PasswordHash::new(&hash(&secret("x"), [3; 16]).unwrap()).unwrap();
        assert_eq!(nobody.params, somebody.params);
        assert_eq!(nobody.algorithm, somebody.algorithm);
        assert_eq!(nobody.hash.map(|hash| hash.as_bytes().len()), somebody.hash.map(|hash| hash.as_bytes().len()));
    }

    #[test]
    fn a_damaged_hash_is_an_error_and_not_a_mismatch() {
        assert!(verify(&secret("x"), Some("plain")).is_err());
    }
}
