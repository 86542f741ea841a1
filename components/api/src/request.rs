//! Path and query of a request.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::Problem;

/// A request target's path and query.
#[must_use]
pub fn split_target(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// A query's parameters, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Any text is a query.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter; an empty one counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// All parameters, in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A number within limits, or its default.
    ///
    /// # Errors
    /// 400 if it is no number or outside the limits.
    pub fn number<T>(&self, name: &str, default: T, limits: RangeInclusive<T>) -> Result<T, Problem>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.parse().ok().filter(|number| limits.contains(number)).ok_or_else(|| {
            Problem::bad_request(format!("{name} is a number from {} to {}", limits.start(), limits.end()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split_and_decoded() {
        let (path, query) = split_target("/download?fid=a%20b&x=1&fid=2&empty=");
        assert_eq!(path, "/download");
        let query = Query::parse(query);
        assert_eq!((query.get("fid"), query.get("x"), query.get("empty")), (Some("a b"), Some("1"), None));
        assert_eq!(split_target("/jobs"), ("/jobs", ""));
    }

    #[test]
    fn numbers_have_defaults_and_limits() {
        let query = Query::parse("size=7&big=101&word=x&minus=-1");
        assert_eq!(query.number("size", 20, 1..=100), Ok(7));
        assert_eq!(query.number("page", 20, 1..=100), Ok(20));
        for name in ["big", "word", "minus"] {
            let problem = query.number::<u32>(name, 1, 1..=100).unwrap_err();
            assert_eq!(problem.detail(), format!("{name} is a number from 1 to 100"));
        }
    }
}
