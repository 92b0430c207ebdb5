//! The memory of the computer, or of the control group that this process is in.

use std::fs::read_to_string;

/// The bytes that programs can get without swapping; none where that is not known.
pub(crate) fn available() -> Option<u64> {
    let of_computer = parse(&read_to_string("/proc/meminfo").ok()?)?;
    let of_group = read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(of_group.map_or(of_computer, |most: u64| most.min(of_computer)))
}

fn parse(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_understood() {
        let text = "MemTotal:       24683980 kB\nMemFree:  1 kB\nMemAvailable:   21226840 kB\n";
        assert_eq!(parse(text), Some(21_226_840 << 10));
        assert_eq!(parse("MemTotal: 1 kB\n"), None);
        assert_eq!(parse("MemAvailable: many kB\n"), None);
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
