//! Redis as components use it: commands to servers they name, and channels to listen to.
//!
//! A connection belongs to one holder at a time, because `SELECT`, `MULTI`, `WATCH` and the like
//! change what it does. One that carried nothing but commands that leave no such trace goes back to
//! be used again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use redis::aio::MultiplexedConnection;
use redis::io::AsyncDNSResolver;
use redis::{AsyncConnectionConfig, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, RedisError, RedisFuture};
use tessera_capability::redis::{self as contract, Address, Argument, MAX_ANSWER, Message, Permits, Value};
use tessera_capability::{Error, Result};
use tokio::time::Instant;

/// How long an attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the server may take to answer.
const RESPONSE: Duration = Duration::from_secs(30);
/// The most connections that wait for their next holder.
const MAX_IDLE: usize = 16;
/// How long they wait.
const IDLE: Duration = Duration::from_secs(30);

/// Commands that change nothing about the connection they go over.
const STATELESS: &[&str] = &["DEL", "GET", "INCR", "PING", "PUBLISH", "SADD", "SET", "SMEMBERS", "SREM"];

/// Connections to the servers that one component names.
#[derive(Clone)]
pub struct Client(Arc<Pool>);

#[derive(Default)]
struct Pool {
    /// By URL, which has the credentials in it; the newest last.
    idle: Mutex<HashMap<String, Vec<(MultiplexedConnection, Instant)>>>,
}

impl Client {
    /// One without connections.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "one for each component is meant to be made on purpose")]
    pub fn new() -> Self {
        Self(Arc::default())
    }
}

impl Pool {
    fn take(&self, url: &str) -> Option<MultiplexedConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, waiting| {
            waiting.retain(|(_, since)| since.elapsed() < IDLE);
            !waiting.is_empty()
        });
        idle.get_mut(url)?.pop().map(|(connection, _)| connection)
    }

    fn put(&self, url: &str, connection: MultiplexedConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.values().map(Vec::len).sum::<usize>() < MAX_IDLE {
            idle.entry(url.to_owned()).or_default().push((connection, Instant::now()));
        }
    }
}

fn client(url: &str) -> Result<redis::Client> {
    // The parser's error is not passed on: it may quote the URL.
    let malformed = |_| Error::Invalid("this is not a redis:// or rediss:// URL".into());
    let info = url.into_connection_info().map_err(malformed)?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        // Ignored if the process has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    redis::Client::open(info).map_err(malformed)
}

fn address(client: &redis::Client) -> Result<Address> {
    let (scheme, host, port) = match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, port) => ("redis", host, *port),
        ConnectionAddr::TcpTls { host, port, .. } => ("rediss", host, *port),
        _ => return Err(Error::Invalid("this is not a redis:// or rediss:// URL".into())),
    };
    Ok(Address { scheme, host: host.clone(), port })
}

fn config(permits: Permits) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(RESPONSE))
        .set_dns_resolver(Resolver(permits))
}

/// Resolves names, and keeps the addresses that may be connected to.
struct Resolver(Permits);

