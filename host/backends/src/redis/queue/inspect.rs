//! What an operator does to groups: looking without leasing, emptying, pausing. A script that looks
//! at all of a group would hold up the server, so each looks at [`SCAN`] messages.

use std::collections::{BTreeMap, BTreeSet};

use redis::Script;
use tessera_capability::queue::{
    Broker as _, Group, GroupStatus, Held, HeldPage, MessageId, Part, Subscription, Waits,
};
use tessera_capability::time::Timestamp;
use tessera_capability::{Error, Result};

use super::{Broker, EACH_DEAD, GROUPS, MAX_BATCH, MAX_BYTES, PAUSE, PEEK, PURGE, Stored, found, stored, undeclared};
use crate::redis::reply::Parts;

/// How many messages one script looks at.
const SCAN: &str = "1000";

impl Broker {
    pub(super) async fn group_statuses(&self) -> Result<Vec<GroupStatus>> {
        let mut parts = Parts::new(self.run(&GROUPS, "list the groups", &[]).await?)?;
        let declared: Vec<Subscription> =
            serde_json::from_str(&parts.text()?).map_err(|error| Error::internal("read the declared groups", error))?;
        let mut declared: BTreeMap<Group, Subscription> =
            declared.into_iter().map(|subscription| (subscription.group.clone(), subscription)).collect();
        let (mut known, mut paused) = (BTreeSet::new(), BTreeSet::new());
        for part in parts.array()? {
            let mut part = part?;
            let group: Group = part.text()?.parse()?;
            if part.text()? == "1" {
                paused.insert(group.clone());
            }
            known.insert(group);
        }
        let mut statuses = Vec::new();
        for group in known {
            let depth = self.depth(&group).await?;
            let (subscription, paused) = (declared.remove(&group), paused.contains(&group));
            if subscription.is_some() || paused || depth.dead > 0 || depth.oldest.is_some() {
                statuses.push(GroupStatus { group, subscription, paused, depth });
            }
        }
        Ok(statuses)
    }

    pub(super) async fn held_page(
        &self,
        group: &Group,
        part: Part,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<HeldPage> {
        let part: &[u8] = match part {
            Part::Ready => b"ready",
            Part::Delayed => b"delayed",
            Part::InFlight => b"leased",
        };
        let mut after: u64 = cursor
            .map_or(Ok(0), str::parse)
            .map_err(|_| Error::Invalid("the cursor is not one that a page of messages gave".into()))?;
        let limit = limit.clamp(1, MAX_BATCH);
        let max_bytes = MAX_BYTES.parse().unwrap_or(usize::MAX);
        let (mut page, mut bytes) = (HeldPage::default(), 0_usize);
        loop {
            let (from, left) = (after.to_string(), limit.saturating_sub(page.messages.len()).to_string());
            let arguments = [group.as_str().as_bytes(), part, from.as_bytes(), left.as_bytes()];
            let arguments = [&arguments[..], &[MAX_BYTES.as_bytes(), SCAN.as_bytes()]].concat();
            let mut parts = Parts::new(self.run(&PEEK, "look at a group", &arguments).await?)?;
            if parts.text()? != "ok" {
                return Err(undeclared(group));
            }
            let next = parts.text()?;
            for held in parts.array()? {
                let (held, size) = read_held(held?)?;
                bytes = bytes.saturating_add(size);
                page.messages.push(held);
            }
            if next.is_empty() {
                return Ok(page);
            }
            if page.messages.len() >= limit || bytes >= max_bytes {
                page.cursor = Some(next);
                return Ok(page);
            }
            after = next.parse().map_err(|error| Error::internal("read a cursor", error))?;
        }
    }

    pub(super) async fn purge_messages(&self, group: &Group) -> Result<u64> {
        self.in_steps(&PURGE, "purge a group", &[group.as_str().as_bytes()], group).await
    }

    /// Replays or deletes all dead letters.
    pub(super) async fn each_dead(&self, group: &Group, verb: &str) -> Result<u64> {
        self.in_steps(&EACH_DEAD, verb, &[group.as_str().as_bytes(), verb.as_bytes()], group).await
    }

    /// Runs a script on [`SCAN`] messages at a time, each time from where it says that it ended, until it has been
    /// through the whole group; answers how many it did something to.
    async fn in_steps(&self, script: &Script, doing: &str, to: &[&[u8]], group: &Group) -> Result<u64> {
        let (mut after, mut last, mut sum) = ("0".to_owned(), String::new(), 0_u64);
        loop {
            let arguments = [to, &[after.as_bytes(), last.as_bytes(), SCAN.as_bytes()]].concat();
            let mut parts = Parts::new(self.run(script, doing, &arguments).await?)?;
            if parts.text()? != "ok" {
                return Err(undeclared(group));
            }
            sum = sum.saturating_add(parts.number()?);
            (after, last) = (parts.text()?, parts.text()?);
            if after.is_empty() {
                return Ok(sum);
            }
        }
    }

    pub(super) async fn set_paused(&self, group: &Group, verb: &str) -> Result<()> {
        let answer = self.run(&PAUSE, verb, &[group.as_str().as_bytes(), verb.as_bytes()]).await?;
        if found(&answer)? { Ok(()) } else { Err(undeclared(group)) }
    }
}

/// A message, and how many bytes are stored of it.
fn read_held(mut parts: Parts) -> Result<(Held, usize)> {
    let id = MessageId(parts.text()?);
    let attempts = parts.number()?;
    let first_published = Timestamp(parts.number()?);
    let (waits, until) = (parts.text()?, parts.text()?);
    let until = Timestamp(until.parse().unwrap_or_default());
    let waits = match (waits.as_str(), attempts) {
        ("leased", _) => Waits::Leased(until),
        ("time", 0) => Waits::NotBefore(until),
        ("time", _) => Waits::Retry(until),
        ("behind", _) => Waits::Behind,
        _ => Waits::Ready,
    };
    let body = parts.bytes()?;
    let Stored { queue, message } = stored(&body)?;
    Ok((Held { id, queue, message, attempts, first_published, waits }, body.len()))
}
