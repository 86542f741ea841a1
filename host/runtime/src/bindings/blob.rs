//! `tessera:blob` over [`blob::Store`].

use std::sync::Arc;

use futures::StreamExt as _;
use tessera_capability::blob::{self, Key, Range};
use tessera_capability::{Error, Result};
use wasmtime::component::{Accessor, FutureReader, StreamReader};

use super::generated::tessera::blob::{store, types};
use super::{Host, log_cause, stream};
use crate::grants::Grants;
use crate::trace::{Kind, Work};

impl types::Host for &Arc<Grants> {}
impl store::Host for &Arc<Grants> {}

type Opened = (types::Info, StreamReader<u8>, FutureReader<Result<(), types::Error>>);

impl<T: Send + 'static> store::HostWithStore<T> for Host {
    async fn put(
        accessor: &Accessor<T, Self>,
        store: String,
        key: String,
        options: types::PutOptions,
        body: StreamReader<u8>,
        completion: FutureReader<Result<(), String>>,
    ) -> wasmtime::Result<Result<types::Info, types::Error>> {
        let (consumer, chunks) = stream::chunks();
        let (outcome, completed) = stream::once();
        // Piped before anything can fail: a reader that is neither piped nor closed would leave
        // its writer waiting for ever.
        let grants = accessor.with(|mut access| -> wasmtime::Result<_> {
            body.pipe(&mut access, consumer)?;
            completion.pipe(&mut access, outcome)?;
            Ok(Arc::clone(access.get()))
        })?;
        let mut work = Work::begin(Kind::Client, || "blob put".into());
        work.set("tessera.store", &*store);
        let result = work.run(async {
            let store = grants.blobs(&store, true)?;
            let options = blob::PutOptions {
                content_type: options.content_type,
                metadata: options.metadata,
                if_absent: options.if_absent,
                max_size: options.max_size,
            };
            options.validate()?;
            let _open = grants.open_blob()?;
            store.put(&Key::new(key)?, options, stream::body(chunks, completed).boxed()).await
        });
        Ok(result.await.map(to_guest).map_err(|error| refuse(&grants, "put", &error)))
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        store: String,
        key: String,
        range: Option<types::ByteRange>,
    ) -> wasmtime::Result<Result<Opened, types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let range = range.map(|range| Range { offset: range.offset, length: range.length });
        let mut work = Work::begin(Kind::Client, || "blob get".into());
        work.set("tessera.store", &*store);
        let result = work.run(async {
            let store = grants.blobs(&store, false)?;
            let open = grants.open_blob()?;
            let (info, body) = store.get(&Key::new(key)?, range).await?;
            Ok((info, body, open))
        });
        let (info, body, open) = match result.await {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(refuse(&grants, "get", &error))),
        };
        let (content, end) = stream::Content::new(body, open);
        let end = async move {
            // Without its sender the stream was dropped before its end: the reader knows.
            let result =
                end.await.unwrap_or_else(|_| Err(Error::Incomplete("the stream was not read to its end".into())));
            Ok::<_, wasmtime::Error>(result.map_err(|error| refuse(&grants, "get", &error)))
        };
        accessor.with(|mut access| {
            let stream = StreamReader::new(&mut access, content)?;
            Ok(Ok((to_guest(info), stream, FutureReader::new(&mut access, end)?)))
        })
    }

    async fn read_at(
        accessor: &Accessor<T, Self>,
        store: String,
        key: String,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let mut work = Work::begin(Kind::Client, || "blob read-at".into());
        work.set("tessera.store", &*store);
        let result = work.run(async {
            let store = grants.blobs(&store, false)?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > blob::MAX_READ {
                return Err(Error::TooLarge(format!("one read has at most {} bytes", blob::MAX_READ)));
            }
            store.read_at(&Key::new(key)?, offset, length).await
        });
        Ok(result.await.map(Into::into).map_err(|error| refuse(&grants, "read-at", &error)))
    }

    async fn head(
        accessor: &Accessor<T, Self>,
        store: String,
        key: String,
    ) -> wasmtime::Result<Result<types::Info, types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let mut work = Work::begin(Kind::Client, || "blob head".into());
        work.set("tessera.store", &*store);
        let result = work.run(async { grants.blobs(&store, false)?.head(&Key::new(key)?).await });
        Ok(result.await.map(to_guest).map_err(|error| refuse(&grants, "head", &error)))
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        store: String,
        key: String,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let mut work = Work::begin(Kind::Client, || "blob delete".into());
        work.set("tessera.store", &*store);
        let result = work.run(async { grants.blobs(&store, true)?.delete(&Key::new(key)?).await });
        Ok(result.await.map_err(|error| refuse(&grants, "delete", &error)))
    }

    async fn list(
        accessor: &Accessor<T, Self>,
        store: String,
        prefix: String,
        cursor: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<types::Page, types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let mut work = Work::begin(Kind::Client, || "blob list".into());
        work.set("tessera.store", &*store);
        let result = work.run(async {
            let store = grants.blobs(&store, false)?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            if !(1..=blob::MAX_PAGE).contains(&limit) {
                return Err(Error::Invalid(format!("a page has 1 to {} objects", blob::MAX_PAGE)));
            }
            if prefix.len() > blob::MAX_KEY || cursor.as_ref().is_some_and(|cursor| cursor.len() > blob::MAX_KEY) {
                return Err(Error::TooLarge(format!("a prefix or a cursor has at most {} bytes", blob::MAX_KEY)));
            }
            store.list(&prefix, cursor.as_deref(), limit).await
        });
        Ok(result
            .await
            .map(|page| types::Page { objects: page.objects.into_iter().map(to_guest).collect(), cursor: page.cursor })
            .map_err(|error| refuse(&grants, "list", &error)))
    }

    async fn copy(
        accessor: &Accessor<T, Self>,
        store: String,
        source: String,
        destination: String,
    ) -> wasmtime::Result<Result<types::Info, types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let mut work = Work::begin(Kind::Client, || "blob copy".into());
        work.set("tessera.store", &*store);
        let result =
            work.run(async { grants.blobs(&store, true)?.copy(&Key::new(source)?, &Key::new(destination)?).await });
        Ok(result.await.map(to_guest).map_err(|error| refuse(&grants, "copy", &error)))
    }
}

fn to_guest(info: blob::Info) -> types::Info {
    types::Info {
        key: info.key.into(),
        size: info.size,
        sha256: info.sha256,
        etag: info.etag,
        created: info.created.0,
        content_type: info.content_type,
        metadata: info.metadata,
    }
}

fn refuse(grants: &Grants, call: &str, error: &Error) -> types::Error {
    log_cause(grants, call, error);
    match error {
        Error::NotFound(_) => types::Error::NotFound,
        Error::Conflict => types::Error::Conflict,
        Error::TooLarge(text) => types::Error::TooLarge(text.clone()),
        Error::Denied(_) => types::Error::Denied,
        Error::Invalid(text) => types::Error::Invalid(text.clone()),
        Error::Incomplete(text) => types::Error::Incomplete(text.clone()),
        Error::Unavailable { message, .. } => types::Error::Unavailable(message.clone()),
        _ => types::Error::Internal,
    }
}
