//! `[tls]`: how the public listener is encrypted.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::reader::Reader;

/// TLS of the public listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Https {
    /// A PEM file: the server's certificate and its chain.
    pub(crate) certificate: PathBuf,
    /// A PEM file: the private key.
    pub(crate) key: PathBuf,
    /// Where a plain HTTP listener sends clients to HTTPS, if there is one.
    pub(crate) redirect: Option<SocketAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpsTable {
    cert_file: Spanned<String>,
    key_file: Spanned<String>,
    redirect: Option<Spanned<String>>,
}

pub(super) fn https(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<Https> {
    let table: HttpsTable = reader.table(value)?;
    let redirect = match table.redirect {
        None => None,
        Some(text) => match text.get_ref().parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let help = "write an address and a port, such as \"0.0.0.0:80\" or \"[::]:80\"";
                reader.error(text.span(), format!("`{}` is not an address to listen on", text.get_ref()), help);
                return None;
            }
        },
    };
    Some(Https {
        certificate: reader.path(table.cert_file.get_ref()),
        key: reader.path(table.key_file.get_ref()),
        redirect,
    })
}
