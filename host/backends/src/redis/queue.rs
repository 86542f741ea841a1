//! The queues: sorted sets and hashes changed by Lua scripts only.
//!
//! Not Redis Streams: a stream's consumer group has leases, but no time of its own for each (a retry
//! delay, a renewal), counts a lease that was given back, cannot hold a message back behind another
//! of its ordering key, and keeps a message that one group has not read in all of its past. So a
//! stream would carry the ids only, beside sets for everything else. Here `queue/common.lua` says
//! what the sets are, and every step from one to another is one script.
//!
//! Patterns are matched by the publisher, against the declaration it read last; the script refuses
//! if there is a newer one, and answers that. So a message goes to the groups of its own moment.
//!
//! Receivers wait for a word on a channel or for the next due time. If a word is lost with its
//! connection, or another receiver's lease ends early, they look again after [`FALLBACK`].

mod inspect;

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use redis::{Script, Value};
use serde::{Deserialize, Serialize};
use tessera_capability::queue::{
    Capabilities, DEDUPLICATION_WINDOW, DeadLetter, DeadLetters, Delivery, Depth, Failure, Group, GroupStatus,
    HeldPage, Message, MessageId, Part, Publication, Purge, QueueName, Receipt, Subscription, clip_reason,
};
use tessera_capability::time::Timestamp;
use tessera_capability::{Error, Result, queue};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::connection::Connection;
use super::reply::{Parts, found};

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("queue/common.lua"), include_str!($file))))
    };
}

static DECLARE: LazyLock<Script> = script!("queue/declare.lua");
static PUBLISH: LazyLock<Script> = script!("queue/publish.lua");
static RECEIVE: LazyLock<Script> = script!("queue/receive.lua");
static SETTLE: LazyLock<Script> = script!("queue/settle.lua");
static DEPTH: LazyLock<Script> = script!("queue/depth.lua");
static DEAD_LETTERS: LazyLock<Script> = script!("queue/dead_letters.lua");
static EACH_DEAD: LazyLock<Script> = script!("queue/each_dead.lua");
static DEAD_LETTER: LazyLock<Script> = script!("queue/dead_letter.lua");

static GROUPS: LazyLock<Script> = script!("queue/groups.lua");
static PAUSE: LazyLock<Script> = script!("queue/pause.lua");
static PEEK: LazyLock<Script> = script!("queue/peek.lua");
static PURGE: LazyLock<Script> = script!("queue/purge.lua");

/// After this time a waiting receiver looks for itself.
const FALLBACK: Duration = Duration::from_secs(1);
/// The most messages one call leases, and the most dead letters of a page.
const MAX_BATCH: usize = 1000;
/// An answer ends when its messages reach this many bytes.
const MAX_BYTES: &str = "4194304";
/// Times beyond this many milliseconds (100,000 years) are cut, so that Lua's doubles hold the sum.
const MAX_TIME: u128 = 100_000 * 365 * 86_400_000;

/// What is kept of a message besides what scripts look at.
#[derive(Serialize, Deserialize)]
struct Stored {
    queue: QueueName,
    message: Message,
}

/// The subscriptions as they were at the declaration of this number.
struct Declared {
    number: String,
    subscriptions: Vec<Subscription>,
}

impl Declared {
    fn parse(number: String, json: &str) -> Result<Arc<Self>> {
        let subscriptions =
            serde_json::from_str(json).map_err(|error| Error::internal("read the declared groups", error))?;
        Ok(Arc::new(Self { number, subscriptions }))
    }
}

/// What a receive call without waiting found.
struct Found {
    deliveries: Vec<Delivery>,
    /// When something becomes due that is not yet.
    due: Option<Duration>,
}

/// A namespace's queues.
pub(super) struct Broker {
    connection: Connection,
    prefix: String,
    channel: String,
    declared: Mutex<Arc<Declared>>,
    subscribed: OnceCell<()>,
}

impl Broker {
    pub(super) fn new(connection: Connection, namespace: &str) -> Self {
        let prefix = format!("{{{namespace}:queue}}");
        let declared = Declared { number: "0".into(), subscriptions: vec![] };
        Self {
            connection,
            channel: format!("{prefix}:wake"),
            prefix,
            declared: Mutex::new(Arc::new(declared)),
            subscribed: OnceCell::new(),
        }
    }

    async fn run(&self, script: &Script, doing: &str, arguments: &[&[u8]]) -> Result<Value> {
        self.connection.run(script, doing, &[&self.prefix], arguments).await
    }

    fn declared(&self) -> std::sync::MutexGuard<'_, Arc<Declared>> {
        self.declared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn settle(&self, group: &Group, receipt: &Receipt, verb: &[&[u8]]) -> Result<()> {
        let arguments = [&[group.as_str().as_bytes(), receipt.0.as_bytes()], verb].concat();
        if found(&self.run(&SETTLE, "settle a delivery", &arguments).await?)? { Ok(()) } else { Err(Error::Conflict) }
    }

