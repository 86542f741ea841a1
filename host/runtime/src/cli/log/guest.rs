//! What components print: whose lines are shown, and files that have them.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};

/// The target of the lines that components print.
pub(super) const TARGET: &str = "guest";

/// Lets lines of components through only if they are wanted.
pub(super) struct Printed {
    pub(super) quiet: bool,
    /// By id; empty: all components.
    pub(super) followed: Vec<String>,
}

impl<S> Filter<S> for Printed {
    fn enabled(&self, metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        !self.quiet || metadata.target() != TARGET
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        if self.followed.is_empty() || event.metadata().target() != TARGET {
            return true;
        }
        let mut line = Line::default();
        event.record(&mut line);
        self.followed.contains(&line.component)
    }

    /// Of any level. Without saying so, it would keep callers from being told early that their level is off, which
    /// every event and span of every crate would then cost.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

/// Appends the lines of each component to `<component>_stdout.txt` and `<component>_stderr.txt`, as
/// Spin does. Nothing removes them.
pub(super) struct Files {
    directory: PathBuf,
    /// Whether what an earlier process wrote is thrown away.
    truncate: bool,
    open: Mutex<HashMap<String, File>>,
}

impl Files {
    /// # Errors
    /// If the directory cannot be made.
    pub(super) fn new(directory: PathBuf, truncate: bool) -> std::io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self { directory, truncate, open: Mutex::default() })
    }

    fn append(&self, name: String, text: &str) -> std::io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match open.entry(name) {
            std::collections::hash_map::Entry::Occupied(file) => file.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let path = self.directory.join(place.key());
                if self.truncate {
                    File::create(&path)?;
                }
                place.insert(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        file.write_all(text.as_bytes())
    }
}

impl<S: Subscriber> Layer<S> for Files {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() != TARGET {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        // A dependency's id has the import in it, slashes and all.
        let ordinary = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' };
        let component: String = line.component.chars().map(ordinary).collect();
        let stream = if *event.metadata().level() == Level::INFO { "stdout" } else { "stderr" };
        line.text.push('\n');
        // A line that finds no room is still in the log.
        _ = self.append(format!("{component}_{stream}.txt"), &line.text);
    }
}

/// What a component printed.
#[derive(Default)]
struct Line {
    component: String,
    text: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "component" {
            value.clone_into(&mut self.component);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            _ = write!(self.text, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::FilterExt;
    use tracing_subscriber::{EnvFilter, Registry};

    use super::*;

    #[test]
    fn levels_that_are_off_are_known_to_be() {
        let printed = Printed { quiet: false, followed: Vec::new() };
        let filter = FilterExt::<Registry>::and(EnvFilter::new("info,fjall=warn"), printed);
        assert_eq!(Filter::<Registry>::max_level_hint(&filter), Some(LevelFilter::INFO));
    }
}
