//! Collects faults, and checks values of the kinds that several tables have.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use crate::diagnostic::{Diagnostic, Source};

/// Where faults go while the rest is still looked at.
pub(super) struct Check {
    pub(super) source: Arc<Source>,
    pub(super) errors: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Check {
    /// Something that must be mended.
    pub(super) fn error(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.errors.push(Diagnostic::error(&self.source, span, message).help(help));
    }

    /// Something that is probably not meant.
    pub(super) fn warn(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.warnings.push(Diagnostic::warning(&self.source, span, message).help(help));
    }

    /// A whole number within bounds.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        value: Option<Spanned<i64>>,
        range: RangeInclusive<i64>,
        default: T,
    ) -> T {
        let Some(value) = value else { return default };
        match T::try_from(*value.get_ref()) {
            Ok(number) if range.contains(value.get_ref()) => number,
            _ => {
                let help = format!("give {} to {}", range.start(), range.end());
                self.error(value.span(), format!("`{}` is out of range", value.get_ref()), help);
                default
            }
        }
    }

    /// A length of time, longer than none.
    pub(super) fn duration(&mut self, value: Option<Spanned<String>>, default: Duration) -> Duration {
        let Some(value) = value else { return default };
        match humantime::parse_duration(value.get_ref()) {
            Ok(duration) if !duration.is_zero() => return duration,
            Ok(_) => self.error(value.span(), "a time of zero", "give a longer one, such as \"60s\""),
            Err(_) => {
                let message = format!("`{}` is not a length of time", value.get_ref());
                self.error(
                    value.span(),
                    message,
                    "write a number and a unit, such as \"500ms\", \"60s\", \"30m\" or \"1h 30m\"",
                );
            }
        }
        default
    }

    /// A name that has to follow a rule.
    pub(super) fn named(&mut self, what: &str, span: Range<usize>, name: &str, rule: fn(&str) -> Result<(), String>) {
        if let Err(why) = rule(name) {
            self.error(span, format!("`{name}` is not a valid name of {what}"), why);
        }
    }
}
