//! `tessera watch`: from an edit to the running application.

use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::fixtures::{Fixture, manifest, wasm};
use crate::support::operator::json;
use crate::support::server::Launch;

/// The component is built by writing a name over the one in the probe; `broken` names do not build,
/// and what comes of `useless` ones is no component.
const BUILD: &str = r#"
case "$(cat source/name.txt)" in
    broken*) touch tried; echo "error: this name is broken" >&2; exit 1 ;;
    useless*) echo useless > built.wasm ;;
    *) LC_ALL=C sed "s/initial-ver/$(cat source/name.txt)/" "$PROBE" > built.wasm ;;
esac
"#;

fn content() -> String {
    format!(
        "[[trigger.http]]\nroute = \"/probe/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"built.wasm\"\n\
         [component.probe.build]\ncommand = \"sh build.sh\"\nwatch = [\"source/**/*.txt\"]\n\
         environment = {{ PROBE = \"{}\" }}\n",
        wasm("probe").display()
    )
}

fn prepare(name: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("source")).expect("room");
    std::fs::write(directory.path().join("build.sh"), BUILD).expect("room");
    write(directory.path(), name);
    manifest(directory.path(), &content());
    directory
}

/// Edits the component's source, as editors do: a new file takes the place of the old.
fn write(directory: &Path, name: &str) {
    let path = directory.join("source/name.txt");
    std::fs::write(path.with_extension("new"), name).expect("room");
    std::fs::rename(path.with_extension("new"), path).expect("it is replaced");
}

fn watch(directory: TempDir, arguments: &[&str]) -> Fixture {
    let launch = Launch::manifest(&directory.path().join("spin.toml")).watching();
    let launch = arguments.iter().fold(launch, |launch, argument| launch.argument(argument));
    Fixture { server: launch.start(directory.path()), directory }
}

async fn becomes(fixture: &Fixture, version: &str) {
    eventually(version, async || (fixture.version().await == version).then_some(())).await;
}

#[tokio::test]
async fn an_edit_is_built_and_goes_live() {
    let fixture = watch(prepare("version-one"), &[]);
    let log = &fixture.server.log;
    assert_eq!(fixture.version().await, "version-one", "built at the start");
    write(fixture.root(), "version-two");
    becomes(&fixture, "version-two").await;
    let line = log.line_with(&["Live ", " ms after the build, ", " ms after the change"]);
    println!("{line}");
    let time: u64 = line.split(' ').nth(1).and_then(|number| number.parse().ok()).expect("a time");
    // A third of a second on an idle machine, most of it for Cranelift.
    assert!(time < 60_000, "{line}");

    // What does not build, or is not fit, does not go live.
    write(fixture.root(), "broken-one-");
    log.line_with(&["error: this name is broken"]);
    log.line_with(&["the build command of component `probe` failed"]);
    log.line_with(&["The old version runs on of what was not built: probe"]);
    assert_eq!(fixture.version().await, "version-two");
    write(fixture.root(), "useless-one");
    log.line_with(&["error: component `probe`: this is not a component that can run here"]);
    assert_eq!(fixture.version().await, "version-two");
    write(fixture.root(), "version-3rd");
    becomes(&fixture, "version-3rd").await;

    // A new directory is watched too.
    std::fs::create_dir_all(fixture.root().join("source/more/deep")).expect("room");
    std::fs::write(fixture.root().join("source/name.txt"), "version-4th").expect("room");
    becomes(&fixture, "version-4th").await;
    let builds = || log.text().matches("Built component probe").count();
    let before = builds();
    std::fs::write(fixture.root().join("source/more/deep/new.txt"), "").expect("room");
    eventually("it is built again", async || (builds() > before).then_some(())).await;

    let last = json(fixture.root(), &["history"])["entries"].as_array().and_then(|list| list.last().cloned());
    assert_eq!(last.expect("an entry")["by"], "tessera watch");
}

#[tokio::test]
async fn a_changed_manifest_is_applied() {
    let fixture = watch(prepare("version-one"), &["--debounce", "20"]);
    let fixed = "[[trigger.http]]\nroute = \"/fixed\"\nstatic_response = { body = \"fixed\" }\n";
    let status = async || reqwest::get(format!("{}/fixed", fixture.server.url)).await.expect("an answer").status();
    assert_eq!(status().await, StatusCode::NOT_FOUND);
    manifest(fixture.root(), &(content() + fixed + "[component.x"));
    fixture.server.log.line_with(&["error: "]);
    assert_eq!(status().await, StatusCode::NOT_FOUND);
    // A component that is new is built first.
    let other = "[[trigger.http]]\nroute = \"/other/...\"\ncomponent = \"other\"\n[component.other]\nsource = \"other.wasm\"\n\
        [component.other.build]\ncommand = \"cp built.wasm other.wasm\"\n";
    let more = format!("{}{fixed}{other}", content());
    manifest(fixture.root(), &more);
    eventually("the route is there", async || (status().await == StatusCode::OK).then_some(())).await;
    assert_eq!(fixture.roles("other"), ["serving"]);
    write(fixture.root(), "version-two");
    becomes(&fixture, "version-two").await;
}

#[tokio::test]
async fn somebody_else_may_build() {
    let directory = prepare("version-one");
    std::fs::copy(wasm("probe"), directory.path().join("built.wasm")).expect("room");
    let fixture = watch(directory, &["--skip-build"]);
    assert_eq!(fixture.version().await, super::INITIAL, "nothing was built");
    let newer = super::variant(fixture.root(), "probe", "version-two");
    std::fs::copy(newer, fixture.root().join("built.wasm")).expect("room");
    becomes(&fixture, "version-two").await;
    assert!(!fixture.server.log.text().contains("Building"));
}

#[tokio::test]
async fn it_waits_for_the_first_build() {
    let directory = prepare("broken-one-");
    let path = directory.path().to_owned();
    let mending = std::thread::spawn(move || {
        while !path.join("tried").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        write(&path, "version-one");
    });
    let fixture = watch(directory, &[]);
    mending.join().expect("it is mended");
    fixture.server.log.line_with(&["Waiting for a change"]);
    assert_eq!(fixture.version().await, "version-one");
}
