//! `tessera queues`: what queues hold, and what to do about it.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::client::segment;
use super::{Client, Running, table};
use crate::admin::{Count, Delete, Message, Messages, Part, Queues, Replay};

/// Shows the queues of the running application, and steers them.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct QueuesCommand {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    running: Running,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the groups of consumers: depth, in flight, oldest age, rates, dead letters.
    Ls(Ls),
    /// Shows messages of a group without receiving them.
    Peek(Peek),
    /// Delivers dead letters of a group again.
    Replay(ReplayDead),
    /// Deletes messages of a group; those in flight stay.
    Purge(Purge),
    /// Stops deliveries to a group. What is in flight ends.
    Pause(Named),
    /// Goes on with deliveries to a group.
    Resume(Named),
}

#[derive(Debug, Args)]
struct Ls {
    #[command(flatten)]
    running: Running,
}

#[derive(Debug, Args)]
struct Named {
    /// The group: the consuming component's id, unless the manifest says otherwise.
    group: String,
    #[command(flatten)]
    running: Running,
}

#[derive(Debug, Args)]
struct Peek {
    #[command(flatten)]
    named: Named,
    /// Which messages.
    #[arg(long, value_enum, default_value = "ready")]
    part: Part,
    /// How many at most, up to 100.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    limit: u32,
    /// Goes on where a page before ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
struct ReplayDead {
    #[command(flatten)]
    named: Named,
    /// A dead letter's id.
    #[arg(long, value_name = "ID", required_unless_present = "all")]
    id: Option<String>,
    /// All dead letters of the group.
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true, args = ["messages", "dead_letters", "id"])]
struct Purge {
    #[command(flatten)]
    named: Named,
    /// Ready and delayed messages.
    #[arg(long)]
    messages: bool,
    /// Dead letters.
    #[arg(long)]
    dead_letters: bool,
    /// One dead letter.
    #[arg(long, value_name = "ID", conflicts_with_all = ["messages", "dead_letters"])]
    id: Option<String>,
    /// Does not ask.
    #[arg(short, long)]
    yes: bool,
}

impl QueuesCommand {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.action {
            None => list(&self.running)?,
            Some(Action::Ls(ls)) => list(&ls.running)?,
            Some(Action::Peek(peek)) => peek.run()?,
            Some(Action::Replay(replay)) => replay.run()?,
            Some(Action::Purge(purge)) => purge.run()?,
            Some(Action::Pause(named)) => {
                named.steer("pause", "deliveries are stopped; `tessera queues resume` goes on")?
            }
            Some(Action::Resume(named)) => named.steer("resume", "deliveries go on")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(running: &Running) -> Result<()> {
    let queues: Queues = running.client()?.get("/v1/queues")?;
    running.print(&queues, |queues| {
        let header =
            ["GROUP", "QUEUES", "READY", "DELAYED", "IN FLIGHT", "DEAD", "OLDEST", "HANDLED", "FAILED", "STATE"];
        let rows = queues.groups.iter().map(|group| {
            vec![
                group.group.clone(),
                if group.queues.is_empty() { "-".to_owned() } else { group.queues.join(",") },
                group.ready.to_string(),
                group.delayed.to_string(),
                group.in_flight.to_string(),
                group.dead.to_string(),
                group.oldest_age_ms.map_or_else(|| "-".to_owned(), |age| table::duration(age / 1000)),
                format!("{:.1}/s", group.handled_per_second),
                format!("{:.1}/s", group.failed_per_second),
                if group.paused { "paused" } else { "active" }.to_owned(),
            ]
        });
        table::render(&header, &[2, 3, 4, 5, 6, 7, 8], rows)
    })
}

impl Named {
    fn path(&self, rest: &str) -> String {
        format!("/v1/queues/{}/{rest}", segment(&self.group))
    }

    fn client(&self) -> Result<Client> {
        self.running.client()
    }

    fn steer(&self, verb: &str, done: &str) -> Result<()> {
        self.client()?.post_empty(&self.path(verb))?;
        let answer = serde_json::json!({ "group": self.group, "done": verb });
        self.running.print(&answer, |_| format!("{}: {done}\n", self.group))
    }

    fn counted(&self, count: &Count, done: &str) -> Result<()> {
        self.running.print(count, |count| format!("{}: {} {done}\n", self.group, count.count))
    }
}

impl Peek {
    fn run(self) -> Result<()> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string());
        query.append_pair("part", serde_json::to_value(self.part)?.as_str().unwrap_or_default());
        if let Some(cursor) = &self.cursor {
            query.append_pair("cursor", cursor);
        }
        let path = self.named.path(&format!("messages?{}", query.finish()));
        let page: Messages = self.named.client()?.get(&path)?;
        self.named.running.print(&page, |page| {
            if page.messages.is_empty() {
                return "nothing there\n".to_owned();
            }
            let more = page.cursor.iter().map(|cursor| format!("There are more: --cursor {cursor}\n"));
            page.messages.iter().map(text).chain(more).collect()
        })
    }
}

/// A message for people: what is known of it, then its body, indented.
fn text(message: &Message) -> String {
    let mut text = format!(
        "{} in {}, published {}, {} attempts\n  {}\n",
        message.id,
        message.queue,
        message.published,
        message.attempts,
        table::printable(&message.state)
    );
    for (name, value) in &message.headers {
        text += &format!("  {}: {}\n", table::printable(name), table::printable(value));
    }
    for failure in &message.failures {
        text += &format!("  {}\n", table::printable(failure));
    }
    let kind = message.content_type.as_deref().unwrap_or("no content type");
    let base64 = if message.base64 { ", in Base64" } else { "" };
    text += &format!("  {} bytes, {}{base64}\n", message.size, table::printable(kind));
    for line in message.body.lines() {
        text += &format!("    {}\n", table::printable(line));
    }
    text + "\n"
}

impl ReplayDead {
    fn run(self) -> Result<()> {
        let count: Count = self.named.client()?.post(&self.named.path("replay"), &Replay { id: self.id })?;
        self.named.counted(&count, "delivered again")
    }
}

impl Purge {
    fn run(self) -> Result<()> {
        if !self.yes && self.id.is_none() {
            let what = match (self.messages, self.dead_letters) {
                (true, true) => "all messages and dead letters",
                (true, false) => "all messages",
                _ => "all dead letters",
            };
            confirm(&format!("Delete {what} of group {}? They are gone then.", self.named.group))?;
        }
        let what = Delete { messages: self.messages, dead_letters: self.dead_letters, id: self.id };
        let count: Count = self.named.client()?.post(&self.named.path("purge"), &what)?;
        self.named.counted(&count, "deleted")
    }
}

/// Asks a person; nobody there to be asked means no.
fn confirm(question: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("{question} Say --yes if so");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was deleted");
    }
    Ok(())
}
