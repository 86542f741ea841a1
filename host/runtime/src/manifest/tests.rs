//! Whole manifests: what a good one means, and what is said about bad ones.

use super::*;

/// A manifest with `rest` after what every manifest has.
fn with(rest: &str) -> Result<Loaded, Invalid> {
    let text = format!("spin_manifest_version = 2\napplication.name = \"app\"\n{rest}");
    parse(Path::new("app/spin.toml"), &text)
}

#[test]
fn the_smallest_manifest() {
    let loaded = with("[trigger]").unwrap();
    assert_eq!(loaded.manifest.name, "app");
    assert!(loaded.manifest.components.is_empty() && loaded.warnings.is_empty());
}
