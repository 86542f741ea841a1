//! How HTTP triggers run their components: as handlers, or as programs for each request (WAGI).

use std::collections::BTreeMap;

use toml::Spanned;

use super::check::Check;
use super::wire::{self, StringOr};

/// The arguments of a program whose trigger gives none.
const ARGUMENTS: &str = "${SCRIPT_NAME} ${ARGS}";

/// The only function that a program begins with; Spin has given up others.
const ENTRY: &str = "_start";

/// The components that are programs, with their arguments.
pub(super) fn programs(check: &mut Check, triggers: &[Spanned<wire::HttpTrigger>]) -> BTreeMap<String, String> {
    let mut seen: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for trigger in triggers.iter().map(Spanned::get_ref) {
        let executor = trigger.executor.as_ref();
        let program = executor.and_then(|executor| program(check, executor));
        let Some(StringOr::String(component)) = trigger.component.as_ref().map(Spanned::get_ref) else { continue };
        let earlier = seen.entry(component).or_insert_with(|| program.clone());
        if *earlier != program {
            let span = executor.map_or(0..0, |executor| executor.r#type.span());
            let message = format!("the triggers of `{component}` run it in different ways");
            check.error(span, message, "give all of its triggers the same `executor`, or declare it a second time");
        }
    }
    seen.into_iter().filter_map(|(component, program)| Some((component.to_owned(), program?))).collect()
}

/// The arguments of a program; `None`: it is none.
fn program(check: &mut Check, executor: &wire::Executor) -> Option<String> {
    match executor.r#type.get_ref().as_str() {
        "wagi" => {}
        "http" | "spin" => return None,
        other => {
            let message = format!("there is no executor `{other}`");
            check.error(executor.r#type.span(), message, "use `http`, which needs not be written, or `wagi`");
            return None;
        }
    }
    if let Some(entry) = executor.entrypoint.as_ref().filter(|entry| entry.get_ref() != ENTRY) {
        let message = format!("a program begins at `{ENTRY}`, not at `{entry}`");
        check.error(entry.span(), message, "remove `entrypoint`");
    }
    Some(executor.argv.as_ref().map_or(ARGUMENTS, |arguments| arguments.get_ref()).to_owned())
}