    async fn try_receive(&self, group: &Group, max: usize, lease: Duration) -> Result<Found> {
        let (max, lease) = (max.min(MAX_BATCH).to_string(), milliseconds(lease));
        let arguments = [group.as_str().as_bytes(), max.as_bytes(), lease.as_bytes(), MAX_BYTES.as_bytes()];
        let mut parts = Parts::new(self.run(&RECEIVE, "receive", &arguments).await?)?;
        if parts.text()? != "ok" {
            return Err(undeclared(group));
        }
        let due = Some(parts.text()?).filter(|due| !due.is_empty());
        let due = due.map(|due| due.parse()).transpose().map_err(|error| Error::internal("read a due time", error))?;
        let deliveries = parts.array()?.map(|delivery| read_delivery(delivery?)).collect::<Result<_>>()?;
        Ok(Found { deliveries, due: due.map(Duration::from_millis) })
    }

    async fn dead_letter(&self, group: &Group, id: &MessageId, verb: &str) -> Result<()> {
        let arguments = [group.as_str().as_bytes(), id.0.as_bytes(), verb.as_bytes()];
        if found(&self.run(&DEAD_LETTER, verb, &arguments).await?)? {
            return Ok(());
        }
        Err(Error::NotFound(format!("the group `{group}` has no such dead letter")))
    }
}

fn undeclared(group: &Group) -> Error {
    Error::NotFound(format!("the group `{group}` was never declared"))
}

fn milliseconds(duration: Duration) -> String {
    duration.as_nanos().div_ceil(1_000_000).min(MAX_TIME).to_string()
}

fn stored(body: &[u8]) -> Result<Stored> {
    postcard::from_bytes(body).map_err(|error| Error::internal("read a message", error))
}

fn read_delivery(mut parts: Parts) -> Result<Delivery> {
    let receipt = Receipt(parts.text()?);
    let id = MessageId(parts.text()?);
    let attempt = parts.number()?;
    let first_published = Timestamp(parts.number()?);
    let Stored { queue, message } = stored(&parts.bytes()?)?;
    Ok(Delivery { receipt, id, queue, message, attempt, first_published })
}

fn read_dead_letter(mut parts: Parts) -> Result<(String, DeadLetter)> {
    let death = parts.text()?;
    let id = MessageId(parts.text()?);
    let first_published = Timestamp(parts.number()?);
    let died = Timestamp(parts.number()?);
    let attempts = parts.number()?;
    let reason = parts.text()?;
    let Stored { queue, message } = stored(&parts.bytes()?)?;
    let mut failures = parts.array()?;
    let mut history = Vec::new();
    while !failures.is_empty() {
        let attempt = failures.number()?;
        let at = Timestamp(failures.number()?);
        history.push(Failure { attempt, at, reason: failures.text()? });
    }
    Ok((death, DeadLetter { id, queue, message, first_published, died, attempts, reason, history }))
}

#[async_trait]
impl queue::Broker for Broker {
    fn capabilities(&self) -> Capabilities {
        Capabilities { ordering: true, delay: true, deduplication: true }
    }

    async fn declare(&self, subscriptions: &[Subscription]) -> Result<()> {
        let json =
            serde_json::to_vec(subscriptions).map_err(|error| Error::internal("write the declared groups", error))?;
        let groups = subscriptions.iter().map(|subscription| subscription.group.as_str().as_bytes());
        let arguments: Vec<&[u8]> = std::iter::once(&json[..]).chain(groups).collect();
        self.run(&DECLARE, "declare", &arguments).await?;
        Ok(())
    }

    async fn subscribed(&self, queue: &QueueName) -> Result<bool> {
        let (number, declared) = (format!("{}:declaration", self.prefix), format!("{}:declared", self.prefix));
        let (Some(number), Some(json)) = self.connection.get_both(&number, &declared).await? else {
            return Ok(false);
        };
        let declared = Declared::parse(number, &json)?;
        Ok(declared.subscriptions.iter().any(|subscription| subscription.matches(queue)))
    }

    async fn publish(&self, publication: Publication) -> Result<MessageId> {
        let Publication { queue, message, id } = publication;
        let id = id.unwrap_or_else(|| MessageId(format!("{:032x}", rand::random::<u128>())));
        let deduplication_id = message.deduplication_id.clone().unwrap_or_default();
        let ordering_key = message.ordering_key.clone().unwrap_or_default();
        let not_before =
            message.not_before.map(|time| u128::from(time.0).min(MAX_TIME).to_string()).unwrap_or_default();
        let window = DEDUPLICATION_WINDOW.as_millis().to_string();
        let body = postcard::to_stdvec(&Stored { queue: queue.clone(), message })
            .map_err(|error| Error::internal("write a message", error))?;
        loop {
            let declared = self.declared().clone();
            let groups: Vec<(&str, String)> = declared
                .subscriptions
                .iter()
                .filter(|subscription| subscription.matches(&queue))
                .map(|subscription| (subscription.group.as_str(), subscription.max_depth.to_string()))
                .collect();
            let mut arguments = vec![
                declared.number.as_bytes(),
                id.0.as_bytes(),
                queue.as_str().as_bytes(),
                deduplication_id.as_bytes(),
                ordering_key.as_bytes(),
                not_before.as_bytes(),
                &body,
                window.as_bytes(),
            ];
            for (group, max_depth) in &groups {
                arguments.extend([group.as_bytes(), max_depth.as_bytes()]);
            }
            let mut parts = Parts::new(self.run(&PUBLISH, "publish", &arguments).await?)?;
            match parts.text()?.as_str() {
                "ok" => return Ok(MessageId(parts.text()?)),
                "not found" => return Err(Error::NotFound(format!("no group subscribes to `{queue}`"))),
                "full" => return Err(Error::Full(format!("the group `{}` is at its depth limit", parts.text()?))),
                _ => {
                    let number = parts.text()?;
                    let json = parts.text()?;
                    *self.declared() = Declared::parse(number, &json)?;
                }
            }
        }
    }

