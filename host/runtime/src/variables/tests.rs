use std::fs;
use std::path::Path;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::{Error, Given, Surroundings, find, given};
use crate::config::VariablesProvider;
use crate::manifest::{self, Manifest};

fn application(names: &[&str]) -> Manifest {
    let variables: String = names.iter().map(|name| format!("{name} = {{ required = true }}\n")).collect();
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"app\"\n[variables]\n{variables}\
         [[trigger.http]]\nroute = \"/\"\ncomponent = \"c\"\n[component.c]\nsource = \"c.wasm\"\n"
    );
    manifest::parse(Path::new("spin.toml"), &text).unwrap().manifest
}

fn ask(
    names: &[&str],
    providers: &[VariablesProvider],
    environment: &[(&str, &str)],
    directory: &Path,
) -> Result<Vec<(String, String)>, Error> {
    let lookup = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let surroundings = Surroundings { environment: &lookup, directory };
    let found = find(&application(names), &Default::default(), providers, &surroundings)?;
    Ok(found.into_iter().map(|(name, value)| (name, value.expose_secret().to_owned())).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_variable_whose_name_ends_in_file_is_not_a_file_of_another() {
    let dir = TempDir::new().unwrap();
    let environment = [("SPIN_VARIABLE_KEY_FILE", "not a path")];
    let found = ask(&["key", "key_file"], &[], &environment, dir.path()).unwrap();
    assert_eq!(found, pairs(&[("key_file", "not a path")]));
    let error = ask(&["key"], &[], &environment, dir.path()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read what SPIN_VARIABLE_KEY_FILE names, "), "{error}");
}

#[test]
fn an_environment_provider_has_a_prefix_and_a_file_of_its_own() {
    let dir = TempDir::new().unwrap();
    let dotenv = dir.path().join("app.env");
    fs::write(&dotenv, "APP_A=1\nAPP_B=2\nSPIN_VARIABLE_C=3\n").unwrap();
    let provider = VariablesProvider::Environment { prefix: Some("APP".into()), dotenv: Some(dotenv.clone()) };
    let found = ask(&["a", "b", "c"], &[provider], &[("APP_A", "0")], dir.path()).unwrap();
    assert_eq!(found, pairs(&[("a", "0"), ("b", "2")]));
    let bare = VariablesProvider::Environment { prefix: Some(String::new()), dotenv: None };
    assert_eq!(ask(&["home"], &[bare], &[("HOME", "/x")], dir.path()).unwrap(), pairs(&[("home", "/x")]));
    let missing = VariablesProvider::Environment { prefix: None, dotenv: Some(dir.path().join("missing.env")) };
    let error = ask(&["a"], &[missing], &[], dir.path()).unwrap_err().to_string();
    assert!(error.contains("missing.env"), "{error}");
}

#[test]
fn a_file_provider_reads_one_file_for_each_variable() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a"), "1\n\n").unwrap();
    fs::write(dir.path().join("b"), "").unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    let provider = [VariablesProvider::Files(dir.path().to_owned())];
    let found = ask(&["a", "b", "c"], &provider, &[], dir.path()).unwrap();
    assert_eq!(found, pairs(&[("a", "1\n"), ("b", "")]));
    assert!(ask(&["d"], &provider, &[], dir.path()).is_err(), "a directory is not absent");
}

#[test]
fn later_arguments_win() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("values.toml");
    fs::write(&file, "a = \"file\"\nb = \"file\"\n").unwrap();
    let one = |name: &str, value: &str| Given::One(name.to_owned(), value.into());
    let values = given(&[one("a", "before"), Given::File(file), one("b", "after")]).unwrap();
    assert_eq!(values["a"].expose_secret(), "file");
    assert_eq!(values["b"].expose_secret(), "after");
    assert!(!format!("{:?}", [one("a", "before")]).contains("before"), "values are not for logs");
}
