//! Reading the queues into memory at start, and giving back what the process before left unsettled.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr as _;

use fjall::Readable as _;
use tessera_capability::queue::Group;
use tessera_capability::time::Timestamp;

use super::group::{Entry, GroupState};
use super::leases::{LeaseFile, Leased};
use super::state::Queues;
use crate::embedded::fault::Fault;
use crate::embedded::record;
use crate::embedded::tables::{self, StoredEntry, StoredGroup, Tables};

/// The queues as the store has them, with `left`, the leases of the process before, ended.
pub(in crate::embedded) fn load(
    tables: &Tables,
    file: &LeaseFile,
    left: &[Leased],
    now: Timestamp,
) -> Result<Queues, Fault> {
    let mut groups = BTreeMap::new();
    let snapshot = tables.db.read_tx();
    for row in snapshot.iter(&tables.groups) {
        let (key, value) = row.into_inner()?;
        let name = std::str::from_utf8(&key).ok().and_then(|name| Group::from_str(name).ok());
        let name = name.ok_or(Fault::Missing("group"))?;
        let StoredGroup { number, subscription } = record::decode("group", &value)?;
        let mut group = GroupState::new(number, subscription);
        group.set_paused(snapshot.get(&tables.meta, tables::paused(&name))?.is_some());
        groups.insert(name, group);
    }
    end_leases(tables, &groups, left, now)?;
    file.clear_all().map_err(Fault::Leases)?;
    let snapshot = tables.db.read_tx();
    for (name, group) in &mut groups {
        for row in snapshot.prefix(&tables.entries, tables::prefix(name.as_str())) {
            let (key, value) = row.into_inner()?;
            let number = tables::number(&key).ok_or(Fault::Missing("entry"))?;
            group.insert(number, Entry::new(record::decode("entry", &value)?), now);
        }
        let dead = snapshot.prefix(&tables.dead, tables::prefix(name.as_str())).count();
        group.dead = u64::try_from(dead).unwrap_or(u64::MAX);
    }
    Ok(Queues::new(groups))
}

/// Counts the attempts that the process before did not settle, durably.
fn end_leases(
    tables: &Tables,
    groups: &BTreeMap<Group, GroupState>,
    left: &[Leased],
    now: Timestamp,
) -> Result<(), Fault> {
    let names: HashMap<u32, &Group> = groups.iter().map(|(name, group)| (group.number, name)).collect();
    let mut tx = tables.begin();
    for leased in left {
        let Some(name) = names.get(&leased.group) else { continue };
        let row = tables::numbered(name.as_str(), leased.message);
        let Some(bytes) = tx.get(&tables.entries, &row)? else { continue };
        let mut entry: StoredEntry = record::decode("entry", &bytes)?;
        if entry.replays == leased.replays && entry.attempts < leased.attempt {
            entry.fail(leased.attempt, now, "the process ended before the delivery was settled");
            entry.due = now;
            tx.insert(&tables.entries, row, record::encode(&entry)?);
        }
    }
    Ok(tx.commit()?)
}
