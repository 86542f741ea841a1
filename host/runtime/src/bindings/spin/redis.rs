//! Outgoing Redis, of Spin 1 to 4, over [`redis::Client`].
//!
//! A server that the manifest does not allow is an invalid address, as in Spin.

use std::sync::Arc;

use bytes::Bytes;
use tessera_capability::redis::{self, Argument, Value};
use tessera_capability::{Error, Result};
use wasmtime::component::{Accessor, Resource};

use super::generated::fermyon::spin::{redis as v1, redis_types as v1_types};
use super::generated::fermyon::spin2_0_0::redis as v2;
use super::generated::spin::redis::redis as v3;
use super::{Spin, View, text};
use crate::grants::Grants;

/// A connection that a component has open.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated bindings hand it on")]
pub struct Connected {
    connection: Arc<dyn redis::Connection>,
    grants: Arc<Grants>,
}

/// What the interfaces tell apart.
enum Failure {
    Address,
    Type,
    Other(String),
}

type Outcome<T> = Result<T, Failure>;

impl Connected {
    async fn open(grants: Arc<Grants>, address: &str) -> Outcome<Self> {
        let permits = match grants.may_use_redis(address) {
            Ok(permits) => permits,
            Err(error) => {
                tracing::debug!(component = &*grants.component, "no Redis server to connect to: {error}");
                return Err(Failure::Address);
            }
        };
        match grants.redis.connect(address, permits).await {
            Ok(connection) => Ok(Self { connection, grants }),
            Err(error @ (Error::Invalid(_) | Error::Denied(_))) => {
                grants.warn(format_args!("denied: {error}"));
                Err(Failure::Address)
            }
            Err(error) => Err(Failure::Other(text(&grants, "open", &error))),
        }
    }

    /// The answer's parts.
    async fn call(&self, command: &str, arguments: Vec<Argument>) -> Outcome<Vec<Value>> {
        self.connection.call(command, arguments).await.map_err(|error| match error {
            Error::Invalid(text) if is_type_error(&text) => Failure::Type,
            error => Failure::Other(text(&self.grants, command, &error)),
        })
    }

    async fn publish(&self, channel: String, payload: Vec<u8>) -> Outcome<()> {
        self.call("PUBLISH", vec![channel.into(), payload.into()]).await.map(drop)
    }

    async fn get(&self, key: String) -> Outcome<Option<Vec<u8>>> {
        match self.call("GET", vec![key.into()]).await?.pop() {
            Some(Value::Data(bytes)) => Ok(Some(bytes.into())),
            Some(Value::Nil) => Ok(None),
            _ => Err(Failure::Type),
        }
    }

    async fn set(&self, key: String, value: Vec<u8>) -> Outcome<()> {
        self.call("SET", vec![key.into(), value.into()]).await.map(drop)
    }

    /// A command whose answer is a number.
    async fn number(&self, command: &str, first: Option<String>, rest: Vec<String>) -> Outcome<i64> {
        let arguments = first.into_iter().chain(rest).map(Argument::from).collect();
        match self.call(command, arguments).await?.pop() {
            Some(Value::Integer(number)) => Ok(number),
            _ => Err(Failure::Type),
        }
    }

    async fn count(&self, command: &str, first: Option<String>, rest: Vec<String>) -> Outcome<u32> {
        let number = self.number(command, first, rest).await?;
        u32::try_from(number).map_err(|_| Failure::Type)
    }

    async fn members(&self, key: String) -> Outcome<Vec<String>> {
        let values = self.call("SMEMBERS", vec![key.into()]).await?;
        let text = |value| match value {
            Value::Data(bytes) => String::from_utf8(bytes.into()).map_err(|_| Failure::Type),
            _ => Err(Failure::Type),
        };
        values.into_iter().map(text).collect()
    }
}

/// Whether the server refused a command because a key has another kind of value.
fn is_type_error(text: &str) -> bool {
    text.starts_with("WRONGTYPE") || text.contains("value is not an integer")
}

/// What the versions with connections have alike.
macro_rules! alike {
    ($version:ident) => {
        impl From<Failure> for $version::Error {
            fn from(failure: Failure) -> Self {
                match failure {
                    Failure::Address => Self::InvalidAddress,
                    Failure::Type => Self::TypeError,
                    Failure::Other(text) => Self::Other(text),
                }
            }
        }

        impl From<$version::RedisParameter> for Argument {
            fn from(parameter: $version::RedisParameter) -> Self {
                match parameter {
                    $version::RedisParameter::Int64(number) => Self::Integer(number),
                    $version::RedisParameter::Binary(bytes) => Self::Data(Bytes::from(bytes)),
                }
            }
        }

        impl From<Value> for $version::RedisResult {
            fn from(value: Value) -> Self {
                match value {
                    Value::Nil => Self::Nil,
                    Value::Status(text) => Self::Status(text),
                    Value::Integer(number) => Self::Int64(number),
                    Value::Data(bytes) => Self::Binary(bytes.into()),
                }
            }
        }
    };
}

