//! Spin's profiles: what of a component is different where somebody asks for one by its name, such as
//! a build with debug information.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::{Build, Dependency, Manifest, Map, Source, StringOr};
use crate::diagnostic::{Diagnostic, Invalid, Source as Text, suggest};

/// `[component.X.profile.<name>]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    source: Option<Spanned<StringOr<Source>>>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    dependencies: Map<Spanned<StringOr<Dependency>>>,
    build: Option<ProfileBuild>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileBuild {
    command: StringOr<Vec<String>>,
}

impl Manifest {
    /// Puts what the profile has in place of what is there otherwise. Variables of the environment and
    /// dependencies that it does not name stay; a component without the profile is as it is.
    ///
    /// # Errors
    /// If no component has the profile.
    pub(in super::super) fn apply(&mut self, profile: &str, text: &Arc<Text>) -> Result<(), Invalid> {
        if !self.component.values().any(|component| component.profile.contains_key(profile)) {
            let known = self.component.values().flat_map(|component| component.profile.keys()).map(String::as_str);
            let help = suggest(profile, known.collect::<std::collections::BTreeSet<_>>());
            let fault = Diagnostic::error(text, 0..0, format!("no component has the profile `{profile}`"));
            return Err(Invalid(vec![fault.help(help)]));
        }
        for component in self.component.values_mut() {
            let Some(profile) = component.profile.remove(profile) else { continue };
            if let Some(source) = profile.source {
                component.source = source;
            }
            component.environment.extend(profile.environment);
            for (import, dependency) in profile.dependencies {
                component.dependencies.retain(|other, _| other.get_ref() != import.get_ref());
                component.dependencies.insert(import, dependency);
            }
            if let Some(ProfileBuild { command }) = profile.build {
                match &mut component.build {
                    Some(build) => build.command = command,
                    None => component.build = Some(Build::of(command)),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::manifest::{Dependency, Manifest, parse_profile};

    fn read(profile: Option<&str>) -> Result<Manifest, String> {
        let text = r#"
            spin_manifest_version = 2
            [application]
            name = "a"
            [[trigger.http]]
            route = "/"
            component = "one"
            [component.one]
            source = "release.wasm"
            environment = { A = "1", B = "1" }
            [component.one.build]
            command = "make"
            workdir = "one"
            [component.one.dependencies]
            "a:b/c" = { path = "c.wasm" }
            "a:b/d" = { path = "d.wasm" }
            [component.one.profile.debug]
            source = "debug.wasm"
            environment = { B = "2" }
            build.command = "make debug"
            [component.one.profile.debug.dependencies]
            "a:b/c" = { component = "two" }
            [component.two]
            source = "two.wasm"
        "#;
        parse_profile(Path::new("spin.toml"), text, profile).map(|loaded| loaded.manifest).map_err(|f| f.to_string())
    }

    #[test]
    fn a_profile_changes_what_it_names() {
        let debug = read(Some("debug")).unwrap();
        let one = &debug.components["one"];
        assert_eq!(one.source, Path::new("debug.wasm"));
        assert_eq!((one.environment["A"].as_str(), one.environment["B"].as_str()), ("1", "2"));
        let build = one.build.as_ref().unwrap();
        assert_eq!(
            (build.commands.as_slice(), build.workdir.as_path()),
            (&["make debug".to_owned()][..], Path::new("one"))
        );
        assert!(matches!(&one.dependencies["a:b/c"], Dependency::Component { id, .. } if id == "two"));
        assert!(matches!(&one.dependencies["a:b/d"], Dependency::File { .. }));
        assert_eq!(debug.components["two"].source, Path::new("two.wasm"));
        let plain = read(None).unwrap();
        assert_eq!(plain.components["one"].source, Path::new("release.wasm"));
        assert_eq!(plain.components["one"].build.as_ref().unwrap().commands, ["make"]);
    }

    #[test]
    fn an_unknown_profile_is_refused() {
        let fault = read(Some("debgu")).unwrap_err();
        assert!(
            fault.contains("no component has the profile `debgu`") && fault.contains("did you mean `debug`?"),
            "{fault}"
        );
    }
}