    async fn receive(&self, group: &Group, max: usize, lease: Duration, wait: Duration) -> Result<Vec<Delivery>> {
        if max == 0 {
            return Ok(vec![]);
        }
        let start = Instant::now();
        self.subscribed.get_or_try_init(|| self.connection.subscribe(&self.channel)).await?;
        let mut wakeup = self.connection.wakeups().of(&self.channel, group.as_str());
        loop {
            let Found { deliveries, due } = self.try_receive(group, max, lease).await?;
            let left = wait.saturating_sub(start.elapsed());
            if !deliveries.is_empty() || left.is_zero() {
                return Ok(deliveries);
            }
            let pause = due.unwrap_or(FALLBACK).min(FALLBACK).min(left);
            tokio::select! {
                _ = wakeup.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn renew(&self, group: &Group, receipt: &Receipt, lease: Duration) -> Result<()> {
        self.settle(group, receipt, &[b"renew", milliseconds(lease).as_bytes()]).await
    }

    async fn acknowledge(&self, group: &Group, receipt: &Receipt) -> Result<()> {
        self.settle(group, receipt, &[b"acknowledge"]).await
    }

    async fn retry(&self, group: &Group, receipt: &Receipt, delay: Duration, reason: &str) -> Result<()> {
        let delay = milliseconds(delay);
        self.settle(group, receipt, &[b"retry", delay.as_bytes(), clip_reason(reason).as_bytes()]).await
    }

    async fn release(&self, group: &Group, receipt: &Receipt) -> Result<()> {
        self.settle(group, receipt, &[b"release"]).await
    }

    async fn bury(&self, group: &Group, receipt: &Receipt, reason: &str) -> Result<()> {
        self.settle(group, receipt, &[b"bury", clip_reason(reason).as_bytes()]).await
    }

    async fn depth(&self, group: &Group) -> Result<Depth> {
        let mut parts = Parts::new(self.run(&DEPTH, "count a group", &[group.as_str().as_bytes()]).await?)?;
        let (ready, delayed) = (parts.number()?, parts.number()?);
        let (in_flight, dead) = (parts.number()?, parts.number()?);
        Ok(Depth { ready, delayed, in_flight, dead, oldest: parts.number().ok().map(Timestamp) })
    }

    async fn dead_letters(&self, group: &Group, cursor: Option<&str>, limit: usize) -> Result<DeadLetters> {
        let after: u64 = cursor
            .map_or(Ok(0), str::parse)
            .map_err(|_| Error::Invalid("the cursor is not one that a page of dead letters gave".into()))?;
        let (after, limit) = (after.to_string(), limit.clamp(1, MAX_BATCH).to_string());
        let arguments = [group.as_str().as_bytes(), after.as_bytes(), limit.as_bytes(), MAX_BYTES.as_bytes()];
        let mut parts = Parts::new(self.run(&DEAD_LETTERS, "list dead letters", &arguments).await?)?;
        let more = parts.text()? == "1";
        let (mut letters, mut last) = (Vec::new(), None);
        for letter in parts {
            let (death, letter) = read_dead_letter(letter?)?;
            letters.push(letter);
            last = Some(death);
        }
        Ok(DeadLetters { letters, cursor: last.filter(|_| more) })
    }

    async fn replay(&self, group: &Group, id: &MessageId) -> Result<()> {
        self.dead_letter(group, id, "replay").await
    }

    async fn replay_all(&self, group: &Group) -> Result<u64> {
        self.each_dead(group, "replay").await
    }

    async fn delete_dead_letter(&self, group: &Group, id: &MessageId) -> Result<()> {
        self.dead_letter(group, id, "delete").await
    }

    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        self.group_statuses().await
    }

    async fn peek(&self, group: &Group, part: Part, cursor: Option<&str>, limit: usize) -> Result<HeldPage> {
        self.held_page(group, part, cursor, limit).await
    }

    async fn purge(&self, group: &Group, what: Purge) -> Result<u64> {
        let messages = if what.messages() { self.purge_messages(group).await? } else { 0 };
        let dead_letters = if what.dead_letters() { self.each_dead(group, "delete").await? } else { 0 };
        Ok(messages.saturating_add(dead_letters))
    }

    async fn pause(&self, group: &Group) -> Result<()> {
        self.set_paused(group, "pause").await
    }

    async fn resume(&self, group: &Group) -> Result<()> {
        self.set_paused(group, "resume").await
    }
}
