//! Reading the answers of scripts.

use std::str::FromStr;

use bytes::Bytes;
use redis::Value;
use tessera_capability::{Error, Result};

fn unexpected(what: &str) -> Error {
    Error::Internal { message: format!("Redis answered a script without {what}"), source: None }
}

/// The parts of an array, taken one after another.
pub(super) struct Parts(std::vec::IntoIter<Value>);

impl Parts {
    pub(super) fn new(value: Value) -> Result<Self> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(unexpected("an array")),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    pub(super) fn array(&mut self) -> Result<Self> {
        Self::new(self.0.next().ok_or_else(|| unexpected("a part"))?)
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        match self.0.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes.into()),
            _ => Err(unexpected("a string")),
        }
    }

    pub(super) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| unexpected("text"))
    }

    pub(super) fn number<N: FromStr>(&mut self) -> Result<N> {
        self.text()?.parse().map_err(|_| unexpected("a number"))
    }
}

impl Iterator for Parts {
    type Item = Result<Parts>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Self::new)
    }
}

/// The 1 or 0 of a script that did or did not find what it was to change.
pub(super) fn found(value: &Value) -> Result<bool> {
    match value {
        Value::Int(number) => Ok(*number == 1),
        _ => Err(unexpected("a number")),
    }
}
