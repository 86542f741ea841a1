//! `tessera logs`: what the host and the components write.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::Running;
use super::table::printable;
use crate::admin::Line;

/// Prints the latest lines of the running application's log.
#[derive(Debug, Args)]
// `-f` follows, as it does with `tail`; the manifest is `--from` here.
#[command(mut_arg("from", |from| from.short(None::<char>)))]
pub(crate) struct Logs {
    /// Only lines about this component, or that it wrote.
    component: Option<String>,
    /// Goes on with every new line until Ctrl-C.
    #[arg(short = 'f', short_alias = 'F', long)]
    follow: bool,
    /// How many of the latest lines.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100)]
    lines: u32,
    #[command(flatten)]
    running: Running,
}

impl Logs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("lines", &self.lines.to_string());
        query.append_pair("follow", if self.follow { "true" } else { "false" });
        if let Some(component) = &self.component {
            query.append_pair("component", component);
        }
        let client = self.running.client()?;
        // One that was taken out has left lines, but writes no new ones.
        let unknown = self.component.as_deref().map(|id| client.knows(id)).transpose()?.and_then(Result::err);
        if let (true, Some(unknown)) = (self.follow, &unknown) {
            bail!("{unknown}");
        }
        let mut found = false;
        let lines = BufReader::new(client.stream(&format!("/v1/logs?{}", query.finish()))?);
        let mut out = std::io::stdout().lock();
        for line in lines.lines() {
            let line = line.context("the application has ended")?;
            // Empty ones say that the connection lives.
            if line.is_empty() {
                continue;
            }
            found = true;
            let text = if self.running.json { line } else { text(&serde_json::from_str(&line)?) };
            match writeln!(out, "{text}").and_then(|()| out.flush()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                other => other?,
            }
        }
        if let (false, Some(unknown)) = (found, unknown) {
            bail!("{unknown}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `2026-01-02T03:04:05.678Z  INFO gateway| what it wrote`
fn text(line: &Line) -> String {
    let component = line.component.as_deref().unwrap_or("-");
    let mark = if line.guest { '|' } else { ':' };
    let mut text = format!("{} {:>5} {component}{mark} {}", line.time, line.level, printable(&line.message));
    for (name, value) in &line.fields {
        text += &format!(" {name}={}", printable(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_line_is_one_line() {
        let line = Line {
            time: "2026-01-02T03:04:05.678Z".to_owned(),
            level: "WARN".to_owned(),
            component: Some("gateway".to_owned()),
            guest: true,
            message: "hello\nworld \u{1b}[31mred ä".to_owned(),
            fields: BTreeMap::from([("attempt".to_owned(), "3".to_owned())]),
        };
        let expected = r"2026-01-02T03:04:05.678Z  WARN gateway| hello\nworld \u{1b}[31mred ä attempt=3";
        assert_eq!(text(&line), expected);
    }
}
