//! Text with `{{ variable }}` in it.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};

/// Text in which `{{ name }}` stands for an application variable's value. Spaces around the name
/// do not count; a `}}` without its `{{` is text, as in Spin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

impl Template {
    /// # Errors
    /// Says which brace is not closed.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, behind)) = after.split_once("}}") else {
                return Err("`{{` without its `}}`".to_owned());
            };
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Variable(name.trim().to_owned()));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The names of the variables in it.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Its text, if no variable is in it.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Its text with the variables' values in it; a variable without a value is left out.
    pub(super) fn expand(&self, values: &BTreeMap<&str, SecretString>) -> SecretString {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Variable(name) => {
                    text.push_str(values.get(name.as_str()).map_or("", |value| value.expose_secret()))
                }
            }
        }
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_between_braces() {
        let template = Template::parse("https://{{ host }}/{{path}}").unwrap();
        assert_eq!(template.variables().collect::<Vec<_>>(), ["host", "path"]);
        assert_eq!(template.literal(), None);
        let values = BTreeMap::from([("host", "a.example".into()), ("path", "x".into())]);
        assert_eq!(template.expand(&values).expose_secret(), "https://a.example/x");
    }

    #[test]
    fn other_braces_are_text() {
        assert_eq!(Template::parse("{a} }} b").unwrap().literal(), Some("{a} }} b"));
        assert_eq!(Template::parse("").unwrap().literal(), Some(""));
        assert!(Template::parse("{{ a }} {{ b").is_err());
    }
}
