//! The video and the MP3 in their blob stores.

use std::future::Future;

use messages::names;
use wit_bindgen::{FutureWriter, StreamResult, StreamWriter};

use super::bindings::tessera::blob::store as blob;
use super::bindings::tessera::blob::types::{ByteRange, Error, Info, PutOptions};
use super::bindings::{wit_future, wit_stream};
use super::{CHUNK, Stop};
use crate::convert::Head;
use crate::source::{Fault, ReadAt};

/// An upload, for reading.
#[derive(Clone)]
pub(super) struct Video {
    key: String,
    size: u64,
}

impl Video {
    /// The video; none if there is none.
    pub(super) fn open(key: &str) -> Result<Option<Self>, Stop> {
        match blob::head(names::VIDEOS, key) {
            Ok(info) => Ok(Some(Self { key: key.into(), size: info.size })),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(stop(names::VIDEOS, &error)),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.size
    }
}

impl ReadAt for Video {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, Fault> {
        blob::read_at(names::VIDEOS, &self.key, offset, length).map_err(|error| match error {
            Error::NotFound => Fault::Missing,
            error => Fault::Temporary(describe(names::VIDEOS, &error)),
        })
    }
}

/// An object of the store `mp3s` on its way; dropped before [`Upload::complete`] it leaves nothing.
pub(super) struct Upload {
    body: StreamWriter<u8>,
    completion: FutureWriter<Result<(), String>>,
}

impl Upload {
    /// Starts one. The future stores it, and has to be awaited together with the writing.
    pub(super) fn begin(key: String) -> (Self, impl Future<Output = Result<Info, Stop>>) {
        let (body, reader) = wit_stream::new();
        let (completion, completed) = wit_future::new(|| Err("the conversion stopped".to_owned()));
        let options = PutOptions {
            content_type: Some("audio/mpeg".into()),
            metadata: Vec::new(),
            if_absent: false,
            max_size: None,
        };
        let put = async move {
            let stored = blob::put(names::MP3S.into(), key, options, reader, completed).await;
            stored.map_err(|error| stop(names::MP3S, &error))
        };
        (Self { body, completion }, put)
    }

    /// Writes all of it. False if the store takes no more.
    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> bool {
        bytes.is_empty() || self.body.write_all(bytes).await.is_empty()
    }

    /// Ends the object. False if the store had given up on it.
    pub(super) async fn complete(self) -> bool {
        drop(self.body);
        self.completion.write(Ok(())).await.is_ok()
    }
}

/// Stores the finished MP3: its head and what follows that in the parts. Answers its size. `look` is called again and
/// again, and can stop it.
pub(super) async fn assemble(
    parts: &[String],
    key: &str,
    head: Head,
    mut look: impl FnMut() -> Result<(), Stop>,
) -> Result<u64, Stop> {
    let (mut upload, stored) = Upload::begin(key.to_owned());
    let copy = async move {
        let mut offset = head.replaces as u64;
        if !upload.write(head.bytes).await {
            return Ok(());
        }
        for part in parts {
            let range = ByteRange { offset: std::mem::take(&mut offset), length: None };
            let opened = blob::get(names::MP3S, part, Some(range));
            let (_, mut frames, complete) = opened.map_err(|error| stop(names::MP3S, &error))?;
            let mut ended = false;
            while !ended {
                let (result, read) = frames.read(Vec::with_capacity(CHUNK)).await;
                ended = !matches!(result, StreamResult::Complete(_));
                if !upload.write(read).await {
                    return Ok(());
                }
                look()?;
            }
            complete.await.map_err(|error| stop(names::MP3S, &error))?;
        }
        upload.complete().await;
        Ok::<(), Stop>(())
    };
    // If the store stopped taking it, it says why.
    let (copied, stored) = futures::join!(copy, stored);
    copied?;
    Ok(stored?.size)
}

/// Deletes an object of the store `mp3s`. A leftover does no harm, so a failure is only noted.
pub(super) fn delete(key: &str) {
    if let Err(error) = blob::delete(names::MP3S, key) {
        eprintln!("cannot delete `{key}`: {}", describe(names::MP3S, &error));
    }
}

fn stop(store: &str, error: &Error) -> Stop {
    Stop::Retry(describe(store, error))
}

fn describe(store: &str, error: &Error) -> String {
    format!("store `{store}`: {error:?}")
}
