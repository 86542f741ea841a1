//! Values in environment variables, in files that those name, and in a `.env` file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use secrecy::SecretString;

use super::{Error, Surroundings, read, secret};

/// What stands before a variable's name, as in Spin.
const PREFIX: &str = "SPIN_VARIABLE";

pub(super) struct Environment<'a> {
    prefix: &'a str,
    surroundings: &'a Surroundings<'a>,
    /// Behind the environment.
    dotenv: HashMap<String, String>,
    /// Which variables there are, by name.
    declared: &'a BTreeMap<String, Option<String>>,
}

impl<'a> Environment<'a> {
    /// Reads the `.env` file at `dotenv`. It does not change this process's environment.
    pub(super) fn open(
        surroundings: &'a Surroundings<'a>,
        declared: &'a BTreeMap<String, Option<String>>,
        prefix: Option<&'a str>,
        dotenv: Option<&Path>,
    ) -> Result<Self, Error> {
        let dotenv = dotenv.map(parse).transpose()?.unwrap_or_default();
        Ok(Self { prefix: prefix.unwrap_or(PREFIX), surroundings, dotenv, declared })
    }

    fn variable(&self, key: &str) -> Option<String> {
        (self.surroundings.environment)(key).or_else(|| self.dotenv.get(key).cloned())
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<SecretString>, Error> {
        let name_above = name.to_ascii_uppercase();
        let key = if self.prefix.is_empty() { name_above } else { format!("{}_{name_above}", self.prefix) };
        let plain = self.variable(&key);
        // With a variable `<name>_file` this is its value.
        if self.declared.contains_key(&format!("{name}_file")) {
            return Ok(plain.map(Into::into));
        }
        match (plain, self.variable(&format!("{key}_FILE"))) {
            (Some(_), Some(_)) => Err(Error::Twice(key)),
            (Some(plain), None) => Ok(Some(plain.into())),
            (None, Some(file)) => {
                let text = read(&self.surroundings.directory.join(file), &format!("what {key}_FILE names,"))?;
                Ok(Some(secret(&text)))
            }
            (None, None) => Ok(None),
        }
    }
}

fn parse(path: &Path) -> Result<HashMap<String, String>, Error> {
    let text = read(path, "the environment in")?;
    // The parser's own message quotes the line.
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| Error::Malformed {
        path: path.to_owned(),
        fault: "write lines like `SPIN_VARIABLE_NAME=value`, with quotes around values that have spaces".to_owned(),
    })
}
