//! The connection: opening, errors, and what the server's configuration may lose.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{ErrorKind, RedisError, Script, ServerErrorKind, Value};
use tessera_capability::{Error, Result};

use super::check::refused;
use super::config::Config;
use super::wakeups::Wakeups;
use crate::trouble::Trouble;

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
    pub(super) async fn open(config: &Config) -> Result<Self> {
        let client = config.client().await?;
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
    if let Some(trouble) = Trouble::of_certificates(&error).or_else(|| credentials(&error)) {
        return Error::unavailable(trouble.about("the Redis server"), error);
    }
    match error.kind() {
        // An error of a script or of an answer is a fault in here; anything else is the server's state.
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::ExecAbort)
        | ErrorKind::Parse
        | ErrorKind::UnexpectedReturnType => Error::internal(format!("{doing} in Redis"), error),
        _ => Error::unavailable("Redis cannot be reached or cannot serve the call", error),
    }
}

/// What is wrong with user and password, if that is why a call failed.
fn credentials(error: &RedisError) -> Option<Trouble> {
    let refuses = error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "NOPERM" | "WRONGPASS"));
    refuses.then(|| refused(error)).flatten()
}