alike!(v2);
alike!(v3);

impl v2::Host for View<'_> {}

impl View<'_> {
    fn redis(&self, connection: &Resource<Connected>) -> wasmtime::Result<Connected> {
        Ok(self.open.get(connection)?.clone())
    }
}

impl v2::HostConnection for View<'_> {
    async fn open(&mut self, address: String) -> wasmtime::Result<Result<Resource<Connected>, v2::Error>> {
        Ok(match Connected::open(Arc::clone(self.grants), &address).await {
            Ok(connected) => self.open.push(connected).map_err(|_| v2::Error::TooManyConnections),
            Err(failure) => Err(failure.into()),
        })
    }

    async fn publish(
        &mut self,
        connection: Resource<Connected>,
        channel: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), v2::Error>> {
        Ok(self.redis(&connection)?.publish(channel, payload).await.map_err(Into::into))
    }

    async fn get(
        &mut self,
        connection: Resource<Connected>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, v2::Error>> {
        Ok(self.redis(&connection)?.get(key).await.map_err(Into::into))
    }

    async fn set(
        &mut self,
        connection: Resource<Connected>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), v2::Error>> {
        Ok(self.redis(&connection)?.set(key, value).await.map_err(Into::into))
    }

    async fn incr(&mut self, connection: Resource<Connected>, key: String) -> wasmtime::Result<Result<i64, v2::Error>> {
        Ok(self.redis(&connection)?.number("INCR", Some(key), Vec::new()).await.map_err(Into::into))
    }

    async fn del(
        &mut self,
        connection: Resource<Connected>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<u32, v2::Error>> {
        Ok(self.redis(&connection)?.count("DEL", None, keys).await.map_err(Into::into))
    }

    async fn sadd(
        &mut self,
        connection: Resource<Connected>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, v2::Error>> {
        Ok(self.redis(&connection)?.count("SADD", Some(key), values).await.map_err(Into::into))
    }

    async fn smembers(
        &mut self,
        connection: Resource<Connected>,
        key: String,
    ) -> wasmtime::Result<Result<Vec<String>, v2::Error>> {
        Ok(self.redis(&connection)?.members(key).await.map_err(Into::into))
    }

    async fn srem(
        &mut self,
        connection: Resource<Connected>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, v2::Error>> {
        Ok(self.redis(&connection)?.count("SREM", Some(key), values).await.map_err(Into::into))
    }

    async fn execute(
        &mut self,
        connection: Resource<Connected>,
        command: String,
        arguments: Vec<v2::RedisParameter>,
    ) -> wasmtime::Result<Result<Vec<v2::RedisResult>, v2::Error>> {
        let connection = self.redis(&connection)?;
        let values = connection.call(&command, arguments.into_iter().map(Into::into).collect()).await;
        Ok(values.map(|values| values.into_iter().map(Into::into).collect()).map_err(Into::into))
    }

    async fn drop(&mut self, connection: Resource<Connected>) -> wasmtime::Result<()> {
        self.open.delete(connection)?;
        Ok(())
    }
}

impl v3::Host for View<'_> {}

impl v3::HostConnection for View<'_> {
    async fn drop(&mut self, connection: Resource<Connected>) -> wasmtime::Result<()> {
        self.open.delete(connection)?;
        Ok(())
    }
}

fn connected<T>(accessor: &Accessor<T, Spin>, connection: &Resource<Connected>) -> wasmtime::Result<Connected> {
    accessor.with(|mut access| access.get().redis(connection))
}

impl<T: Send + 'static> v3::HostConnectionWithStore<T> for Spin {
    async fn open(
        accessor: &Accessor<T, Self>,
        address: String,
    ) -> wasmtime::Result<Result<Resource<Connected>, v3::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get().grants));
        Ok(match Connected::open(grants, &address).await {
            Ok(connected) => {
                accessor.with(|mut access| access.get().open.push(connected)).map_err(|_| v3::Error::TooManyConnections)
            }
            Err(failure) => Err(failure.into()),
        })
    }

    async fn publish(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
        channel: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), v3::Error>> {
        Ok(connected(accessor, &connection)?.publish(channel, payload).await.map_err(Into::into))
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, v3::Error>> {
        Ok(connected(accessor, &connection)?.get(key).await.map_err(Into::into))
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), v3::Error>> {
        Ok(connected(accessor, &connection)?.set(key, value).await.map_err(Into::into))
    }

    async fn incr(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
        key: String,
    ) -> wasmtime::Result<Result<i64, v3::Error>> {
        Ok(connected(accessor, &connection)?.number("INCR", Some(key), Vec::new()).await.map_err(Into::into))
    }

    async fn del(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<u32, v3::Error>> {
        Ok(connected(accessor, &connection)?.count("DEL", None, keys).await.map_err(Into::into))
    }

    async fn sadd(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, v3::Error>> {
        Ok(connected(accessor, &connection)?.count("SADD", Some(key), values).await.map_err(Into::into))
    }

    async fn smembers(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
        key: String,
    ) -> wasmtime::Result<Result<Vec<String>, v3::Error>> {
        Ok(connected(accessor, &connection)?.members(key).await.map_err(Into::into))
    }

    async fn srem(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, v3::Error>> {
        Ok(connected(accessor, &connection)?.count("SREM", Some(key), values).await.map_err(Into::into))
    }

    async fn execute(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connected>,
        command: String,
        arguments: Vec<v3::RedisParameter>,
    ) -> wasmtime::Result<Result<Vec<v3::RedisResult>, v3::Error>> {
        let connection = connected(accessor, &connection)?;
        let values = connection.call(&command, arguments.into_iter().map(Into::into).collect()).await;
        Ok(values.map(|values| values.into_iter().map(Into::into).collect()).map_err(Into::into))
    }
}

/// Spin 1 has no connections and one error; its cause goes to the log.
fn v1_error(view: &View<'_>, failure: &Failure) -> v1_types::Error {
    let text = match failure {
        Failure::Address => "the address is malformed, or `allowed_outbound_hosts` does not name it",
        Failure::Type => "the value has another type",
        Failure::Other(text) => text,
    };
    view.grants.warn(format_args!("a Redis command failed: {text}"));
    v1_types::Error::Error
}

/// Opens a connection, makes one call, and lets go of it.
macro_rules! once {
    ($view:expr, $address:expr, |$connection:ident| $call:expr) => {{
        let result = match Connected::open(Arc::clone($view.grants), &$address).await {
            Ok($connection) => $call.await,
            Err(failure) => Err(failure),
        };
        Ok(result.map_err(|failure| v1_error($view, &failure)))
    }};
}

impl v1_types::Host for View<'_> {}

impl v1::Host for View<'_> {
    async fn publish(
        &mut self,
        address: String,
        channel: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), v1_types::Error>> {
        once!(self, address, |connection| connection.publish(channel, payload))
    }

    async fn get(&mut self, address: String, key: String) -> wasmtime::Result<Result<Vec<u8>, v1_types::Error>> {
        // A missing key reads as nothing: there is no other way to say it here.
        let result: wasmtime::Result<Result<Option<Vec<u8>>, _>> =
            once!(self, address, |connection| connection.get(key));
        Ok(result?.map(Option::unwrap_or_default))
    }

    async fn set(
        &mut self,
        address: String,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), v1_types::Error>> {
        once!(self, address, |connection| connection.set(key, value))
    }

    async fn incr(&mut self, address: String, key: String) -> wasmtime::Result<Result<i64, v1_types::Error>> {
        once!(self, address, |connection| connection.number("INCR", Some(key), Vec::new()))
    }

    async fn del(&mut self, address: String, keys: Vec<String>) -> wasmtime::Result<Result<i64, v1_types::Error>> {
        once!(self, address, |connection| connection.number("DEL", None, keys))
    }

    async fn sadd(
        &mut self,
        address: String,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<i64, v1_types::Error>> {
        once!(self, address, |connection| connection.number("SADD", Some(key), values))
    }

    async fn smembers(
        &mut self,
        address: String,
        key: String,
    ) -> wasmtime::Result<Result<Vec<String>, v1_types::Error>> {
        once!(self, address, |connection| connection.members(key))
    }

    async fn srem(
        &mut self,
        address: String,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<i64, v1_types::Error>> {
        once!(self, address, |connection| connection.number("SREM", Some(key), values))
    }

    async fn execute(
        &mut self,
        address: String,
        command: String,
        arguments: Vec<v1_types::RedisParameter>,
    ) -> wasmtime::Result<Result<Vec<v1_types::RedisResult>, v1_types::Error>> {
        let arguments = arguments.into_iter().map(|argument| match argument {
            v1_types::RedisParameter::Int64(number) => Argument::Integer(number),
            v1_types::RedisParameter::Binary(bytes) => Argument::Data(bytes.into()),
        });
        let arguments = arguments.collect();
        let result: wasmtime::Result<Result<Vec<Value>, _>> =
            once!(self, address, |connection| connection.call(&command, arguments));
        let to_guest = |value| match value {
            Value::Nil => v1_types::RedisResult::Nil,
            Value::Status(text) => v1_types::RedisResult::Status(text),
            Value::Integer(number) => v1_types::RedisResult::Int64(number),
            Value::Data(bytes) => v1_types::RedisResult::Binary(bytes.into()),
        };
        Ok(result?.map(|values| values.into_iter().map(to_guest).collect()))
    }
}
