//! Names of queues and groups, and subscription patterns: valid by construction.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The longest name or pattern, in bytes.
const MAX_NAME: usize = 255;

/// A queue's name: dot-separated words of `a-z A-Z 0-9 - _`, 1 to 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(String);

/// A group's name: 1 to 255 bytes of `a-z A-Z 0-9 - _ .`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Group(String);

/// A queue's name in which the word `*` stands for exactly one word and `#` for any number of
/// words, none included (the topic syntax of AMQP 0-9-1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn check(what: &str, name: &str, word: impl Fn(&str) -> bool) -> Result<()> {
    if name.len() <= MAX_NAME && name.split('.').all(word) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "`{}` is not {what}: dot-separated words of letters, digits, `-` and `_`, at most {MAX_NAME} bytes",
        name.chars().take(64).collect::<String>()
    )))
}

impl Pattern {
    /// True if `queue` is one of the names this pattern stands for.
    #[must_use]
    pub fn matches(&self, queue: &QueueName) -> bool {
        let pattern: Vec<&str> = self.0.split('.').collect();
        let words: Vec<&str> = queue.0.split('.').collect();
        matches(&pattern, &words)
    }

    /// The queue it names, if it has no wildcard.
    #[must_use]
    pub fn exact(&self) -> Option<QueueName> {
        QueueName::from_str(&self.0).ok()
    }
}

/// Keeps, for each prefix of the pattern, which prefixes of the name it matches: linear in the
/// product of both lengths, however many `#` a hostile pattern has.
fn matches(pattern: &[&str], words: &[&str]) -> bool {
    let mut reachable = vec![false; words.len().saturating_add(1)];
    if let Some(first) = reachable.first_mut() {
        *first = true;
    }
    for part in pattern {
        let mut next = vec![false; reachable.len()];
        let mut before = false;
        for (index, slot) in next.iter_mut().enumerate() {
            let here = reachable.get(index).copied().unwrap_or_default();
            let previous = index.checked_sub(1);
            *slot = if *part == "#" {
                before || here
            } else {
                previous.is_some_and(|previous| {
                    reachable.get(previous).copied().unwrap_or_default()
                        && (*part == "*" || words.get(previous) == Some(part))
                })
            };
            before = *slot;
        }
        reachable = next;
    }
    reachable.last().copied().unwrap_or_default()
}

impl FromStr for QueueName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        check("a queue name", name, is_word)?;
        Ok(Self(name.to_owned()))
    }
}

impl FromStr for Group {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        check("a group name", name, is_word)?;
        Ok(Self(name.to_owned()))
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        check("a queue pattern", name, |word| word == "*" || word == "#" || is_word(word))?;
        Ok(Self(name.to_owned()))
    }
}

macro_rules! as_string {
    ($($name:ident)*) => {$(
        impl $name {
            /// Its text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(name: String) -> Result<Self> {
                name.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    )*};
}

as_string!(QueueName Group Pattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(pattern: &str, queue: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(&queue.parse().unwrap())
    }

    #[test]
    fn a_star_is_one_word() {
        assert!(hit("job.*", "job.run"));
        assert!(!hit("job.*", "job"));
        assert!(!hit("job.*", "job.run.now"));
    }

    #[test]
    fn a_hash_is_any_number_of_words() {
        assert!(hit("#", "video"));
        assert!(hit("events.#", "events"));
        assert!(hit("events.#", "events.a.b"));
        assert!(hit("#.b.#", "a.b.c"));
        assert!(!hit("#.b", "a.b.c"));
    }

    #[test]
    fn names_are_valid_by_construction() {
        for bad in ["", ".", "a.", "a..b", "a b", "é", "a/b", "#"] {
            assert!(bad.parse::<QueueName>().is_err(), "{bad}");
        }
        assert!("a".repeat(256).parse::<QueueName>().is_err());
        assert!("a#".parse::<Pattern>().is_err());
    }
}
