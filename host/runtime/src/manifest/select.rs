//! Which of an application's components run: those that something calls, or those that the operator
//! names.

use std::collections::BTreeSet;

use super::{Component, Dependency, Handler, Manifest};

impl Manifest {
    /// Leaves out the components that nothing calls: no trigger, no queue, no other component. Such
    /// a one may need what is not here.
    pub(crate) fn drop_unused(&mut self) {
        let of_http = self.http.iter().filter_map(|trigger| match &trigger.handler {
            Handler::Component(id) => Some(id.clone()),
            Handler::Static(_) => None,
        });
        let listening = |component: &Component| !component.consume.is_empty() || !component.redis.is_empty();
        let listeners = self.components.iter().filter(|(_, component)| listening(component)).map(|(id, _)| id.clone());
        let called = of_http.chain(listeners).collect();
        self.keep(called);
    }

    /// Leaves only these components, what they depend on, and the static responses. Triggers of
    /// others are dropped, those of dependencies included.
    ///
    /// # Errors
    /// Names an id that no component has, or a call that would lead nowhere.
    pub(crate) fn select(&mut self, ids: &[String]) -> Result<(), String> {
        for id in ids {
            let Some(component) = self.components.get(id) else {
                let known: Vec<_> = self.components.keys().map(String::as_str).collect();
                return Err(format!("there is no component `{id}`; there are {}", known.join(", ")));
            };
            for host in component.outbound_hosts.iter().filter_map(|host| host.literal()) {
                if let Some(callee) = chained(host)
                    && !ids.iter().any(|id| id == callee)
                {
                    return Err(format!("the component `{id}` calls others that are not selected: `{host}`"));
                }
            }
        }
        let selected = |id: &str| ids.iter().any(|other| other == id);
        self.http.retain(|trigger| match &trigger.handler {
            Handler::Component(id) => selected(id),
            Handler::Static(_) => true,
        });
        for (_, component) in self.components.iter_mut().filter(|(id, _)| !selected(id)) {
            component.consume.clear();
            component.redis.clear();
        }
        self.keep(ids.iter().cloned().collect());
        Ok(())
    }

    /// True if something can call the application.
    pub(crate) fn has_triggers(&self) -> bool {
        let listening = |component: &Component| !component.consume.is_empty() || !component.redis.is_empty();
        !self.http.is_empty() || self.components.values().any(listening)
    }

    /// Keeps these, and what they depend on.
    fn keep(&mut self, mut wanted: BTreeSet<String>) {
        let mut unseen: Vec<String> = wanted.iter().cloned().collect();
        while let Some(id) = unseen.pop() {
            let dependencies =
                self.components.get(&id).into_iter().flat_map(|component| component.dependencies.values());
            for dependency in dependencies {
                if let Dependency::Component { id, .. } = dependency
                    && wanted.insert(id.clone())
                {
                    unseen.push(id.clone());
                }
            }
        }
        self.components.retain(|id, _| wanted.contains(id));
    }
}

/// The component that an entry of `allowed_outbound_hosts` lets call, `*` for any.
fn chained(host: &str) -> Option<&str> {
    let (_, rest) = host.split_once("://")?;
    let name = rest.split([':', '/']).next()?;
    name.strip_suffix(".spin.internal")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::manifest::{Manifest, parse};

    fn manifest() -> Manifest {
        let component = |id: &str, keys: &str| format!("[component.{id}]\nsource = \"{id}.wasm\"\n{keys}\n");
        let route = |route: &str, id: &str| format!("[[trigger.http]]\nroute = \"{route}\"\ncomponent = \"{id}\"\n");
        let text = [
            "spin_manifest_version = 2\n[application]\nname = \"a\"\n".to_owned(),
            "[application.trigger.redis]\naddress = \"redis://a\"\n".to_owned(),
            "[[trigger.redis]]\nchannel = \"c\"\ncomponent = \"listener\"\n".to_owned(),
            "[[trigger.http]]\nroute = \"/static\"\nstatic_response = { body = \"x\" }\n".to_owned(),
            route("/front", "front"),
            route("/back", "back"),
            component("front", "allowed_outbound_hosts = [\"http://back.spin.internal\"]"),
            component("back", "[component.back.dependencies]\n\"a:b/c\" = { component = \"lib\" }"),
            component("lib", "[component.lib.dependencies]\n\"a:b/d\" = { component = \"deep\" }"),
            component("deep", ""),
            component("listener", ""),
            component("unused", ""),
        ];
        parse(Path::new("spin.toml"), &text.concat()).unwrap().manifest
    }

    fn ids(manifest: &Manifest) -> Vec<&str> {
        manifest.components.keys().map(String::as_str).collect()
    }

    #[test]
    fn what_nothing_calls_does_not_run() {
        let mut all = manifest();
        all.drop_unused();
        assert_eq!(ids(&all), ["back", "deep", "front", "lib", "listener"]);
        assert!(all.has_triggers());
    }

    #[test]
    fn an_operator_selects_components() {
        let mut one = manifest();
        one.select(&["back".to_owned()]).unwrap();
        assert_eq!(ids(&one), ["back", "deep", "lib"]);
        assert_eq!(one.http.len(), 2, "its own, and the static one");
        let mut listener = manifest();
        listener.select(&["listener".to_owned()]).unwrap();
        assert!(listener.has_triggers() && ids(&listener) == ["listener"]);
    }

    #[test]
    fn a_selection_is_complete() {
        let refused = |ids: &[&str]| {
            let ids: Vec<_> = ids.iter().map(|id| (*id).to_owned()).collect();
            manifest().select(&ids).unwrap_err()
        };
        assert!(refused(&["frond"]).contains("no component `frond`; there are back, deep, front"));
        assert!(
            refused(&["front"]).contains("`front` calls others that are not selected: `http://back.spin.internal`")
        );
        assert!(manifest().select(&["front".to_owned(), "back".to_owned()]).is_ok());
    }
}
