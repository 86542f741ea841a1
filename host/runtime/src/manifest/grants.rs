//! `[component.X.tool.tessera]`: grants, consumers and limits.

use std::collections::BTreeMap;

use bytesize::ByteSize;
use tessera_capability::queue::Pattern;
use toml::Spanned;

use super::check::Check;
use super::{BlobAccess, Consume, Limits, MailGrant, names, queues, wire};

/// The table's valid form.
#[derive(Default)]
pub(super) struct Grants {
    pub(super) blob_stores: BTreeMap<String, BlobAccess>,
    pub(super) publish: Vec<Pattern>,
    pub(super) mail: Option<MailGrant>,
    pub(super) consume: Vec<Consume>,
    pub(super) limits: Limits,
    pub(super) reuse: bool,
}

/// The most instances of one component that may work at the same time.
const MAX_CONCURRENCY: i64 = 100_000;
/// All that 32-bit Wasm can address.
const MAX_MEMORY: u64 = 4 << 30;
/// Less than any program's stack and data need.
const MIN_MEMORY: u64 = 1 << 20;

pub(super) fn read(
    check: &mut Check,
    id: &Spanned<String>,
    table: Option<wire::Tessera>,
    publications: &mut queues::Publications,
) -> Grants {
    let Some(table) = table else { return Grants { reuse: true, ..Grants::default() } };
    let mut blob_stores = BTreeMap::new();
    for (label, access) in table.blob_stores {
        check.named("a store", label.span(), label.get_ref(), names::label);
        let access = match access {
            wire::BlobAccess::Read => BlobAccess::Read,
            wire::BlobAccess::ReadWrite => BlobAccess::ReadWrite,
        };
        blob_stores.insert(label.into_inner(), access);
    }
    Grants {
        blob_stores,
        publish: queues::publish(check, id, table.publish, publications),
        mail: table.mail.and_then(|mail| mail_grant(check, mail)),
        consume: queues::consume(check, id, table.consume),
        limits: limits(check, table.limits),
        reuse: table.reuse.unwrap_or(true),
    }
}

fn mail_grant(check: &mut Check, mail: wire::Mail) -> Option<MailGrant> {
    let senders = match mail {
        wire::Mail::Switch(false) => return None,
        wire::Mail::Switch(true) => return Some(MailGrant::default()),
        wire::Mail::Senders(table) => table.from,
    };
    let mut from = Vec::new();
    for sender in senders {
        let parts = sender.get_ref().rsplit_once('@');
        let plain = !sender.get_ref().contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>'));
        if !plain || parts.is_none_or(|(local, domain)| local.is_empty() || domain.is_empty()) {
            check.error(sender.span(), format!("`{sender}` is not a mail address"), "write `local@domain`");
        }
        from.push(sender.into_inner());
    }
    Some(MailGrant { from })
}

fn limits(check: &mut Check, limits: wire::Limits) -> Limits {
    let default = Limits::default();
    Limits {
        memory: limits.memory.map_or(default.memory, |memory| size(check, &memory).unwrap_or(default.memory)),
        timeout: check.duration(limits.timeout, default.timeout),
        concurrency: check.number(limits.concurrency, MAX_CONCURRENCY, default.concurrency),
    }
}

fn size(check: &mut Check, text: &Spanned<String>) -> Option<usize> {
    match text.get_ref().parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if (MIN_MEMORY..=MAX_MEMORY).contains(&bytes) => usize::try_from(bytes).ok(),
        Ok(_) => {
            check.error(text.span(), format!("`{text}` is out of range"), "give 1MiB to 4GiB");
            None
        }
        Err(_) => {
            let message = format!("`{text}` is not a size");
            check.error(text.span(), message, "write a number and a unit, such as \"64MiB\" or \"1GiB\"");
            None
        }
    }
}
