//! What of a component differs between two readings of its manifest.

use secrecy::ExposeSecret as _;

use super::{Component, Resolved};

/// The keys of a component whose meaning differs, as the manifest calls them. How it is built does
/// not count: what counts is what was built.
///
/// A new field makes this fail to compile, so that no setting is forgotten when a manifest is
/// applied anew.
pub(crate) fn differences(old: (&Component, &Resolved), new: (&Component, &Resolved)) -> Vec<&'static str> {
    let Component {
        line: _,
        source,
        remote,
        environment,
        files,
        exclude_files,
        variables,
        key_value_stores,
        blob_stores,
        redis: _,
        sqlite_databases,
        outbound_hosts,
        publish,
        mail,
        consume,
        limits,
        reuse,
        build: _,
        wagi,
        dependencies,
    } = old.0;
    let other = new.0;
    let same_values = old.1.variables.len() == new.1.variables.len()
        && old
            .1
            .variables
            .iter()
            .zip(&new.1.variables)
            .all(|((name, value), (other, new))| name == other && value.expose_secret() == new.expose_secret());
    let same_channels = old.1.redis.len() == new.1.redis.len()
        && old.1.redis.iter().zip(&new.1.redis).all(|((address, channel), (other, new))| {
            address.expose_secret() == other.expose_secret() && channel == new
        });
    [
        ("trigger.redis", same_channels),
        ("source", *source == other.source && *remote == other.remote),
        ("environment", *environment == other.environment),
        ("files", *files == other.files),
        ("exclude_files", *exclude_files == other.exclude_files),
        ("variables", *variables == other.variables && same_values),
        ("key_value_stores", *key_value_stores == other.key_value_stores),
        ("blob_stores", *blob_stores == other.blob_stores),
        ("sqlite_databases", *sqlite_databases == other.sqlite_databases),
        (
            "allowed_outbound_hosts",
            *outbound_hosts == other.outbound_hosts && old.1.outbound_hosts == new.1.outbound_hosts,
        ),
        ("publish", *publish == other.publish),
        ("mail", *mail == other.mail),
        ("consume", *consume == other.consume),
        ("limits", *limits == other.limits),
        ("reuse", *reuse == other.reuse),
        ("dependencies", *dependencies == other.dependencies),
        ("executor", *wagi == other.wagi),
    ]
    .into_iter()
    .filter_map(|(key, same)| (!same).then_some(key))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::{Manifest, parse, resolve_variables};
    use super::*;

    fn read(component: &str) -> (Manifest, BTreeMap<String, Resolved>) {
        let text = format!(
            "spin_manifest_version = 2\n[application]\nname = \"a\"\n[variables]\nv = {{ default = \"1\" }}\n[trigger]\n{component}"
        );
        let manifest = parse(Path::new("spin.toml"), &text).unwrap().manifest;
        let resolved = resolve_variables(&manifest, &BTreeMap::new(), |_| None).unwrap();
        (manifest, resolved)
    }

    fn compare(old: &str, new: &str) -> Vec<&'static str> {
        let (old, new) = (read(old), read(new));
        differences((&old.0.components["a"], &old.1["a"]), (&new.0.components["a"], &new.1["a"]))
    }

    #[test]
    fn only_what_differs_is_named() {
        let plain = "[component.a]\nsource = \"a.wasm\"\n";
        assert!(compare(plain, &format!("\n\n{plain}[component.a.build]\ncommand = \"make\"")).is_empty());
        for (line, key) in [
            ("environment = { A = \"1\" }", "environment"),
            ("key_value_stores = [\"default\"]", "key_value_stores"),
            ("allowed_outbound_hosts = [\"https://example.org\"]", "allowed_outbound_hosts"),
            ("[component.a.variables]\nx = \"{{ v }}\"", "variables"),
            ("[component.a.tool.tessera]\nlimits = { memory = \"1MiB\" }", "limits"),
            ("[component.a.tool.tessera]\nreuse = \"never\"", "reuse"),
            ("[component.a.tool.tessera]\nmail = true", "mail"),
            ("[component.a.tool.tessera]\npublish = [\"x\"]", "publish"),
            ("[component.a.tool.tessera]\nconsume = [{ queue = \"x\" }]", "consume"),
        ] {
            assert_eq!(compare(plain, &format!("{plain}{line}")), [key]);
        }
    }

    #[test]
    fn a_variables_value_counts() {
        let text = "[component.a]\nsource = \"a.wasm\"\n[component.a.variables]\nx = \"{{ v }}\"\n";
        let (old, mut new) = (read(text), read(text));
        new.1.get_mut("a").unwrap().variables.insert("x".to_owned(), "2".to_owned().into());
        assert_eq!(
            differences((&old.0.components["a"], &old.1["a"]), (&new.0.components["a"], &new.1["a"])),
            ["variables"]
        );
    }
}
