//! Components that are written inside their trigger: moved to where the others are.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::names;
use super::wire::{self, StringOr};

type Components = BTreeMap<Spanned<String>, wire::Component>;

/// Moves the components inside HTTP triggers to `components`, under the ids that Spin gives them:
/// `<id of the trigger>-component`, and the trigger's is `http-trigger<number>` if it has none.
pub(super) fn hoist(triggers: &mut [Spanned<wire::HttpTrigger>], components: &mut Components) {
    name(triggers);
    for trigger in triggers.iter_mut().map(Spanned::get_mut) {
        let Some(inline) = trigger.component.take_if(|c| matches!(c.get_ref(), StringOr::Long(_))) else { continue };
        let span = inline.span();
        let StringOr::Long(component) = inline.into_inner() else { continue };
        let taken = |id: &str| components.keys().any(|other| other.get_ref() == id);
        let natural = format!("{}-component", trigger.id);
        let id = if names::kebab(&natural).is_ok() && !taken(&natural) {
            natural
        } else {
            first_free("inline-component", taken)
        };
        components.insert(Spanned::new(span.clone(), id.clone()), *component);
        trigger.component = Some(Spanned::new(span, StringOr::String(id)));
    }
}

/// Moves the components inside Redis triggers.
pub(super) fn hoist_redis(triggers: &mut [Spanned<wire::RedisTrigger>], components: &mut Components) {
    for trigger in triggers.iter_mut().map(Spanned::get_mut) {
        if matches!(trigger.component.get_ref(), StringOr::String(_)) {
            continue;
        }
        let id = first_free("redis-component", |id| components.keys().any(|other| other.get_ref() == id));
        let span = trigger.component.span();
        let named = Spanned::new(span.clone(), StringOr::String(id.clone()));
        if let StringOr::Long(component) = std::mem::replace(&mut trigger.component, named).into_inner() {
            components.insert(Spanned::new(span, id), *component);
        }
    }
}

/// Gives an id to every trigger without one.
fn name(triggers: &mut [Spanned<wire::HttpTrigger>]) {
    let mut ids: BTreeSet<String> = triggers.iter().map(|trigger| trigger.get_ref().id.clone()).collect();
    for trigger in triggers.iter_mut().map(Spanned::get_mut).filter(|trigger| trigger.id.is_empty()) {
        let natural = match trigger.component.as_ref().map(Spanned::get_ref) {
            Some(StringOr::String(component)) => Some(format!("{component}-http-trigger")),
            _ => None,
        };
        trigger.id =
            natural.filter(|id| !ids.contains(id)).unwrap_or_else(|| first_free("http-trigger", |id| ids.contains(id)));
        ids.insert(trigger.id.clone());
    }
}

/// `<prefix>1`, or the next one that is not taken.
fn first_free(prefix: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut number = 1_u32;
    loop {
        let id = format!("{prefix}{number}");
        if !taken(&id) {
            return id;
        }
        number = number.saturating_add(1);
    }
}
