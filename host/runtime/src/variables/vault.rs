//! Values in HashiCorp Vault or OpenBao: a secret for each variable in a key-value engine, version
//! 2, with its text in the field `value`, as Spin has them.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use ureq::Agent;
use ureq::http::StatusCode;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::{Error, read};
use crate::config;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
const MAX_ANSWER: u64 = 4 << 20;

pub(super) struct Vault<'a> {
    settings: &'a config::Vault,
    agent: Agent,
}

/// What Vault answers, as far as it matters. A deleted version has no `data`.
#[derive(Deserialize)]
struct Answer {
    data: Version,
}

#[derive(Deserialize)]
struct Version {
    data: Option<Fields>,
}

#[derive(Deserialize)]
struct Fields {
    value: Option<String>,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    errors: Vec<String>,
}

impl<'a> Vault<'a> {
    pub(super) fn new(settings: &'a config::Vault) -> Result<Self, Error> {
        let tls = match &settings.ca_file {
            None => TlsConfig::default(),
            Some(path) => {
                let pem = read(path, "`ca_file`")?;
                let certificates: Vec<_> = parse_pem(pem.as_bytes())
                    .filter_map(|item| match item {
                        Ok(PemItem::Certificate(certificate)) => Some(certificate),
                        _ => None,
                    })
                    .collect();
                if certificates.is_empty() {
                    let fault = "has no certificate in PEM".to_owned();
                    return Err(Error::Malformed { path: path.clone(), fault });
                }
                TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build()
            }
        };
        // Neither a proxy nor another server that a redirect names is to see the token.
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT));
        Ok(Self { settings, agent: config.build().new_agent() })
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<SecretString>, Error> {
        let config::Vault { url, token, mount, prefix, .. } = self.settings;
        let fault = |fault: String| Error::Vault { url: url.clone(), fault };
        let path = prefix.as_ref().map_or_else(|| name.to_owned(), |prefix| format!("{prefix}/{name}"));
        let request = self
            .agent
            .get(format!("{url}/v1/{mount}/data/{path}"))
            .header("X-Vault-Token", token.expose_secret())
            .header("X-Vault-Request", "true");
        let mut answer = request
            .call()
            .map_err(|error| fault(format!("cannot be asked: {error}; is the server up, and `url` right?")))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                // A secret that does not exist, a version that is deleted, or a mount that does not exist.
                let refusal: Refusal =
                    answer.body_mut().with_config().limit(MAX_ANSWER).read_json().unwrap_or_default();
                if refusal.errors.iter().any(|error| error.contains("no handler for route")) {
                    return Err(fault(format!("no engine is mounted at `{mount}`: is `mount` right?")));
                }
                return Ok(None);
            }
            StatusCode::FORBIDDEN => {
                return Err(fault(format!(
                    "it refused the token for `{mount}/data/{path}`: give one that may read this path and has not \
                     expired"
                )));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                return Err(fault("it is sealed or in maintenance: unseal it".to_owned()));
            }
            status if status.is_redirection() => {
                return Err(fault("it sends clients elsewhere: give the active server's `url`".to_owned()));
            }
            status => {
                return Err(fault(format!(
                    "it answered {status} for `{mount}/data/{path}`: is `mount` a key-value engine, version 2?"
                )));
            }
        }
        // The parser's own message quotes values.
        let answer: Answer = answer.body_mut().with_config().limit(MAX_ANSWER).read_json().map_err(|_| {
            fault(format!(
                "the secret `{mount}/{path}` cannot be read: it needs a field `value` that is a text, in a key-value \
                 engine of version 2"
            ))
        })?;
        match answer.data.data {
            None => Ok(None),
            Some(Fields { value: Some(value) }) => Ok(Some(value.into())),
            Some(Fields { value: None }) => {
                Err(fault(format!("the secret `{mount}/{path}` has no field `value`: write one")))
            }
        }
    }
}
