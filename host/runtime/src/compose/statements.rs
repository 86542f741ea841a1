//! SQL that the operator has run before anything is served, such as what makes the tables; on a
//! reload what is in a file that has changed since.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use super::Engines;

/// What was run last, by what was given on the command line.
#[derive(Default)]
pub(super) struct Statements(BTreeMap<String, String>);

impl Statements {
    /// Runs each of `given` in its turn.
    ///
    /// # Errors
    /// Says which one failed, and why.
    pub(super) async fn first(given: &[String], engines: &Engines) -> Result<Self> {
        let mut ran = Self::default();
        for changed in ran.changed(given)? {
            changed.run(engines).await?;
            ran.0.insert(changed.given, changed.text);
        }
        Ok(ran)
    }

    /// What of `given` says something else than when it was run, in the order of `given`.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub(super) fn changed(&self, given: &[String]) -> Result<Vec<Changed>> {
        let mut all = Vec::new();
        for given in given {
            let changed = Changed::read(given).with_context(|| shown(given))?;
            if self.0.get(given) != Some(&changed.text) {
                all.push(changed);
            }
        }
        Ok(all)
    }

    /// These were run.
    pub(super) fn ran(&mut self, changed: Vec<Changed>) {
        self.0.extend(changed.into_iter().map(|changed| (changed.given, changed.text)));
    }
}

/// Statements that have not been run as they are now.
pub(super) struct Changed {
    given: String,
    label: String,
    text: String,
}

impl Changed {
    fn read(given: &str) -> Result<Self> {
        let Some(file) = given.strip_prefix('@') else {
            return Ok(Self { given: given.to_owned(), label: "default".to_owned(), text: given.to_owned() });
        };
        let (file, label) = file.split_once('@').unwrap_or((file, "default"));
        let (file, label) = (file.trim(), label.trim());
        if file.is_empty() {
            bail!("the name of the file is missing after `@`");
        }
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        Ok(Self { given: given.to_owned(), label: label.to_owned(), text })
    }

    /// # Errors
    /// Says what failed, and why.
    pub(super) async fn run(&self, engines: &Engines) -> Result<()> {
        let run = async {
            let database = engines.database(&self.label).with_context(|| {
                format!("no component has the database `{}`: add it to a component's `sqlite_databases`", self.label)
            })?;
            anyhow::Ok(database.connect().await?.run(self.text.clone()).await?)
        };
        run.await.with_context(|| self.shown())
    }

    /// As people know it.
    pub(super) fn shown(&self) -> String {
        shown(&self.given)
    }
}

fn shown(given: &str) -> String {
    format!("--sqlite {}", given.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_run_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tables.sql");
        std::fs::write(&file, "one").unwrap();
        let given = ["select 1".to_owned(), format!("@{}@books", file.display())];
        let mut statements = Statements::default();
        let first = statements.changed(&given).unwrap();
        let all: Vec<_> = first.iter().map(|changed| (changed.label.as_str(), changed.text.as_str())).collect();
        assert_eq!(all, [("default", "select 1"), ("books", "one")]);
        statements.ran(first);
        assert!(statements.changed(&given).unwrap().is_empty());
        std::fs::write(&file, "two").unwrap();
        let second = statements.changed(&given).unwrap();
        assert_eq!(second.iter().map(|changed| changed.text.as_str()).collect::<Vec<_>>(), ["two"]);
        assert!(statements.changed(&["@".to_owned()]).is_err());
    }
}
