//! `wasi:keyvalue@0.2.0-draft`: the draft that Wasmtime has.

use tessera_capability::Error;
use wasmtime::Result;
use wasmtime::component::Resource;

use super::super::generated::wasi::keyvalue0_2_0_draft::{atomics, batch, store};
use super::super::key_value::{NotOpened, Opened, open};
use super::super::{View, text};
use super::{delete_many, get_many, increment, keys, set_many};

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
        cursor: Option<u64>,
    ) -> Result<Result<store::KeyResponse, store::Error>> {
        let bucket = self.open.get(&bucket)?;
        let skip = cursor.unwrap_or(0);
        let page = keys(bucket, None, skip).await.map_err(|error| refuse(bucket, "list-keys", &error));
        Ok(page.map(|(keys, rest)| {
            let listed = u64::try_from(keys.len()).unwrap_or(u64::MAX);
            store::KeyResponse { keys, cursor: rest.map(|_| skip.saturating_add(listed)) }
        }))
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
    ) -> Result<Result<Vec<Option<(String, Vec<u8>)>>, store::Error>> {
        let bucket = self.open.get(&bucket)?;
        let pairs = get_many(bucket, keys).await.map_err(|error| refuse(bucket, "get-many", &error));
        Ok(pairs.map(|pairs| pairs.into_iter().map(|(key, value)| Some((key, value?))).collect()))
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

impl atomics::Host for View<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<Opened>,
        key: String,
        delta: u64,
    ) -> Result<Result<u64, store::Error>> {
        let bucket = self.open.get(&bucket)?;
        let sum = async {
            let delta = i64::try_from(delta).map_err(|_| Error::Invalid("the counter would leave 64 bits".into()))?;
            let sum = increment(bucket, key, delta).await?;
            u64::try_from(sum).map_err(|_| Error::Invalid("the counter is negative".into()))
        };
        Ok(sum.await.map_err(|error| refuse(bucket, "increment", &error)))
    }
}
