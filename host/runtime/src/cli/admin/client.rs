//! A client of a running application's administration.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, BodyReader};

use crate::admin::{self, Problem, Status, Token};

/// An application that does not answer is given up after this.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(120);

/// The most bytes of an answer.
const MAX_ANSWER: u64 = 64 << 20;

/// Talks to one running application.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    authorization: SecretString,
    token_file: PathBuf,
}

impl Client {
    /// A client of the application with this state directory.
    ///
    /// # Errors
    /// If the directory does not say that one runs.
    pub(crate) fn find(state_dir: &Path) -> Result<Self> {
        let address = match admin::read(&state_dir.join(admin::ADDRESS_FILE)) {
            Ok(address) => address,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "no application runs with the state directory {}: start it with `tessera up`, or name another with \
                 --state-dir",
                state_dir.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {} there", admin::ADDRESS_FILE));
            }
        };
        let token_file = state_dir.join(admin::TOKEN_FILE);
        let token = Token::read(&token_file).with_context(|| format!("cannot read {}", token_file.display()))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .build()
            .new_agent();
        Ok(Self { agent, url: address.url, authorization: token.authorization(), token_file })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// What the application says is wrong, or that it does not answer.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.agent.get(self.at(path)).header("authorization", self.authorization.expose_secret());
        self.decode(request.call())
    }

    /// Asks for something that may be long or without end.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn stream(&self, path: &str) -> Result<BodyReader<'static>> {
        let request = self.agent.get(self.at(path)).header("authorization", self.authorization.expose_secret());
        Ok(self.checked(request.call())?.into_body().into_reader())
    }

    /// Does something.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let request = self.agent.post(self.at(path)).header("authorization", self.authorization.expose_secret());
        self.decode(request.send_json(body))
    }

    /// Does something that has no answer.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn post_empty(&self, path: &str) -> Result<()> {
        let request = self.agent.post(self.at(path)).header("authorization", self.authorization.expose_secret());
        self.checked(request.send_empty()).map(drop)
    }

    /// Takes something back.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.agent.delete(self.at(path)).header("authorization", self.authorization.expose_secret());
        self.decode(request.call())
    }

    /// Sends a file as it is.
    ///
    /// # Errors
    /// What the application says is wrong, or that it does not answer.
    pub(crate) fn post_file<T: DeserializeOwned>(&self, path: &str, file: File) -> Result<T> {
        let request = self.agent.post(self.at(path)).header("authorization", self.authorization.expose_secret());
        self.decode(request.header("content-type", "application/wasm").send(file))
    }

    /// Whether the application has a component now; if not, what to say about that.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn knows(&self, component: &str) -> Result<Result<(), String>> {
        let status: Status = self.get("/v1/components")?;
        let ids: BTreeSet<&str> = status.components.iter().map(|known| &*known.id).collect();
        if ids.contains(component) {
            return Ok(Ok(()));
        }
        let ids = ids.into_iter().collect::<Vec<_>>().join(", ");
        Ok(Err(format!("the application has no component `{component}`; it has {ids}")))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn checked(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>> {
        let mut response = answer.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            bail!("{} does not take the token in {}", self.url, self.token_file.display());
        }
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => bail!(problem.detail),
            Err(_) => bail!("{} answered {}", self.url, response.status()),
        }
    }

    fn decode<T: DeserializeOwned>(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<T> {
        let mut response = self.checked(answer)?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let body = body.map_err(|error| self.unreachable(error))?;
        serde_json::from_slice(&body).context("the application runs another version of Tessera than this one")
    }

    fn unreachable(&self, error: ureq::Error) -> anyhow::Error {
        match error {
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => anyhow!(
                "no application answers at {}: it has ended without removing {}; start it with `tessera up`",
                self.url,
                self.token_file.with_file_name(admin::ADDRESS_FILE).display()
            ),
            other => anyhow!(other).context(format!("the application at {} does not answer", self.url)),
        }
    }
}

/// A name as a part of a path.
pub(crate) fn segment(name: &str) -> String {
    // Spaces would come out as `+`, which only means a space in a query.
    form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(super::segment("a/b c?d+é"), "a%2Fb%20c%3Fd%2B%C3%A9");
    }
}
