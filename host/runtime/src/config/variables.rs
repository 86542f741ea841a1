//! `[[variables_provider]]`: where values of the application's variables come from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::DeValue;

use super::reader::{Alternatives, Reader, Text};

/// A source of variables' values.
#[derive(Debug, Clone)]
pub(crate) enum VariablesProvider {
    /// Environment variables of this process, and a `.env` file behind them.
    Environment {
        /// What stands before a variable's name; without it `SPIN_VARIABLE`.
        prefix: Option<String>,
        /// The file.
        dotenv: Option<PathBuf>,
    },
    /// Values in the configuration itself.
    Static(BTreeMap<String, SecretString>),
    /// A directory with a file for each variable, as container platforms mount secrets.
    Files(PathBuf),
    /// Vault's key-value engine, version 2.
    Vault(Vault),
}

/// How to reach Vault.
#[derive(Debug, Clone)]
pub(crate) struct Vault {
    /// `http://` or `https://`, without a `/` at its end.
    pub(crate) url: String,
    /// Sent with each request.
    pub(crate) token: SecretString,
    /// Where the engine is mounted.
    pub(crate) mount: String,
    /// What stands before a variable's name in a secret's path.
    pub(crate) prefix: Option<String>,
    /// A PEM file with the authorities that may certify the server; without it the public ones.
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvironmentTable {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    prefix: Option<String>,
    dotenv_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StaticTable {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    values: BTreeMap<String, Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesTable {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    directory: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultTable {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    url: Spanned<String>,
    token: Option<Spanned<Text>>,
    token_file: Option<Spanned<String>>,
    token_env: Option<Spanned<String>>,
    mount: Spanned<String>,
    prefix: Option<Spanned<String>>,
    ca_file: Option<String>,
}

/// Reads the array of tables.
pub(super) fn variables_providers(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Vec<VariablesProvider> {
    let span = value.span();
    let DeValue::Array(tables) = value.into_inner() else {
        reader.error(span, "this must be an array of tables", "write `[[variables_provider]]`");
        return Vec::new();
    };
    tables.into_iter().filter_map(|table| provider(reader, table)).collect()
}

fn provider(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<VariablesProvider> {
    Some(match reader.kind(&value, &["env", "file", "static", "vault"], None)? {
        "env" => {
            let table: EnvironmentTable = reader.table(value)?;
            let dotenv = table.dotenv_path.map(|path| reader.path(&path));
            VariablesProvider::Environment { prefix: table.prefix, dotenv }
        }
        "file" => {
            let table: FilesTable = reader.table(value)?;
            VariablesProvider::Files(reader.path(&table.directory))
        }
        "static" => {
            let table: StaticTable = reader.table(value)?;
            VariablesProvider::Static(table.values.into_iter().map(|(name, Text(value))| (name, value)).collect())
        }
        _ => VariablesProvider::Vault(vault(reader, value)?),
    })
}

fn vault(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<Vault> {
    let span = value.span();
    let table: VaultTable = reader.table(value)?;
    let token = Alternatives { key: "token", plain: table.token, file: table.token_file, env: table.token_env };
    let token = reader.required_secret(span, token);
    let url = table.url.get_ref().trim_end_matches('/');
    let host = ["http://", "https://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
    if host.is_none_or(|host| host.is_empty() || host.contains(['@', '?', '#'])) {
        let help = "it looks like `https://vault.example.com:8200`";
        reader.error(table.url.span(), "the `url` here is not that of a Vault server", help);
        return None;
    }
    let mount = path(reader, &table.mount)?;
    let prefix = table.prefix.map(|prefix| path(reader, &prefix)).map_or(Some(None), |path| path.map(Some))?;
    Some(Vault {
        url: url.to_owned(),
        token: token?,
        mount,
        prefix: prefix.filter(|prefix| !prefix.is_empty()),
        ca_file: table.ca_file.map(|path| reader.path(&path)),
    })
}

/// A path of a URL that means the same however it is read.
fn path(reader: &mut Reader<'_>, text: &Spanned<String>) -> Option<String> {
    let path = text.get_ref().trim_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let segment =
        |segment: &str| !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain);
    if path.is_empty() || path.split('/').all(segment) {
        return Some(path.to_owned());
    }
    let help = "use letters, digits, `-`, `_`, `.`, `~`, and `/` between them";
    reader.error(text.span(), "this is not a path in Vault", help);
    None
}
