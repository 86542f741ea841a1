//! `kill -9` at any point of a swap leaves the old version or the new one, whole.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{CONTENT, INITIAL, variant};
use crate::support::fixtures::Fixture;
use crate::support::operator::component;
use crate::support::server::{Launch, binary};

#[tokio::test]
async fn the_next_start_serves_one_version_whole() {
    let mut fixture = Fixture::start(CONTENT);
    let files = [INITIAL, "version-two"].map(|name| variant(fixture.root(), "probe", name));
    // Compiled once, so that the rounds below spend their time in the switch.
    fixture.swap("probe", &files[1], &[]);
    let begin = Instant::now();
    fixture.swap("probe", &files[0], &[]);
    let whole = begin.elapsed();
    let mut outcomes = [0; 2];
    // Not to wait for something, but to meet another point of the swap in each round: later, as long as the old version
    // is met, and earlier, as long as the new one is.
    let mut delay = Duration::ZERO;
    for round in 0..100 {
        if round >= 16 && outcomes.iter().all(|count| *count > 0) {
            break;
        }
        let before = fixture.version().await;
        let (old, new) = if before == INITIAL { (0, 1) } else { (1, 0) };
        let mut swap = Command::new(binary())
            .args(["swap", "probe"])
            .arg(&files[new])
            .arg("--state-dir")
            .arg(fixture.root())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tessera runs");
        std::thread::sleep(delay);
        let Fixture { server, directory } = fixture;
        server.kill();
        let told = swap.wait().expect("it ended").success();
        let server = Launch::manifest(&directory.path().join("spin.toml")).start(directory.path());
        fixture = Fixture { server, directory };

        let after = fixture.version().await;
        let names = [INITIAL, "version-two"];
        assert!([names[old], names[new]].contains(&&*after), "{after}");
        assert!(!told || after == names[new], "what was answered is done");
        let switched = after == names[new];
        outcomes[usize::from(switched)] += 1;
        delay = if switched { delay.saturating_sub(whole / 5) } else { delay + whole / 4 };
        // The record says what runs, the last entry that a version came is about it, and its binary is there.
        let running = component(fixture.root(), "probe");
        let done = fixture.done("probe");
        assert_eq!(running["digest"], done.last().expect("an entry").1, "round {round}: {done:?}");
        let versions = fixture.root().join("versions");
        assert!(versions.join(format!("{}.wasm", done.last().expect("an entry").1)).is_file());
        for entry in std::fs::read_dir(&versions).expect("the directory") {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            assert!(name == "record.json" || name.ends_with(".wasm"), "nothing is left behind: {name}");
        }
        for step in done.windows(2) {
            assert_eq!(step[1].2, step[0].1, "each swap follows from the one before: {done:?}");
        }
    }
    assert!(outcomes.iter().all(|count| *count > 0), "some came before the switch and some after: {outcomes:?}");
}
