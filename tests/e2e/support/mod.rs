//! What every test needs: a running server, its clients, files to upload, and the mail it sends.

pub(crate) mod client;
pub(crate) mod fixtures;
pub(crate) mod mail;
pub(crate) mod media;
pub(crate) mod mp3;
pub(crate) mod operator;
pub(crate) mod otlp;
pub(crate) mod server;
pub(crate) mod services;
pub(crate) mod sound;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Nothing that is waited for takes this long on any machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A path inside the workspace.
pub(crate) fn workspace(relative: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(relative)
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
