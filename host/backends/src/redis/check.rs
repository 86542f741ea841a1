//! A look at a server: whether an engine could use it, and if not, why.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, RedisError};

use super::Config;
use crate::trouble::Trouble;

/// Connects as an engine would, and asks for an answer.
///
/// # Errors
/// What an operator has to mend.
pub async fn check(config: &Config, patience: Duration) -> Result<(), Trouble> {
    let client = config.client().await.map_err(|error| Trouble::new(error.to_string(), "mend it"))?;
    let Err(error) = ping(&client, patience).await else { return Ok(()) };
    if let Some(trouble) = Trouble::of_certificates(&error) {
        return Err(trouble);
    }
    if let Some(trouble) = refused(&error) {
        return Err(trouble);
    }
    // What does not understand us may speak the other kind of protocol. It is told no password.
    let other = match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, port) => {
            Some(ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None })
        }
        ConnectionAddr::TcpTls { host, port, .. } => Some(ConnectionAddr::Tcp(host.clone(), *port)),
        _ => None,
    };
    if let Some(other) = other.filter(|_| !error.is_connection_refusal()) {
        let encrypted = matches!(other, ConnectionAddr::TcpTls { .. });
        let answered = speaks(other, patience).await;
        if answered && encrypted {
            let fix = "write `rediss://` in the `url`, or name the port that the server has without TLS";
            return Err(Trouble::new("what listens there expects TLS", fix));
        }
        if answered {
            let fix = "name the port that the server has for TLS (`tls-port`), or write `redis://` in the `url`";
            return Err(Trouble::new("what listens there is Redis without TLS", fix));
        }
    }
    Err(Trouble::new(
        format!("no Redis server answers ({error})"),
        "start the server, or mend host and port in the `url`",
    ))
}

async fn ping(client: &Client, patience: Duration) -> Result<(), RedisError> {
    let settings =
        AsyncConnectionConfig::new().set_connection_timeout(Some(patience)).set_response_timeout(Some(patience));
    let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
    redis::cmd("PING").query_async(&mut connection).await
}

/// What a server means by its refusal.
pub(super) fn refused(error: &RedisError) -> Option<Trouble> {
    if error.kind() == ErrorKind::AuthenticationFailed || error.code() == Some("WRONGPASS") {
        let fix = "mend user and password in the `url`: `redis://user:password@host`, or `redis://:password@host`";
        return Some(Trouble::new("it refuses the user or the password", fix));
    }
    match error.code() {
        Some("NOAUTH") => {
            let fix = "give it in the `url`: `redis://user:password@host`, or `redis://:password@host`";
            Some(Trouble::new("it wants a password", fix))
        }
        Some("NOPERM") => {
            Some(Trouble::new("it does not let the user do what is needed", "give the user all rights: `~* &* +@all`"))
        }
        Some(code) => Some(Trouble::new(
            format!("it answers {code} {}", error.detail().unwrap_or_default()).trim_end().to_owned(),
            "look into the server's log",
        )),
        None if error.kind() == ErrorKind::RESP3NotSupported => {
            Some(Trouble::new("it is older than Redis 6", "install Redis 7 or Valkey"))
        }
        None => None,
    }
}

/// Whether there is Redis at an address, or, of an address with TLS, any server with TLS.
async fn speaks(address: ConnectionAddr, patience: Duration) -> bool {
    let Ok(client) = address.into_connection_info().and_then(Client::open) else { return false };
    match ping(&client, patience).await {
        Ok(()) => true,
        Err(error) => error.code().is_some() || Trouble::of_certificates(&error).is_some(),
    }
}
