//! The embedded engine after `kill -9` while an operator purges, replays and pauses: what was
//! answered is done, and what was not is done or not, each of its steps whole.
//!
//! A group's purge or replay goes in steps of [`STEP`] messages, which is as far as "whole" goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tessera_capability::queue::{Broker, DeadLetter, Group, Held, Part, Purge, Subscription};

use crate::embedded_crash::{DIR, LEASE, group, open, publication, report, run_and_kill};

/// Children at least, and at most if not everything was seen by then.
const ROUNDS: u32 = 10;
const MOST_ROUNDS: u32 = 40;
/// What some child has to have come to.
const DONE: [&str; 5] = ["messages done", "letters done", "replayed done", "paused yes", "paused no"];
/// So many messages are purged or replayed at a time: two whole steps and a part of one.
const COUNT: usize = 1200;
/// The engine's.
const STEP: usize = 500;
/// What is purged, and from which group.
const PURGED: [(&str, Purge); 2] = [("messages", Purge::Messages), ("letters", Purge::DeadLetters)];

async fn declare(broker: &dyn Broker) {
    let subscription =
        |name: &str| Subscription { group: group(name), patterns: vec![name.parse().unwrap()], max_depth: 1_000_000 };
    broker.declare(&["messages", "letters", "replayed", "paused"].map(subscription)).await.unwrap();
}

async fn publish(broker: &dyn Broker, queue: &str, count: usize) {
    let published = join_all((0..count).map(|number| broker.publish(publication(queue, number.to_string())))).await;
    published.into_iter().for_each(|published| _ = published.unwrap());
}

async fn bury(broker: &dyn Broker, group: &Group) {
    loop {
        let deliveries = broker.receive(group, 1000, LEASE, Duration::ZERO).await.unwrap();
        if deliveries.is_empty() {
            return;
        }
        let buried =
            join_all(deliveries.iter().map(|delivery| broker.bury(group, &delivery.receipt, "hopeless"))).await;
        buried.into_iter().for_each(|buried| buried.unwrap());
    }
}

/// The child's side; no test of its own.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let broker = open(Path::new(&dir)).broker();
        report("# ready");
        let [messages, letters] = PURGED.map(|(name, what)| purge(Arc::clone(&broker), name, what));
        tokio::join!(messages, letters, replay(Arc::clone(&broker)), pause(broker));
    });
}

/// Fills a group and purges it.
async fn purge(broker: Arc<dyn Broker>, name: &str, what: Purge) {
    let group = group(name);
    loop {
        report(&format!("# {name} filling"));
        // What a process before this one has left.
        broker.purge(&group, Purge::All).await.unwrap();
        publish(&*broker, name, COUNT).await;
        if what == Purge::DeadLetters {
            bury(&*broker, &group).await;
        }
        report(&format!("# {name} purging"));
        assert_eq!(broker.purge(&group, what).await.unwrap(), COUNT as u64);
        report(&format!("# {name} done"));
    }
}

/// Buries a group's messages and delivers them again, one and then the others.
async fn replay(broker: Arc<dyn Broker>) {
    let group = group("replayed");
    loop {
        report("# replayed burying");
        bury(&*broker, &group).await;
        let letter = broker.dead_letters(&group, None, 1).await.unwrap().letters.remove(0);
        report("# replayed one");
        broker.replay(&group, &letter.id).await.unwrap();
        report("# replayed all");
        assert_eq!(broker.replay_all(&group).await.unwrap(), COUNT as u64 - 1);
        report("# replayed done");
    }
}

/// Pauses a group and ends the pause.
async fn pause(broker: Arc<dyn Broker>) {
    let group = group("paused");
    loop {
        report("# paused pausing");
        broker.pause(&group).await.unwrap();
        report("# paused yes");
        report("# paused resuming");
        broker.resume(&group).await.unwrap();
        report("# paused no");
    }
}

async fn ready(broker: &dyn Broker, group: &Group) -> Vec<Held> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = broker.peek(group, Part::Ready, cursor.as_deref(), 1000).await.unwrap();
        found.extend(page.messages);
        cursor = page.cursor;
        if cursor.is_none() {
            return found;
        }
    }
}

async fn dead(broker: &dyn Broker, group: &Group) -> Vec<DeadLetter> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = broker.dead_letters(group, cursor.as_deref(), 1000).await.unwrap();
        found.extend(page.letters);
        cursor = page.cursor;
        if cursor.is_none() {
            return found;
        }
    }
}

