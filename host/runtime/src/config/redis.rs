//! How to reach a Redis server.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::DeValue;

use super::reader::{Alternatives, Reader, Text};

/// How to reach a Redis server, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Redis {
    /// `redis://`, `rediss://` or `unix://`; may hold a password.
    pub(crate) url: SecretString,
    /// A PEM file with the certificates to trust instead of this machine's.
    pub(crate) root_certificates: Option<PathBuf>,
    /// PEM files with our certificate and its private key, for servers that ask for them.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedisTable {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    url: Option<Spanned<Text>>,
    url_file: Option<Spanned<String>>,
    url_env: Option<Spanned<String>>,
    ca_file: Option<Spanned<String>>,
    client_cert_file: Option<Spanned<String>>,
    client_private_key_file: Option<Spanned<String>>,
}

pub(super) fn redis(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<Redis> {
    let span = value.span();
    let table: RedisTable = reader.table(value)?;
    let url = Alternatives { key: "url", plain: table.url, file: table.url_file, env: table.url_env };
    let url = reader.required_secret(span.clone(), url)?;
    let is = |schemes: &[&str]| schemes.iter().any(|scheme| url.expose_secret().starts_with(scheme));
    if !is(&["redis://", "rediss://", "unix://", "redis+unix://"]) {
        let help = "it looks like `redis://host:6379/0`, or `rediss://…` for TLS";
        reader.error(span, "the `url` here is not that of a Redis server", help);
        return None;
    }
    let files = [&table.ca_file, &table.client_cert_file, &table.client_private_key_file];
    if let Some(file) = files.into_iter().flatten().next().filter(|_| !is(&["rediss://"])) {
        let help = "write `rediss://` in the `url`, or leave the certificates out";
        reader.error(file.span(), "certificates mean nothing without TLS", help);
    }
    if table.client_cert_file.is_some() != table.client_private_key_file.is_some() {
        let help = "give both, or none if the server does not ask for a certificate";
        reader.error(span, "`client_cert_file` and `client_private_key_file` belong together", help);
    }
    let path = |file: Option<Spanned<String>>| file.map(|file| reader.path(file.get_ref()));
    Some(Redis {
        url,
        root_certificates: path(table.ca_file),
        identity: path(table.client_cert_file).zip(path(table.client_private_key_file)),
    })
}
