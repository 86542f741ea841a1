//! `[[trigger.redis]]`: which component gets the messages of which channel.

use std::collections::BTreeMap;

use toml::Spanned;

use super::check::Check;
use super::validate::{Known, component_reference, template};
use super::wire;
use super::{RedisTrigger, Template};
use crate::diagnostic::list;

/// The channels of each component, by its id.
pub(super) fn triggers(
    check: &mut Check,
    known: &Known,
    settings: Option<&Spanned<toml::Table>>,
    triggers: Vec<Spanned<wire::RedisTrigger>>,
) -> BTreeMap<String, Vec<RedisTrigger>> {
    let default = settings.and_then(|settings| default_address(check, known, settings));
    let mut valid: BTreeMap<String, Vec<RedisTrigger>> = BTreeMap::new();
    for trigger in triggers {
        let span = trigger.span();
        let wire::RedisTrigger { component, channel, address, .. } = trigger.into_inner();
        let component = component_reference(check, known, component);
        if channel.get_ref().is_empty() {
            check.error(channel.span(), "the channel is empty", "name the channel");
        }
        let channel = template(check, known, &channel);
        let address = match address {
            Some(text) => address_template(check, known, &text),
            None if default.is_none() => {
                let help = "add `address = \"redis://host:6379\"` here or in `[application.trigger.redis]`";
                check.error(span, "the trigger has no Redis server", help);
                None
            }
            None => default.clone(),
        };
        if let (Some(component), Some(channel), Some(address)) = (component, channel, address) {
            valid.entry(component).or_default().push(RedisTrigger { address, channel });
        }
    }
    valid
}

/// `[application.trigger.redis]`
fn default_address(check: &mut Check, known: &Known, settings: &Spanned<toml::Table>) -> Option<Template> {
    if let Some(other) = settings.get_ref().keys().find(|key| *key != "address") {
        let help = format!("it has {}", list(["address"]));
        check.error(settings.span(), format!("unknown key `{other}` in `[application.trigger.redis]`"), help);
    }
    match settings.get_ref().get("address") {
        None => None,
        Some(toml::Value::String(text)) => address_template(check, known, &Spanned::new(settings.span(), text.clone())),
        Some(_) => {
            check.error(settings.span(), "`address` is not a string", "write `redis://host:6379`");
            None
        }
    }
}

fn address_template(check: &mut Check, known: &Known, text: &Spanned<String>) -> Option<Template> {
    let template = template(check, known, text)?;
    let is_redis = |text: &str| text.starts_with("redis://") || text.starts_with("rediss://");
    if template.literal().is_some_and(|text| !is_redis(text)) {
        check.error(text.span(), "this is not the URL of a Redis server", "write `redis://host:6379`, or `rediss://…`");
        return None;
    }
    Some(template)
}
