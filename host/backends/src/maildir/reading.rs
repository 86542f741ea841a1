//! Reading the outbox: what `new` and `cur` have, whoever put it there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use mail_parser::{Address, HeaderName, MessageParser};
use tessera_capability::mail::{self, MAX_RAW, Summaries, Summary};
use tessera_capability::time::Timestamp;
use tessera_capability::{Error, Result};

use super::{ENVELOPE, Outbox, failed};

/// The most messages of a page.
const MAX_PAGE: usize = 500;
/// The longest unique part of a file's name: systems allow 255 bytes, with flags behind it.
const MAX_ID: usize = 240;
/// How much of a file is read for a listing: more than the headers of most messages.
const HEADERS: u64 = 64 << 10;

/// A message's place in a listing; greater ones come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    sent: Timestamp,
    id: String,
}

impl Place {
    fn cursor(&self) -> String {
        format!("{:x}-{}", self.sent.0, self.id)
    }

    fn parse(cursor: &str) -> Result<Self> {
        let parts = cursor.split_once('-').and_then(|(sent, id)| Some((u64::from_str_radix(sent, 16).ok()?, id)));
        match parts {
            Some((sent, id)) if is_id(id) => Ok(Self { sent: Timestamp(sent), id: id.to_owned() }),
            _ => Err(Error::Invalid("the cursor is not one that a page of messages gave".into())),
        }
    }
}

/// True for what may be the unique part of a file's name in a maildir: no path, nothing hidden.
fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && !id.starts_with('.')
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.,=+@%".contains(&byte))
}

#[async_trait]
impl mail::Outbox for Outbox {
    async fn list(&self, cursor: Option<&str>, limit: usize) -> Result<Summaries> {
        let before = cursor.map(Place::parse).transpose()?;
        let dir = self.inner.dir.clone();
        let list = move || list(&dir, before.as_ref(), limit.clamp(1, MAX_PAGE));
        blocking("list the outbox", list).await
    }

    async fn read(&self, id: &str) -> Result<Bytes> {
        let (dir, id) = (self.inner.dir.clone(), id.to_owned());
        let found = blocking("read the outbox", move || read(&dir, &id)).await?;
        found.unwrap_or_else(|| Err(Error::NotFound("the outbox has no such message".into())))
    }
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| failed(what, error)),
        Err(error) => Err(Error::internal(what, error)),
    }
}

/// Passes over what has gone since its directory was read: programs move and delete messages.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The files with messages, with their ids.
fn files(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<(String, PathBuf)>>> {
    let both = fs::read_dir(dir.join("new"))?.chain(fs::read_dir(dir.join("cur"))?);
    Ok(both.filter_map(|entry| match entry {
        Ok(entry) => {
            let name = entry.file_name();
            let id = name.to_str()?.split(':').next().filter(|id| is_id(id))?;
            Some(Ok((id.to_owned(), entry.path())))
        }
        Err(error) => Some(Err(error)),
    }))
}

fn list(dir: &Path, before: Option<&Place>, limit: usize) -> io::Result<Summaries> {
    // Never more than the page and one, however many messages there are.
    let mut latest: BTreeSet<(Place, PathBuf)> = BTreeSet::new();
    for file in files(dir)? {
        let (id, path) = file?;
        let Some(metadata) = if_there(fs::metadata(&path))?.filter(fs::Metadata::is_file) else { continue };
        let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let place = Place { sent: Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)), id };
        if before.is_none_or(|before| place < *before) {
            latest.insert((place, path));
        }
        if latest.len() > limit.saturating_add(1) {
            latest.pop_first();
        }
    }
    let more = latest.len() > limit;
    let mut page = Summaries::default();
    let mut last = None;
    for (place, path) in latest.into_iter().rev().take(limit) {
        if let Some(summary) = summary(&path, &place)? {
            page.messages.push(summary);
        }
        last = Some(place);
    }
    page.cursor = last.filter(|_| more).map(|place| place.cursor());
    Ok(page)
}

fn summary(path: &Path, place: &Place) -> io::Result<Option<Summary>> {
    let Some(file) = if_there(File::open(path))? else { return Ok(None) };
    let size = file.metadata()?.len();
    let mut start = Vec::new();
    file.take(HEADERS).read_to_end(&mut start)?;
    let headers = MessageParser::default().parse_headers(&start);
    let headers = headers.as_ref();
    let from = headers.and_then(|headers| headers.from()).and_then(Address::first).map(|from| {
        let address = from.address().unwrap_or_default();
        from.name().map_or_else(|| address.to_owned(), |name| format!("{name} <{address}>"))
    });
    let envelope = headers.and_then(|headers| headers.header_raw(HeaderName::Other(ENVELOPE.into())));
    let to = match envelope {
        Some(envelope) => envelope.split(',').map(|address| address.trim().to_owned()).collect(),
        // Another program's.
        None => headers
            .and_then(|headers| headers.to())
            .into_iter()
            .flat_map(Address::iter)
            .filter_map(|to| to.address().map(str::to_owned))
            .collect(),
    };
    let subject = headers.and_then(|headers| headers.subject()).unwrap_or_default().to_owned();
    let Place { sent, id } = place.clone();
    Ok(Some(Summary { id, sent, from: from.unwrap_or_default(), to, subject, size }))
}

/// The message, or what is wrong with it; none if there is none.
fn read(dir: &Path, id: &str) -> io::Result<Option<Result<Bytes>>> {
    if !is_id(id) {
        return Ok(None);
    }
    // Where the outbox puts it; else some program has moved it, and its name has flags.
    let mut file = if_there(File::open(dir.join("new").join(id)))?;
    if file.is_none() {
        for found in files(dir)? {
            let (found, path) = found?;
            if found == id
                && let Some(open) = if_there(File::open(path))?
            {
                file = Some(open);
                break;
            }
        }
    }
    let Some(file) = file else { return Ok(None) };
    let mut text = Vec::new();
    file.take(MAX_RAW.saturating_add(1)).read_to_end(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_RAW {
        return Ok(Some(Err(Error::TooLarge(format!("the message has more than {MAX_RAW} bytes")))));
    }
    Ok(Some(Ok(with_line_ends(&text).into())))
}

/// A text whose lines end as mail's do.
fn with_line_ends(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().saturating_add(text.len() / 32));
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_path() {
        for id in ["0123abcd", "1700000000.M1P2.host,S=12"] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", ".", "..", "../new/x", "a/b", ".lock", "a b", "a\0", "é", "a:2,S", &"x".repeat(300)] {
            assert!(!is_id(id), "{id}");
        }
    }

    #[test]
    fn lines_end_in_crlf_once() {
        assert_eq!(with_line_ends(b"a\nb\r\n\nc"), b"a\r\nb\r\n\r\nc");
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let place = Place { sent: Timestamp(u64::MAX), id: "a-b".into() };
        assert_eq!(Place::parse(&place.cursor()).unwrap(), place);
        for bad in ["", "1", "x-a", "1-", "1-a/b"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}
