//! The token that clients show: made at first start, kept in a file that only its owner reads.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

/// Nothing shorter is taken for a token: an empty or half-written file must not open the door.
const SHORTEST: usize = 32;

/// Nothing longer is read.
const LONGEST: u64 = 1024;

/// What a client shows.
#[derive(Debug, Clone)]
pub(crate) struct Token(SecretString);

impl Token {
    /// The token in the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read or holds none.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut text = String::new();
        File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
        let text = text.trim();
        if text.len() < SHORTEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = "it does not hold a token; remove it, and the next start makes a new one";
            return Err(io::Error::new(ErrorKind::InvalidData, what));
        }
        Ok(Self(text.into()))
    }

    /// The token in the file at `path`, which is made if there is none. Takes away what others may
    /// do to it.
    ///
    /// # Errors
    /// If it cannot be read or made.
    pub(crate) fn keep(path: &Path) -> io::Result<Self> {
        if !path.try_exists()? {
            make(path)?;
        }
        let permissions = fs::metadata(path)?.permissions();
        if permissions.mode() & 0o077 != 0 {
            tracing::warn!(
                "others could read {}; now they cannot. Remove it and start again for a new token",
                path.display()
            );
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
        }
        Self::read(path)
    }

    /// Whether `shown` is it. Takes as long whatever `shown` is, but for its length.
    pub(crate) fn matches(&self, shown: &[u8]) -> bool {
        self.0.expose_secret().as_bytes().ct_eq(shown).into()
    }

    /// The header's value that shows it.
    pub(crate) fn authorization(&self) -> SecretString {
        format!("Bearer {}", self.0.expose_secret()).into()
    }
}

/// Makes a file with a new token, whole or not at all; that of another process stays.
fn make(path: &Path) -> io::Result<()> {
    let token = hex::encode(rand::random::<[u8; 32]>());
    let draft = path.with_extension(format!("token.{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    };
    let result = write();
    // Without it only the link is left.
    _ = fs::remove_file(&draft);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.token");
        let token = Token::keep(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), 65, "64 digits and the line's end");
        assert!(token.matches(text.trim().as_bytes()));
        assert!(!token.matches(text.as_bytes()) && !token.matches(b""));
        assert!(Token::keep(&path).unwrap().matches(text.trim().as_bytes()), "it is kept");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        assert!(!format!("{token:?}").contains(text.trim()));
    }

    #[test]
    fn what_others_could_read_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.token");
        Token::keep(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        Token::keep(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn no_token_is_not_a_token() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.token");
        for text in ["", "\n", "short", &"a b".repeat(30)] {
            fs::write(&path, text).unwrap();
            assert_eq!(Token::keep(&path).unwrap_err().kind(), ErrorKind::InvalidData, "{text:?}");
        }
    }
}
