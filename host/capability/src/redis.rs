//! The contract of outgoing Redis: commands to servers that components name, and the channels that
//! triggers listen to.
//!
//! Not the Redis that key-value stores and queues can be kept in: those are engines.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::Result;

/// The most bytes of an answer.
pub const MAX_ANSWER: usize = 16 << 20;

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `redis` or `rediss`.
    pub scheme: &'static str,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// An argument of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A number, sent in decimal.
    Integer(i64),
    /// Bytes.
    Data(Bytes),
}

impl From<String> for Argument {
    fn from(text: String) -> Self {
        Self::Data(text.into())
    }
}

impl From<Vec<u8>> for Argument {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Data(bytes.into())
    }
}

/// Part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// A short text of the server's, such as `OK`.
    Status(String),
    /// A number.
    Integer(i64),
    /// Bytes.
    Data(Bytes),
}

/// What came by a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The channel.
    pub channel: String,
    /// The payload.
    pub payload: Bytes,
}

/// Says which addresses may be connected to, whatever name led to them.
pub type Permits = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The way to any Redis server.
#[async_trait]
pub trait Client: Send + Sync {
    /// Where a URL leads, without going there.
    ///
    /// # Errors
    /// `Invalid` for what is no `redis://` or `rediss://` URL; the text does not repeat it.
    fn address(&self, url: &str) -> Result<Address>;

    /// A connection that nobody else uses while it is held. It may be one that served another
    /// holder of the same URL, and carries nothing over from that.
    ///
    /// # Errors
    /// `Invalid` as [`Client::address`], `Unavailable` if the server cannot be reached or refuses
    /// the credentials, `Denied` if `permits` leaves no address of it.
    async fn connect(&self, url: &str, permits: Permits) -> Result<Arc<dyn Connection>>;

    /// Subscribes to channels, for the host itself; the stream ends when the connection breaks.
    ///
    /// # Errors
    /// `Invalid`, `Unavailable` as [`Client::connect`].
    async fn subscribe(&self, url: &str, channels: &[String]) -> Result<BoxStream<'static, Message>>;
}

/// A connection to a server.
#[async_trait]
pub trait Connection: Send + Sync {
    /// Sends a command and gives its answer, nested answers flattened.
    ///
    /// # Errors
    /// `Invalid` with the server's text if it refuses the command, `TooLarge` for an answer over
    /// [`MAX_ANSWER`], `Unavailable` if the server cannot be reached.
    async fn call(&self, command: &str, arguments: Vec<Argument>) -> Result<Vec<Value>>;
}
