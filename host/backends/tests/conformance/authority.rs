//! Certificates for the servers of the tests, by authorities that nobody else knows.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = named("authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, in PEM format.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// The certificate for a name, in PEM format, and its key.
    pub(crate) fn sign(&self, name: &str) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = named(name);
        parameters.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        (parameters.signed_by(&key, &self.0).unwrap().pem(), key)
    }
}

/// OpenSSL takes a certificate for its own authority's if both have the same name.
fn named(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}
