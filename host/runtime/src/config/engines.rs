//! The engines, and how each one's table is read.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::DeValue;

use super::reader::{Alternatives, Reader, Text};
use super::redis::{Redis, redis};

/// The engine of a key-value store.
#[derive(Debug, Clone)]
pub(crate) enum KeyValue {
    /// Embedded.
    Embedded {
        /// Its directory; `None`: in the state directory.
        path: Option<PathBuf>,
    },
    /// A Redis server.
    Redis(Redis),
}

impl Default for KeyValue {
    fn default() -> Self {
        Self::Embedded { path: None }
    }
}

/// The file of a SQL database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sqlite {
    /// `None`: in the state directory.
    pub(crate) path: Option<PathBuf>,
}

/// The engine of a blob store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blob {
    /// Files.
    Embedded {
        /// Their directory; `None`: in the state directory.
        path: Option<PathBuf>,
    },
}

impl Default for Blob {
    fn default() -> Self {
        Self::Embedded { path: None }
    }
}

/// The engine of all queues.
#[derive(Debug, Clone, Default)]
pub(crate) enum Queue {
    /// In the state directory.
    #[default]
    Embedded,
    /// A Redis server.
    Redis(Redis),
}

/// Where mail goes.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    /// The sender of components' mail: `local@domain` or `Name <local@domain>`.
    pub(crate) from: String,
    /// Who takes it.
    pub(crate) engine: MailEngine,
}

impl Default for Mail {
    fn default() -> Self {
        Self { from: "Tessera <tessera@localhost>".to_owned(), engine: MailEngine::Outbox }
    }
}

/// Who takes mail.
#[derive(Debug, Clone)]
pub(crate) enum MailEngine {
    /// A maildir in the state directory.
    Outbox,
    /// An SMTP server.
    Smtp(Smtp),
}

/// How to reach an SMTP server.
#[derive(Debug, Clone)]
pub(crate) struct Smtp {
    /// A name or an address.
    pub(crate) host: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// Encryption.
    pub(crate) tls: Tls,
    /// User name and password; `None`: no authentication.
    pub(crate) credentials: Option<(String, SecretString)>,
    /// How long each step may take.
    pub(crate) timeout: Duration,
    /// A PEM file with certificates to trust beside the public ones.
    pub(crate) root_certificates: Option<PathBuf>,
}

