//! The connection: opening, errors, and what the server's configuration may lose.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, IntoConnectionInfo as _, ProtocolVersion, RedisError, Script, ServerErrorKind, Value};
use tessera_capability::{Error, Result};

use super::wakeups::Wakeups;

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the server may take to answer a script.
const RESPONSE: Duration = Duration::from_secs(30);

/// One multiplexed connection, shared by all stores and queues of an engine.
#[derive(Clone)]
pub(super) struct Connection {
    manager: ConnectionManager,
    wakeups: Arc<Wakeups>,
}

impl Connection {
    pub(super) async fn open(url: &str) -> Result<Self> {
        // The parser's error is not passed on: it may quote the URL.
        let info = url.into_connection_info().map_err(|_| {
            Error::Invalid(
                "the Redis URL is malformed: it reads redis://[user:password@]host[:port][/database], rediss:// for TLS"
                    .into(),
            )
        })?;
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            // Ignored if the process has chosen one already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        // Messages of a subscription come between answers with RESP3 only.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(|error| outcome("connect", error))?;
        let wakeups = Arc::new(Wakeups::default());
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE))
            // A call that finds the server gone waits for a moment and not for long.
            .set_number_of_retries(2)
            .set_min_delay(Duration::from_millis(100))
            .set_push_sender({
                let wakeups = wakeups.clone();
                move |push| {
                    wakeups.pushed(&push);
                    Ok::<(), RedisError>(())
                }
            })
            .set_automatic_resubscription();
        let manager =
            ConnectionManager::new_with_config(client, config).await.map_err(|error| outcome("connect", error))?;
        Ok(Self { manager, wakeups })
    }

    pub(super) fn wakeups(&self) -> &Wakeups {
        &self.wakeups
    }

    /// Runs a script, loading it where the server does not have it.
    pub(super) async fn run(&self, script: &Script, doing: &str, keys: &[&str], arguments: &[&[u8]]) -> Result<Value> {
        let mut invocation = script.prepare_invoke();
        for key in keys {
            invocation.key(*key);
        }
        for argument in arguments {
            invocation.arg(*argument);
        }
        invocation.invoke_async(&mut self.manager.clone()).await.map_err(|error| outcome(doing, error))
    }

    pub(super) async fn subscribe(&self, channel: &str) -> Result<()> {
        self.manager.clone().subscribe(channel).await.map_err(|error| outcome("subscribe", error))
    }

    /// Two values, read in one step.
    pub(super) async fn get_both(&self, first: &str, second: &str) -> Result<(Option<String>, Option<String>)> {
        redis::cmd("MGET")
            .arg(first)
            .arg(second)
            .query_async(&mut self.manager.clone())
            .await
            .map_err(|error| outcome("read", error))
    }

    /// Logs what of the server's configuration loses data. Managed servers may not tell.
    pub(super) async fn warn_of_losses(&self) {
        let setting = async |name: &str| -> Option<String> {
            let answer: redis::RedisResult<Vec<String>> =
                redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut self.manager.clone()).await;
            answer.ok()?.into_iter().nth(1)
        };
        if setting("appendonly").await.as_deref() == Some("no") {
            tracing::warn!("Redis runs with `appendonly no`: a crash of the server loses acknowledged writes");
        }
        if setting("maxmemory-policy").await.is_some_and(|policy| policy != "noeviction") {
            tracing::warn!(
                "Redis may evict keys, and with them entries and messages: set `maxmemory-policy noeviction`"
            );
        }
    }
}

/// What a failure means for the caller.
fn outcome(doing: &str, error: RedisError) -> Error {
    match error.kind() {
        // An error of a script or of an answer is a fault in here; anything else is the server's state.
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::ExecAbort)
        | ErrorKind::Parse
        | ErrorKind::UnexpectedReturnType => Error::internal(format!("{doing} in Redis"), error),
        ErrorKind::AuthenticationFailed => Error::unavailable("Redis refused the credentials", error),
        _ => Error::unavailable("Redis cannot be reached or cannot serve the call", error),
    }
}
