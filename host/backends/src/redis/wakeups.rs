//! Waking receivers when a message comes, without polling: scripts publish the name of the group on
//! a channel, and one subscription per process passes it on to the receivers that wait here.

use std::collections::HashMap;
use std::sync::Mutex;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::watch;

/// Who waits for which channel and group.
#[derive(Default)]
pub(super) struct Wakeups {
    groups: Mutex<HashMap<(String, String), watch::Sender<()>>>,
}

impl Wakeups {
    /// Changes whenever the group may have something new from now on.
    pub(super) fn of(&self, channel: &str, group: &str) -> watch::Receiver<()> {
        let mut groups = self.groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        groups.entry((channel.to_owned(), group.to_owned())).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Takes what the server sent between its answers.
    pub(super) fn pushed(&self, push: &PushInfo) {
        let groups = self.groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(group)]) => {
                let key = (String::from_utf8_lossy(channel).into_owned(), String::from_utf8_lossy(group).into_owned());
                if let Some(sender) = groups.get(&key) {
                    sender.send_replace(());
                }
            }
            // Whatever was published meanwhile is not repeated: everyone looks for themselves.
            (PushKind::Disconnection | PushKind::Subscribe, _) => {
                for sender in groups.values() {
                    sender.send_replace(());
                }
            }
            _ => {}
        }
    }
}
