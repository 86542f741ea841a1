//! SQL that the operator has run before anything is served, such as what makes the tables.

use anyhow::{Context as _, Result, bail};

use super::Engines;

/// Runs each of `statements` in its turn.
///
/// # Errors
/// Says which one failed, and why.
pub(super) async fn run(statements: &[String], engines: &Engines) -> Result<()> {
    for given in statements {
        let result = one(given, engines).await;
        result.with_context(|| format!("--sqlite {}", given.chars().take(80).collect::<String>()))?;
    }
    Ok(())
}

async fn one(given: &str, engines: &Engines) -> Result<()> {
    let Some(file) = given.strip_prefix('@') else { return execute("default", given.to_owned(), engines).await };
    let (file, label) = file.split_once('@').unwrap_or((file, "default"));
    let (file, label) = (file.trim(), label.trim());
    if file.is_empty() {
        bail!("the name of the file is missing after `@`");
    }
    let text = tokio::fs::read_to_string(file).await.with_context(|| format!("cannot read {file}"))?;
    execute(label, text, engines).await
}

async fn execute(label: &str, statements: String, engines: &Engines) -> Result<()> {
    let database = engines.database(label).with_context(|| {
        format!("no component has the database `{label}`: add it to a component's `sqlite_databases`")
    })?;
    Ok(database.connect().await?.run(statements).await?)
}
