//! Mail through an SMTP server, by lettre: pooled connections, STARTTLS or TLS, and AUTH.
//!
//! A message is handed over in one transaction, which the server takes for all its recipients or
//! which is given up. The server's memory has no idempotency keys: [`Idempotent`] keeps them in a
//! key-value store.

mod check;

use std::error::Error as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as Encryption, TlsParameters};
use lettre::transport::smtp::{Error as SmtpError, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use tessera_capability::mail::{self, Message, Receipt};
use tessera_capability::time::Clock;
use tessera_capability::{Error, Result, kv};

pub use self::check::check;
use crate::idempotent::Idempotent;
use crate::message::{Composer, fingerprint};
use crate::trouble::{self, Trouble};

/// The most connections to the server.
const CONNECTIONS: u32 = 8;
/// How many steps of the protocol, each within [`Config::timeout`], a message may take.
const STEPS: u32 = 4;

/// How to reach a server, and as whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// A name or an address.
    pub host: String,
    /// The TCP port: usually 587 for STARTTLS, 465 for TLS, 25 for none.
    pub port: u16,
    /// Encryption.
    pub tls: Tls,
    /// User name and password; `None`: no authentication.
    pub credentials: Option<(String, SecretString)>,
    /// The sender of messages that name none: `local@domain` or `Name <local@domain>`.
    pub from: String,
    /// How long the server may take for each step.
    pub timeout: Duration,
    /// A PEM file with certificates to trust beside the public ones.
    pub root_certificates: Option<PathBuf>,
}

/// Encryption of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Begins in the clear and must change to TLS (RFC 3207).
    StartTls,
    /// From the first byte (RFC 8314).
    Tls,
    /// None.
    None,
}

/// Sends mail through a server.
pub struct Sender(Idempotent<Transport>);

impl Sender {
    /// A sender that connects when there is mail. Idempotency keys are kept in `store`, where
    /// guests cannot see them; every process that sends for the application needs the same store.
    /// To be called within a Tokio runtime, which keeps the idle connections.
    ///
    /// # Errors
    /// `Invalid` if the sender's address or the certificates cannot be used.
    pub fn connect(config: &Config, store: Arc<dyn kv::Store>, clock: Arc<dyn Clock>) -> Result<Self> {
        let composer = Composer::new(&config.from)?;
        let smtp = transport(config)?;
        let transport = Transport { smtp, composer, clock };
        Ok(Self(Idempotent::new(transport, store, config.timeout.saturating_mul(STEPS))))
    }
}

#[async_trait]
impl mail::Sender for Sender {
    async fn send(&self, scope: &str, message: Message) -> Result<Receipt> {
        self.0.send(scope, message).await
    }
}

fn transport(config: &Config) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
        .port(config.port)
        .timeout(Some(config.timeout))
        .tls(match config.tls {
            Tls::StartTls => Encryption::Required(parameters(config)?),
            Tls::Tls => Encryption::Wrapper(parameters(config)?),
            Tls::None => Encryption::None,
        })
        .pool_config(PoolConfig::new().max_size(CONNECTIONS));
    if let Some((user, password)) = &config.credentials {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
    }
    Ok(builder.build())
}

/// Whom to trust.
fn parameters(config: &Config) -> Result<TlsParameters> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(path) = &config.root_certificates {
        let invalid = |error: String| Error::Invalid(format!("the certificates in {}: {error}", path.display()));
        let pem = fs::read(path).map_err(|error| invalid(error.to_string()))?;
        builder =
            builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| invalid(error.to_string()))?);
    }
    builder.build().map_err(|error| Error::Invalid(format!("TLS cannot be used: {error}")))
}

/// The server, without a memory of idempotency keys.
struct Transport {
    smtp: AsyncSmtpTransport<Tokio1Executor>,
    composer: Composer,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl mail::Sender for Transport {
    async fn send(&self, scope: &str, message: Message) -> Result<Receipt> {
        let local = message
            .idempotency_key
            .as_deref()
            .map_or_else(|| format!("{:032x}", rand::random::<u128>()), |key| fingerprint(scope, key));
        let composed = self.composer.compose(&local, self.clock.now(), message)?;
        self.smtp.send(composed.message).await.map_err(refused)?;
        Ok(Receipt { message_id: composed.message_id, sent: true })
    }
}

/// What a failure means for whoever sent the message.
fn refused(error: SmtpError) -> Error {
    let code = error.status().map(u16::from);
    // What the server says of the message, not of us.
    let reply = error.source().map(ToString::to_string).unwrap_or_default();
    match code {
        // Our own credentials: the operator's to mend, and then the message can go.
        Some(530 | 534 | 535 | 538) => {
            Error::unavailable("the mail server does not accept the host's credentials", error)
        }
        Some(code @ 500..) => Error::Rejected(format!("{code} {reply}")),
        Some(code) => Error::unavailable(format!("the mail server refused for now: {code} {reply}"), error),
        None => match Trouble::of_certificates(&error) {
            Some(trouble) => Error::unavailable(trouble.about("the mail server"), error),
            None if error.is_timeout() => Error::unavailable("the mail server did not answer in time", error),
            None if error.is_tls() || trouble::is_tls(&error) => {
                Error::unavailable("no secure connection to the mail server", error)
            }
            None => Error::unavailable("the mail server cannot be reached", error),
        },
    }
}
