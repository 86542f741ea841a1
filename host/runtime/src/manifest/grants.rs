//! `[component.X.tool.tessera]`: grants, consumers and limits.

use std::collections::BTreeMap;

use tessera_capability::queue::Pattern;
use toml::Spanned;

use super::check::Check;
use super::{BlobAccess, Consume, Limits, MailGrant, Reuse, limits, names, queues, wire};

/// The table's valid form.
#[derive(Default)]
pub(super) struct Grants {
    pub(super) blob_stores: BTreeMap<String, BlobAccess>,
    pub(super) publish: Vec<Pattern>,
    pub(super) mail: Option<MailGrant>,
    pub(super) consume: Vec<Consume>,
    pub(super) limits: Limits,
    pub(super) reuse: Option<Reuse>,
}

pub(super) fn read(
    check: &mut Check,
    id: &Spanned<String>,
    table: Option<wire::Tessera>,
    publications: &mut queues::Publications,
) -> Grants {
    let Some(table) = table else { return Grants::default() };
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
        limits: limits::limits(check, table.limits),
        reuse: limits::reuse(check, table.reuse),
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