impl AsyncDNSResolver for Resolver {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
            let permitted: Vec<SocketAddr> = found.into_iter().filter(|address| (self.0)(address.ip())).collect();
            if permitted.is_empty() {
                return Err(RedisError::from((ErrorKind::InvalidClientConfig, "no permitted address")));
            }
            Ok(Box::new(permitted.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

#[async_trait]
impl contract::Client for Client {
    fn address(&self, url: &str) -> Result<Address> {
        address(&client(url)?)
    }

    async fn connect(&self, url: &str, permits: Permits) -> Result<Arc<dyn contract::Connection>> {
        let mut reused = None;
        while let Some(mut connection) = self.0.take(url) {
            if redis::cmd("PING").query_async::<redis::Value>(&mut connection).await.is_ok() {
                reused = Some(connection);
                break;
            }
        }
        let connection = match reused {
            Some(connection) => connection,
            None => {
                let client = client(url)?;
                address(&client)?;
                client.get_multiplexed_async_connection_with_config(&config(permits)).await.map_err(outcome)?
            }
        };
        Ok(Arc::new(Connection {
            connection: Some(connection),
            url: url.to_owned(),
            pool: Arc::downgrade(&self.0),
            spent: AtomicBool::new(false),
        }))
    }

    async fn subscribe(&self, url: &str, channels: &[String]) -> Result<BoxStream<'static, Message>> {
        let client = client(url)?;
        address(&client)?;
        let connect = tokio::time::timeout(CONNECT, client.get_async_pubsub());
        let late = |late| Error::unavailable("the Redis server does not answer", late);
        let mut subscription = connect.await.map_err(late)?.map_err(outcome)?;
        subscription.subscribe(channels).await.map_err(outcome)?;
        let messages = subscription.into_on_message().map(|message| Message {
            channel: message.get_channel_name().to_owned(),
            payload: Bytes::copy_from_slice(message.get_payload_bytes()),
        });
        Ok(messages.boxed())
    }
}

/// A connection while somebody holds it.
struct Connection {
    /// There until it is dropped.
    connection: Option<MultiplexedConnection>,
    url: String,
    pool: Weak<Pool>,
    /// It is not as it was, or does not work: not for another holder.
    spent: AtomicBool,
}

/// Spends a connection if a call ends before its answer.
struct Waiting<'a>(&'a AtomicBool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (Some(connection), Some(pool), false) =
            (self.connection.take(), self.pool.upgrade(), self.spent.load(Ordering::Acquire))
        {
            pool.put(&self.url, connection);
        }
    }
}

#[async_trait]
impl contract::Connection for Connection {
    async fn call(&self, command: &str, arguments: Vec<Argument>) -> Result<Vec<Value>> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        if !STATELESS.iter().any(|stateless| stateless.eq_ignore_ascii_case(command)) {
            self.spent.store(true, Ordering::Release);
        }
        let mut request = redis::cmd(command);
        for argument in &arguments {
            match argument {
                Argument::Integer(number) => request.arg(*number),
                Argument::Data(bytes) => request.arg(&bytes[..]),
            };
        }
        let waiting = Waiting(&self.spent);
        let answer = request.query_async::<redis::Value>(&mut connection.clone()).await;
        if answer.as_ref().err().is_none_or(|error| error.code().is_some()) {
            std::mem::forget(waiting);
        }
        let mut values = Vec::new();
        flatten(answer.map_err(outcome)?, &mut values)?;
        let size = values.iter().fold(0_usize, |size, value| {
            size.saturating_add(size_of::<Value>()).saturating_add(match value {
                Value::Data(bytes) => bytes.len(),
                Value::Status(text) => text.len(),
                Value::Nil | Value::Integer(_) => 0,
            })
        });
        if size > MAX_ANSWER {
            return Err(Error::TooLarge(format!("query result exceeds limit of {MAX_ANSWER} bytes")));
        }
        Ok(values)
    }
}

/// The parts of an answer in their order.
fn flatten(value: redis::Value, values: &mut Vec<Value>) -> Result<()> {
    match value {
        redis::Value::Nil => values.push(Value::Nil),
        redis::Value::Int(number) => values.push(Value::Integer(number)),
        redis::Value::BulkString(bytes) => values.push(Value::Data(bytes.into())),
        redis::Value::SimpleString(text) => values.push(Value::Status(text)),
        redis::Value::Okay => values.push(Value::Status("OK".to_owned())),
        redis::Value::Array(parts) | redis::Value::Set(parts) => {
            for part in parts {
                flatten(part, values)?;
            }
        }
        redis::Value::ServerError(error) => return Err(Error::Invalid(error.to_string())),
        // Newer kinds come only over a newer protocol, which `HELLO` would ask for.
        _ => return Err(Error::Invalid("the answer is of a kind that RESP2 does not have".into())),
    }
    Ok(())
}

/// What a failure means for the caller. The server's own texts are the component's to read.
fn outcome(error: RedisError) -> Error {
    match error.kind() {
        ErrorKind::AuthenticationFailed => Error::unavailable("the Redis server refused the credentials", error),
        ErrorKind::InvalidClientConfig => {
            Error::Denied("the Redis server's address is private, and `allowed_outbound_hosts` does not name it".into())
        }
        _ => match error.code() {
            Some(code) => {
                let text = error.detail().map_or_else(|| code.to_owned(), |detail| format!("{code} {detail}"));
                Error::Invalid(text)
            }
            None => Error::unavailable("the Redis server cannot be reached", error),
        },
    }
}