/// What a group holds, in which its listings and its depth agree.
async fn held(broker: &dyn Broker, group: &Group) -> (Vec<Held>, Vec<DeadLetter>) {
    let (ready, dead) = (ready(broker, group).await, dead(broker, group).await);
    let depth = broker.depth(group).await.unwrap();
    let counted = [depth.ready, depth.delayed, depth.in_flight, depth.dead];
    assert_eq!(counted, [ready.len() as u64, 0, 0, dead.len() as u64], "{group}");
    let ids: BTreeSet<_> = ready.iter().map(|held| &held.id).chain(dead.iter().map(|letter| &letter.id)).collect();
    assert_eq!(ids.len(), ready.len() + dead.len(), "{group}: a message is there twice");
    (ready, dead)
}

/// Whether so many of `from` are left when some steps were done, or all.
fn is_whole(left: usize, from: usize) -> bool {
    left == 0 || (left <= from && (from - left).is_multiple_of(STEP))
}

/// Compares the store with the last report about each group.
async fn verify(broker: &dyn Broker, last: &BTreeMap<String, String>) {
    let last = |name: &str| last.get(name).map(String::as_str);
    for (name, what) in PURGED {
        let (ready, dead) = held(broker, &group(name)).await;
        let (purged, others) = match what {
            Purge::DeadLetters => (dead.len(), ready.len()),
            _ => (ready.len(), dead.len()),
        };
        match last(name) {
            Some("purging") => assert!(others == 0 && is_whole(purged, COUNT), "{name}: {purged} and {others}"),
            Some("done") => assert_eq!((purged, others), (0, 0), "{name}"),
            _ => assert!(purged + others <= COUNT, "{name}: {purged} and {others}"),
        }
    }

    let (ready, dead) = held(broker, &group("replayed")).await;
    let bodies = ready.iter().map(|held| &held.message).chain(dead.iter().map(|letter| &letter.message));
    let bodies: BTreeSet<_> = bodies.map(|message| message.body.clone()).collect();
    assert_eq!((bodies.len(), ready.len() + dead.len()), (COUNT, COUNT), "each message is dead or alive");
    let left = dead.len();
    let right = match last("replayed") {
        Some("one") => left == COUNT || left == COUNT - 1,
        Some("all") => is_whole(left, COUNT - 1),
        Some("done") => left == 0,
        _ => true,
    };
    assert!(right, "{left} are dead after {:?}", last("replayed"));
    assert!(dead.iter().all(|letter| letter.attempts > 0 && letter.reason == "hopeless" && !letter.history.is_empty()));
    if let Some("one" | "all" | "done") = last("replayed") {
        assert!(ready.iter().all(|held| held.attempts == 0), "replayed messages begin anew");
    }

    let group = group("paused");
    let status = broker.groups().await.unwrap().into_iter().find(|status| status.group == group).unwrap();
    match last("paused") {
        Some("yes") => assert!(status.paused),
        Some("no") => assert!(!status.paused),
        _ => {}
    }
    let delivered = broker.receive(&group, 1, LEASE, Duration::ZERO).await.unwrap();
    assert_eq!(delivered.is_empty(), status.paused, "a pause that is shown holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purging_replaying_and_pausing_happen_whole_or_not() {
    let dir = tempfile::tempdir().unwrap();
    {
        let broker = open(dir.path()).broker();
        declare(&*broker).await;
        publish(&*broker, "replayed", COUNT).await;
        publish(&*broker, "paused", 1).await;
    }
    let mut seen = BTreeMap::<String, usize>::new();
    for round in 0..MOST_ROUNDS {
        if round >= ROUNDS && DONE.iter().all(|done| seen.contains_key(*done)) {
            break;
        }
        let lines = run_and_kill(module_path!(), dir.path(), 400);
        // The harness writes to the same stream, perhaps without ending its line.
        let reports = lines.iter().filter_map(|line| line.split_once("# ")?.1.split_once(' '));
        let mut last = BTreeMap::new();
        for (name, state) in reports {
            last.insert(name.to_owned(), state.to_owned());
            *seen.entry(format!("{name} {state}")).or_default() += 1;
        }
        verify(&*open(dir.path()).broker(), &last).await;
    }
    for done in DONE {
        assert!(seen.contains_key(done), "no child came to {done}: {seen:?}");
    }
}
