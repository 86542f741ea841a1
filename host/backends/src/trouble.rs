//! Why a server on the network cannot be used, for the operator: what is wrong, and what to do about it.

use std::error::Error as StdError;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// What is wrong with the way to a server. Neither text has a secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A sentence about the server, without its name and without a full stop.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Trouble {
    pub(crate) fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }

    /// What is wrong with the server's certificate, or with ours, if that is why a connection failed.
    pub(crate) fn of_certificates(error: &(dyn StdError + 'static)) -> Option<Self> {
        match tls(error)? {
            TlsError::InvalidCertificate(fault) => Some(of_certificate(fault)),
            TlsError::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                // That our certificate is signed by another authority of the same name.
                | AlertDescription::DecryptError
                | AlertDescription::HandshakeFailure,
            ) => Some(Self::new(
                "it wants to see a certificate of its clients, or another than ours",
                "name a certificate and its key by `client_cert_file` and `client_private_key_file`, or let the server \
                 do without",
            )),
            _ => None,
        }
    }

    /// In one sentence, about `server`.
    pub(crate) fn about(&self, server: &str) -> String {
        format!("{server} cannot be used: {}; {}", self.what, self.fix)
    }
}

/// Whether a connection failed because of TLS.
pub(crate) fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    tls(error).is_some()
}

/// The error of TLS among the causes.
fn tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The source of these two is that of the error inside, which is thus passed over.
        let inside: Option<&(dyn StdError + 'static)> =
            if let Some(shared) = error.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
                Some(&**shared)
            } else {
                error.downcast_ref::<std::io::Error>().and_then(|error| Some(error.get_ref()? as _))
            };
        next = inside.or_else(|| error.source());
    }
    None
}

fn of_certificate(fault: &CertificateError) -> Trouble {
    match fault {
        // The second is what an authority of the same name with another key comes to.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Trouble::new(
            "its certificate is not trusted, because no authority that is known here has signed it",
            "name the certificate of the authority by `ca_file`, in PEM format",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = match fault {
                CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                    format!(" but for {}", presented.join(", "))
                }
                _ => String::new(),
            };
            Trouble::new(
                format!("its certificate is not for the name that it is reached by{names}"),
                "reach it by a name that its certificate has, or give it a certificate with this name",
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Trouble::new("its certificate has expired", "renew it; and look whether this machine's clock is right")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Trouble::new("its certificate is not valid yet", "look whether this machine's clock is right")
        }
        other => {
            Trouble::new(format!("its certificate is not accepted ({other})"), "give the server another certificate")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tls_says_is_found_below_io_errors() {
        let tls = TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, tls);
        let shared: Arc<dyn StdError + Send + Sync> = Arc::new(io);
        let outer = std::io::Error::other(shared);
        assert!(Trouble::of_certificates(&outer).unwrap().what.contains("not trusted"));
        let other = std::io::Error::other(TlsError::DecryptError);
        assert!(is_tls(&other) && Trouble::of_certificates(&other).is_none());
        assert!(!is_tls(&std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
    }
}
