//! Swaps leave nothing behind.

use super::{CONTENT, variant};
use crate::support::fixtures::Fixture;

/// What 200 swaps may add to the memory of the process, in bytes. One version of the probe is about
/// 4 MiB of machine code, so keeping one in ten would be seen.
const BOUND: u64 = 48 << 20;

#[tokio::test]
async fn two_hundred_swaps_need_no_more_memory() {
    let fixture = Fixture::start(CONTENT);
    let files: Vec<_> = (0..4).map(|number| variant(fixture.root(), "probe", &format!("version-00{number}"))).collect();
    let swap = async |number: usize| {
        fixture.swap("probe", &files[number % files.len()], &[]);
        for _ in 0..3 {
            assert_eq!(fixture.version().await, format!("version-00{}", number % files.len()));
        }
    };
    // The allocator and the pool of instances have their size by then.
    for number in 0..40 {
        swap(number).await;
    }
    let before = fixture.server.resident();
    for number in 0..200 {
        swap(number).await;
    }
    let after = fixture.server.resident();
    let grown = after.saturating_sub(before);
    println!("{before} bytes before, {after} after 200 swaps");
    assert!(grown < BOUND, "{before} bytes before, {after} after");
    assert!(fixture.roles("probe").len() <= 2, "old versions are dropped");
}
