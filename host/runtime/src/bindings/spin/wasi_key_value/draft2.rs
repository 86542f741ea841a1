//! `wasi:keyvalue@0.2.0-draft2`: the draft that Spin has.

use bytes::Bytes;
use tessera_capability::Error;
use tessera_capability::kv::{self, Check, Commit, Key, Operation};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::super::generated::wasi::keyvalue0_2_0_draft2::{atomics, batch, store};
use super::super::key_value::{NotOpened, Opened, open};
use super::super::{View, text};
use super::{delete_many, get_many, increment, keys, set_many};

/// A compare-and-swap in the making: what the guest last saw of a key.
#[expect(unreachable_pub, reason = "the generated bindings hand it on")]
pub struct Swap {
    store: Opened,
    key: Key,
    seen: Option<kv::Version>,
}

/// A cursor begins with this, so that what never was one is refused.
const CURSOR: &str = "after:";

fn refuse(opened: &Opened, call: &str, error: &Error) -> store::Error {
    store::Error::Other(text(&opened.grants, call, error))
}

impl store::Host for View<'_> {
    async fn open(&mut self, identifier: String) -> Result<Result<Resource<Opened>, store::Error>> {
        Ok(open(self, &identifier).map_err(|why| match why {
            NotOpened::Denied => store::Error::AccessDenied,
            NotOpened::Full => store::Error::Other("store table full".into()),
        }))
    }
}

impl store::HostBucket for View<'_> {
    async fn get(&mut self, bucket: Resource<Opened>, key: String) -> Result<Result<Option<Vec<u8>>, store::Error>> {
        let bucket = self.open.get(&bucket)?;
        let entry = bucket.get(key).await.map_err(|error| refuse(bucket, "get", &error));
        Ok(entry.map(|entry| entry.map(|entry| entry.value.into())))
    }

    async fn set(&mut self, bucket: Resource<Opened>, key: String, value: Vec<u8>) -> Result<Result<(), store::Error>> {
        let bucket = self.open.get(&bucket)?;
        Ok(bucket.set(key, value).await.map_err(|error| refuse(bucket, "set", &error)))
    }

    async fn delete(&mut self, bucket: Resource<Opened>, key: String) -> Result<Result<(), store::Error>> {
        let bucket = self.open.get(&bucket)?;
        Ok(bucket.delete(key).await.map_err(|error| refuse(bucket, "delete", &error)))
    }

    async fn exists(&mut self, bucket: Resource<Opened>, key: String) -> Result<Result<bool, store::Error>> {
        let bucket = self.open.get(&bucket)?;
        let entry = bucket.get(key).await.map_err(|error| refuse(bucket, "exists", &error));
        Ok(entry.map(|entry| entry.is_some()))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Opened>,
        cursor: Option<String>,
    ) -> Result<Result<store::KeyResponse, store::Error>> {
        let bucket = self.open.get(&bucket)?;
        let page = async {
            let after = cursor.map(|cursor| {
                let key = cursor.strip_prefix(CURSOR).map(|key| Bytes::from(key.to_owned()));
                key.ok_or_else(|| Error::Invalid("this cursor was not given by list-keys".into()))
            });
            let (keys, rest) = keys(bucket, after.transpose()?, 0).await?;
            // The last key listed, which is a string, not the last one seen.
            let cursor = rest.and_then(|_| keys.last().map(|key| format!("{CURSOR}{key}")));
            Ok(store::KeyResponse { keys, cursor })
        };
        Ok(page.await.map_err(|error| refuse(bucket, "list-keys", &error)))
    }

    async fn drop(&mut self, bucket: Resource<Opened>) -> Result<()> {
        self.open.delete(bucket)?;
        Ok(())
    }
}

impl batch::Host for View<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<Opened>,
        keys: Vec<String>,
    ) -> Result<Result<Vec<(String, Option<Vec<u8>>)>, store::Error>> {
        let bucket = self.open.get(&bucket)?;
        Ok(get_many(bucket, keys).await.map_err(|error| refuse(bucket, "get-many", &error)))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Opened>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<Result<(), store::Error>> {
        let bucket = self.open.get(&bucket)?;
        Ok(set_many(bucket, pairs).await.map_err(|error| refuse(bucket, "set-many", &error)))
    }

    async fn delete_many(&mut self, bucket: Resource<Opened>, keys: Vec<String>) -> Result<Result<(), store::Error>> {
        let bucket = self.open.get(&bucket)?;
        Ok(delete_many(bucket, keys).await.map_err(|error| refuse(bucket, "delete-many", &error)))
    }
}

impl Swap {
    async fn look(store: Opened, key: Key) -> tessera_capability::Result<Self> {
        let seen = store.store.get(&key).await?.map(|entry| entry.version);
        Ok(Self { store, key, seen })
    }
}

impl atomics::Host for View<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<Opened>,
        key: String,
        delta: i64,
    ) -> Result<Result<i64, store::Error>> {
        let bucket = self.open.get(&bucket)?;
        Ok(increment(bucket, key, delta).await.map_err(|error| refuse(bucket, "increment", &error)))
    }

    async fn swap(&mut self, cas: Resource<Swap>, value: Vec<u8>) -> Result<Result<(), atomics::CasError>> {
        let swap = self.open.delete(cas)?;
        let commit = Commit {
            checks: vec![Check { key: swap.key.clone(), version: swap.seen }],
            operations: vec![Operation::Set { key: swap.key.clone(), value: value.into(), time_to_live: None }],
        };
        let result = async {
            commit.validate(kv::MAX_VALUE)?;
            swap.store.store.commit(commit).await
        };
        let failed = |error| atomics::CasError::StoreError(refuse(&swap.store, "swap", &error));
        match result.await {
            Ok(_) => Ok(Ok(())),
            // The guest gets a new one, with which it can try again.
            Err(Error::Conflict) => match Swap::look(swap.store.clone(), swap.key.clone()).await {
                Ok(again) => Ok(Err(atomics::CasError::CasFailed(self.open.push(again)?))),
                Err(error) => Ok(Err(failed(error))),
            },
            Err(error) => Ok(Err(failed(error))),
        }
    }
}

impl atomics::HostCas for View<'_> {
    async fn new(&mut self, bucket: Resource<Opened>, key: String) -> Result<Result<Resource<Swap>, store::Error>> {
        let bucket = self.open.get(&bucket)?.clone();
        let swap = async { Swap::look(bucket.clone(), Key::new(key)?).await };
        match swap.await {
            Ok(swap) => Ok(self.open.push(swap).map_err(|_| store::Error::Other("store table full".into()))),
            Err(error) => Ok(Err(refuse(&bucket, "cas.new", &error))),
        }
    }

    async fn current(&mut self, cas: Resource<Swap>) -> Result<Result<Option<Vec<u8>>, store::Error>> {
        let swap = self.open.get_mut(&cas)?;
        let entry = match swap.store.store.get(&swap.key).await {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(refuse(&swap.store, "cas.current", &error))),
        };
        // What the guest bases its next value on is what it sees now.
        swap.seen = entry.as_ref().map(|entry| entry.version);
        Ok(Ok(entry.map(|entry| entry.value.into())))
    }

    async fn drop(&mut self, cas: Resource<Swap>) -> Result<()> {
        self.open.delete(cas)?;
        Ok(())
    }
}
