//! What the process itself uses, as Linux tells it.

use std::fs;

/// What the process uses; zeros where the system does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// Bytes of memory that it occupies.
    pub(super) resident: u64,
    /// Open file descriptors.
    pub(super) files: u64,
}

/// What the process uses now.
pub(super) fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Usage {
        resident: kibibytes.unwrap_or_default().saturating_mul(1024),
        files: fs::read_dir("/proc/self/fd").map_or(0, |entries| u64::try_from(entries.count()).unwrap_or(u64::MAX)),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_told() {
        let usage = usage();
        assert!(usage.resident > 1 << 20 && usage.files > 2, "{usage:?}");
    }
}
