//! `tessera mail`: what the embedded outbox keeps.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::client::segment;
use super::{Running, table};
use crate::admin::{Letter, Mails};

/// Shows mail that the running application keeps in its outbox.
#[derive(Debug, Args)]
pub(crate) struct MailCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists mail, latest first.
    Ls(Ls),
    /// Shows a mail.
    Show(Show),
}

#[derive(Debug, Args)]
struct Ls {
    /// How many at most, up to 100.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    limit: u32,
    /// Goes on where a page before ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    running: Running,
}

#[derive(Debug, Args)]
struct Show {
    /// The mail, as `tessera mail ls` names it.
    id: String,
    /// Prints the message as it would be sent (RFC 5322).
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    #[command(flatten)]
    running: Running,
}

impl MailCommand {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.action {
            Action::Ls(ls) => ls.run()?,
            Action::Show(show) => show.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Ls {
    fn run(self) -> Result<()> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string());
        if let Some(cursor) = &self.cursor {
            query.append_pair("cursor", cursor);
        }
        let mails: Mails = self.running.client()?.get(&format!("/v1/mail?{}", query.finish()))?;
        self.running.print(&mails, |mails| {
            if mails.messages.is_empty() {
                return "no mail\n".to_owned();
            }
            let rows = mails.messages.iter().map(|mail| {
                vec![
                    mail.id.clone(),
                    mail.sent.clone(),
                    table::printable(&mail.to.join(",")),
                    table::bytes(mail.size),
                    table::printable(&mail.subject),
                ]
            });
            let more = mails.cursor.iter().map(|cursor| format!("There are more: --cursor {cursor}\n"));
            let list = table::render(&["ID", "SENT", "TO", "SIZE", "SUBJECT"], &[3], rows);
            std::iter::once(list).chain(more).collect()
        })
    }
}

impl Show {
    fn run(self) -> Result<()> {
        let (client, path) = (self.running.client()?, format!("/v1/mail/{}", segment(&self.id)));
        if self.raw {
            let mut message = client.stream(&format!("{path}/raw"))?;
            let mut out = io::stdout().lock();
            return match io::copy(&mut message, &mut out).and_then(|_| out.flush()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                other => Ok(other?),
            };
        }
        let letter: Letter = client.get(&path)?;
        self.running.print(&letter, text)
    }
}

/// The headers that people want, the text, and what is attached.
fn text(letter: &Letter) -> String {
    let mut text = String::new();
    for (name, value) in &letter.headers {
        if ["from", "to", "cc", "reply-to", "subject", "date"].contains(&name.to_ascii_lowercase().as_str()) {
            text += &format!("{name}: {}\n", table::printable(value));
        }
    }
    text.push('\n');
    for line in letter.text.as_deref().or(letter.html.as_deref()).unwrap_or_default().lines() {
        text += &format!("{}\n", table::printable(line));
    }
    for attachment in &letter.attachments {
        let (name, kind) = (table::printable(&attachment.name), table::printable(&attachment.content_type));
        let size = u64::try_from(attachment.size).unwrap_or(u64::MAX);
        text += &format!("\n[{name}: {kind}, {}]\n", table::bytes(size));
    }
    text
}