/// Encryption of an SMTP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::enum_variant_names, reason = "the names that the file has")]
pub(crate) enum Tls {
    /// Begins in the clear and must change to TLS (RFC 3207).
    #[default]
    StartTls,
    /// From the first byte (RFC 8314).
    Tls,
    /// None.
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddedTable {
    #[serde(default, rename = "type")]
    _type: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddedPathTable {
    #[serde(default, rename = "type")]
    _type: IgnoredAny,
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutboxTable {
    #[serde(default, rename = "type")]
    _type: IgnoredAny,
    from: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SmtpTable {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    from: Spanned<String>,
    host: Spanned<String>,
    port: Option<Spanned<u16>>,
    #[serde(default)]
    tls: Tls,
    username: Option<Spanned<String>>,
    password: Option<Spanned<Text>>,
    password_file: Option<Spanned<String>>,
    password_env: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
    ca_file: Option<Spanned<String>>,
}

pub(super) fn key_value(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<KeyValue> {
    refuse(reader, &value, &["azure_cosmos", "aws_dynamo"], "use \"redis\" or \"spin\", the embedded one")?;
    match reader.kind(&value, &["embedded", "spin", "redis"], None)? {
        "redis" => redis(reader, value).map(KeyValue::Redis),
        _ => {
            let table: EmbeddedPathTable = reader.table(value)?;
            Some(KeyValue::Embedded { path: table.path.map(|path| reader.path(&path)) })
        }
    }
}

pub(super) fn sqlite(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<Sqlite> {
    refuse(reader, &value, &["libsql"], "use \"spin\", a file on this machine")?;
    reader.kind(&value, &["embedded", "spin"], None)?;
    let table: EmbeddedPathTable = reader.table(value)?;
    Some(Sqlite { path: table.path.map(|path| reader.path(&path)) })
}

/// Says of engines that Spin has that they are not provided here.
fn refuse(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, refused: &[&str], help: &str) -> Option<()> {
    let kind = value.get_ref().as_table().and_then(|table| table.get("type"));
    let Some(kind) = kind else { return Some(()) };
    let Some(name) = kind.get_ref().as_str().filter(|name| refused.contains(name)) else { return Some(()) };
    reader.error(kind.span(), format!("the engine `{name}` is not provided here"), help);
    None
}

pub(super) fn blob(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<Blob> {
    reader.kind(&value, &["embedded"], None)?;
    let table: EmbeddedPathTable = reader.table(value)?;
    Some(Blob::Embedded { path: table.path.map(|path| reader.path(&path)) })
}

pub(super) fn queue(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<Queue> {
    match reader.kind(&value, &["embedded", "redis"], None)? {
        "redis" => redis(reader, value).map(Queue::Redis),
        _ => reader.table::<EmbeddedTable>(value).map(|_| Queue::Embedded),
    }
}

pub(super) fn mail(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<Mail> {
    if reader.kind(&value, &["outbox", "smtp"], Some("outbox"))? == "smtp" {
        return smtp(reader, value);
    }
    let table: OutboxTable = reader.table(value)?;
    let from = match table.from {
        Some(from) => address(reader, from),
        None => Mail::default().from,
    };
    Some(Mail { from, engine: MailEngine::Outbox })
}

fn smtp(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<Mail> {
    let span = value.span();
    let table: SmtpTable = reader.table(value)?;
    let from = address(reader, table.from);
    if table.host.get_ref().is_empty() {
        reader.error(table.host.span(), "the host is empty", "give the mail server's name");
    }
    let usual = match table.tls {
        Tls::StartTls => 587,
        Tls::Tls => 465,
        Tls::None => 25,
    };
    let given = table.password.is_some() || table.password_file.is_some() || table.password_env.is_some();
    let password =
        Alternatives { key: "password", plain: table.password, file: table.password_file, env: table.password_env };
    let password = reader.secret(password);
    if given != table.username.is_some() {
        reader.error(
            span.clone(),
            "`username` and `password` belong together",
            "give both, or none for no authentication",
        );
    }
    if given && table.tls == Tls::None && !is_loopback(table.host.get_ref()) {
        let help = "use `tls = \"starttls\"` or `tls = \"tls\"`";
        reader.error(span, "the password would cross the network in the clear", help);
    }
    if let Some(file) = table.ca_file.as_ref().filter(|_| table.tls == Tls::None) {
        let help = "use `tls = \"starttls\"` or `tls = \"tls\"`, or leave it out";
        reader.error(file.span(), "`ca_file` means nothing without encryption", help);
    }
    let root_certificates = table.ca_file.map(|file| reader.path(file.get_ref()));
    let timeout = table.timeout.map_or(Some(Duration::from_secs(30)), |timeout| duration(reader, &timeout))?;
    Some(Mail {
        from,
        engine: MailEngine::Smtp(Smtp {
            host: table.host.into_inner(),
            port: table.port.map_or(usual, Spanned::into_inner),
            tls: table.tls,
            credentials: table.username.map(Spanned::into_inner).zip(password),
            timeout,
            root_certificates,
        }),
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn duration(reader: &mut Reader<'_>, text: &Spanned<String>) -> Option<Duration> {
    match humantime::parse_duration(text.get_ref()) {
        Ok(duration) if !duration.is_zero() => Some(duration),
        _ => {
            let help = "write a number and a unit, such as \"500ms\", \"30s\" or \"2m\"";
            reader.error(text.span(), format!("`{text}` is not a length of time"), help);
            None
        }
    }
}

/// A coarse look, so that a slip shows at start; the mail engine parses it for good.
fn address(reader: &mut Reader<'_>, address: Spanned<String>) -> String {
    let text = address.get_ref();
    let bare = text.strip_suffix('>').and_then(|text| text.rsplit_once('<')).map_or(text.as_str(), |(_, bare)| bare);
    let parts = bare.rsplit_once('@');
    if text.contains(char::is_control) || parts.is_none_or(|(local, domain)| local.is_empty() || domain.is_empty()) {
        let help = "write `local@domain` or `Name <local@domain>`";
        reader.error(address.span(), format!("`{text}` is not a mail address"), help);
    }
    address.into_inner()
}
