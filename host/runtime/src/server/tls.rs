//! TLS by rustls: TLS 1.2 and 1.3, HTTP/2 by ALPN, and certificates that change while it serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at. A look is two calls of `stat`; unlike a watch on a directory
/// it also sees files behind symbolic links that are turned, as secrets mounted in containers are.
const LOOK: Duration = Duration::from_secs(1);

/// A certificate with its chain, and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// A PEM file: the server's certificate first, then those between it and a root.
    pub(crate) certificates: PathBuf,
    /// A PEM file: PKCS #8, PKCS #1 or SEC1, not encrypted.
    pub(crate) key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file cannot be read, or is no PEM file of its kind.
    #[error("cannot read the TLS {what} {}: {source}", path.display())]
    Pem {
        /// Which of the two.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: PemError,
    },
    /// The file of certificates has none.
    #[error("{} has no certificate: it must begin with a line `-----BEGIN CERTIFICATE-----`", .0.display())]
    Empty(PathBuf),
    /// Certificate and key do not belong together, or cannot be used.
    #[error("the TLS certificate {} and the key {} cannot be used together: {source}", files.certificates.display(), files.key.display())]
    Mismatch {
        /// Both.
        files: Files,
        /// The cause.
        source: rustls::Error,
    },
}

/// What accepts TLS connections. A clone shares the certificate.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If they cannot be used.
    pub(crate) fn load(files: Files) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let seen = Seen::of(&files);
        let current = ArcSwap::from_pointee(read(&files, &provider)?);
        let certificate = Arc::new(Certificate {
            files,
            provider: Arc::clone(&provider),
            current,
            seen: ArcSwap::from_pointee(seen),
        });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| Error::Mismatch { files: certificate.files.clone(), source })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Certificate>::clone(&certificate));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// The server's side of a handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Reads the files again; what is wrong with them leaves the old certificate in use.
    ///
    /// # Errors
    /// If they cannot be used.
    pub(crate) fn reload(&self) -> Result<(), Error> {
        let certificate = &self.certificate;
        certificate.seen.store(Arc::new(Seen::of(&certificate.files)));
        certificate.current.store(Arc::new(read(&certificate.files, &certificate.provider)?));
        Ok(())
    }

    /// Reads the files again whenever they change, until `shutdown`.
    pub(crate) async fn follow(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = shutdown.cancelled() => return,
            }
            let files = self.certificate.files.clone();
            let now = tokio::task::spawn_blocking(move || Seen::of(&files)).await;
            if now.is_ok_and(|now| now == **self.certificate.seen.load()) {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    tracing::info!(file = %self.certificate.files.certificates.display(), "read the new TLS certificate")
                }
                // Such as between the writing of the certificate and of its key: the next change is looked at again.
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the TLS certificate stays as it was")
                }
            }
        }
    }
}

/// The certificate in use.
struct Certificate {
    files: Files,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
    seen: ArcSwap<Seen>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.files.fmt(f)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(files: &Files, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let pem = |what, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Pem { what, path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem("certificate", &files.certificates))?;
    if chain.is_empty() {
        return Err(Error::Empty(files.certificates.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem("key", &files.key))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| Error::Mismatch { files: files.clone(), source })
}

/// What tells whether the files changed: their times and lengths.
#[derive(Debug, PartialEq, Eq)]
struct Seen([Option<(SystemTime, u64)>; 2]);

impl Seen {
    fn of(files: &Files) -> Self {
        Self([&files.certificates, &files.key].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        }))
    }
}
