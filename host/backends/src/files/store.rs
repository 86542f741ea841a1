//! The blob contract over data files and their index.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tessera_capability::blob::{
    self, Body, Capabilities, DEFAULT_CONTENT_TYPE, Info, Key, MAX_PAGE, MAX_READ, Page, PutOptions, Range,
};
use tessera_capability::{Error, Result};

use super::data::{self, Complete, DataFile, Upload};
use super::index::{Change, Record};
use super::{Inner, blocking, failed};

/// Marks cursors as ours; the last key of the page follows.
const CURSOR: &str = "after:";

/// A label's objects.
#[derive(Clone)]
pub(super) struct Store {
    engine: Arc<Inner>,
    label: Arc<str>,
}

impl Store {
    pub(super) fn new(engine: Arc<Inner>, label: &str) -> Self {
        Self { engine, label: label.into() }
    }

    /// Reads the body into a data file, or leaves nothing.
    async fn receive(&self, limit: u64, mut body: Body<'_>) -> Result<Complete> {
        let mut upload = Upload::new(self.engine.data.clone());
        let mut size = 0_u64;
        while let Some(chunk) = body.next().await {
            let added = match chunk {
                Ok(chunk) => {
                    size = size.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
                    if size > limit {
                        Err(Error::TooLarge(format!("the object has more than {limit} bytes")))
                    } else {
                        upload.push(chunk).await
                    }
                }
                Err(error) => Err(error),
            };
            if let Err(error) = added {
                upload.abandon().await;
                return Err(error);
            }
        }
        upload.finish().await
    }

    /// Enters a data file in the index and removes the one it replaces.
    async fn name(&self, key: &Key, record: Record, file: DataFile, if_absent: bool) -> Result<Info> {
        let info = record.info(key.clone());
        self.change(key, Change::Put { record, file, if_absent }).await?;
        Ok(info)
    }

    async fn change(&self, key: &Key, change: Change) -> Result<()> {
        match self.engine.index.change(&self.label, key, change).await? {
            None => Ok(()),
            Some(unnamed) => {
                blocking(move || {
                    unnamed.remove();
                    Ok(())
                })
                .await
            }
        }
    }

    /// Does something with an object's data file, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        key: &Key,
        work: impl Fn(&Path, &Record) -> io::Result<T> + Send + 'static,
    ) -> Result<(Record, T)> {
        let (store, key) = (self.clone(), key.clone());
        blocking(move || {
            let mut record = store.engine.index.get(&store.label, &key)?;
            loop {
                match work(&store.engine.data, &record) {
                    Ok(result) => return Ok((record, result)),
                    // Replaced since we looked: look again.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let current = store.engine.index.get(&store.label, &key)?;
                        if current.file == record.file {
                            return Err(Error::internal("open a data file that the blob index names", error));
                        }
                        record = current;
                    }
                    Err(error) => return Err(failed("open a blob", error)),
                }
            }
        })
        .await
    }

    async fn open(&self, key: &Key) -> Result<(Record, File)> {
        self.with(key, |data, record| File::open(data::path(data, record.file))).await
    }
}

#[async_trait]
impl blob::Store for Store {
    fn capabilities(&self) -> Capabilities {
        Capabilities { if_absent: true, sha256: true }
    }

    async fn put(&self, key: &Key, options: PutOptions, body: Body<'_>) -> Result<Info> {
        options.validate()?;
        let Complete { file, size, sha256 } = self.receive(options.max_size.unwrap_or(u64::MAX), body).await?;
        let record = Record {
            file: file.id(),
            size,
            sha256,
            created: self.engine.clock.now(),
            content_type: options.content_type.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.into()),
            metadata: options.metadata,
        };
        self.name(key, record, file, options.if_absent).await
    }

    async fn get(&self, key: &Key, range: Option<Range>) -> Result<(Info, Body<'static>)> {
        let (record, file) = self.open(key).await?;
        let range = range.map_or(Ok(0..record.size), |range| range.resolve(record.size))?;
        Ok((record.info(key.clone()), data::body(file, range)))
    }

    async fn read_at(&self, key: &Key, offset: u64, length: usize) -> Result<Bytes> {
        if length > MAX_READ {
            return Err(Error::TooLarge(format!("a read has at most {MAX_READ} bytes, not {length}")));
        }
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let (_, bytes) = self
            .with(key, move |data, record| {
                let start = offset.min(record.size);
                let end = start.saturating_add(length).min(record.size);
                File::open(data::path(data, record.file)).map(|file| data::read(&file, start..end))
            })
            .await?;
        bytes
    }

    async fn head(&self, key: &Key) -> Result<Info> {
        let (store, key) = (self.clone(), key.clone());
        blocking(move || Ok(store.engine.index.get(&store.label, &key)?.info(key))).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.change(key, Change::Delete).await
    }

    async fn list(&self, prefix: &str, cursor: Option<&str>, limit: usize) -> Result<Page> {
        if limit == 0 || limit > MAX_PAGE {
            return Err(Error::Invalid(format!("a page has 1 to {MAX_PAGE} objects, not {limit}")));
        }
        let after = match cursor.map(|cursor| cursor.strip_prefix(CURSOR).filter(|key| key.starts_with(prefix))) {
            Some(None) => return Err(Error::Invalid("the cursor is not from this listing".into())),
            after => after.flatten().map(str::to_owned),
        };
        let (store, prefix) = (self.clone(), prefix.to_owned());
        blocking(move || {
            let objects = store.engine.index.list(&store.label, &prefix, after.as_deref(), limit)?;
            let last = objects.last().filter(|_| objects.len() == limit);
            let cursor = last.map(|info| format!("{CURSOR}{}", info.key.as_str()));
            Ok(Page { objects, cursor })
        })
        .await
    }

    async fn copy(&self, source: &Key, destination: &Key) -> Result<Info> {
        let (mut record, file) = self.with(source, |data, record| DataFile::link(data, record.file)).await?;
        record.file = file.id();
        record.created = self.engine.clock.now();
        self.name(destination, record, file, false).await
    }
}
