//! How to reach a server.

use std::path::{Path, PathBuf};

use redis::{Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates};
use secrecy::{ExposeSecret as _, SecretString};
use tessera_capability::{Error, Result};

/// How to reach a server, and as whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// `redis://`, `rediss://` (TLS) or `unix://`, with user, password and database as the Redis
    /// clients have them. No error and no log has it.
    pub url: SecretString,
    /// A PEM file with the certificates to trust instead of this machine's.
    pub root_certificates: Option<PathBuf>,
    /// PEM files with our certificate and its private key, for servers that ask for them.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl From<&str> for Config {
    fn from(url: &str) -> Self {
        Self { url: url.into(), root_certificates: None, identity: None }
    }
}

impl Config {
    /// Where the server is, for people: without the password. None if the URL is malformed.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        let info = self.url.expose_secret().into_connection_info().ok()?;
        Some(info.addr().to_string())
    }

    /// A client that has not connected yet.
    pub(super) async fn client(&self) -> Result<Client> {
        // The parser's error is not passed on: it may quote the URL.
        let malformed = |_| {
            Error::Invalid(
                "the Redis URL is malformed: it reads redis://[user:password@]host[:port][/database], rediss:// for TLS"
                    .into(),
            )
        };
        let info = self.url.expose_secret().into_connection_info().map_err(malformed)?;
        // Messages of a subscription come between answers with RESP3 only.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings);
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Client::open(info).map_err(malformed);
        }
        // Ignored if the process has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root_cert = match &self.root_certificates {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let client_tls = match &self.identity {
            Some((certificate, key)) => {
                Some(ClientTlsConfig { client_cert: read(certificate).await?, client_key: read(key).await? })
            }
            None => None,
        };
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
            .map_err(|error| Error::Invalid(format!("the certificates for Redis cannot be used: {error}")))
    }
}

/// A PEM file that has something in it.
async fn read(path: &Path) -> Result<Vec<u8>> {
    let invalid = |what: String| Error::Invalid(format!("{} {what}", path.display()));
    let text = tokio::fs::read(path).await.map_err(|error| invalid(format!("cannot be read: {error}")))?;
    let has_pem = text.windows(10).any(|bytes| bytes == b"-----BEGIN");
    if has_pem { Ok(text) } else { Err(invalid("is no file in PEM format".into())) }
}
