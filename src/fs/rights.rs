//! Reads the abilities of this process from the kernel: effective capabilities, user, groups, id maps.

use crate::model::rights::{Capability, IdMap, Rights};
use rustix::thread::{CapabilitySet, capabilities};
use std::fs;

/// The rights of this process, as they are now.
pub(crate) fn rights() -> Rights {
    let user = rustix::process::geteuid().as_raw();
    let mut groups: Vec<u32> =
        rustix::process::getgroups().unwrap_or_default().iter().map(|gid| gid.as_raw()).collect();
    groups.push(rustix::process::getegid().as_raw());
    let users = id_map("/proc/self/uid_map");
    // A user namespace that maps all ids counts as the initial one; refusals that contradict that are learned.
    let is_first = users == IdMap::all();
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let known = [
        (Capability::Chown, CapabilitySet::CHOWN, true),
        (Capability::DacOverride, CapabilitySet::DAC_OVERRIDE, true),
        (Capability::Fowner, CapabilitySet::FOWNER, true),
        (Capability::Fsetid, CapabilitySet::FSETID, true),
        (Capability::Mknod, CapabilitySet::MKNOD, is_first),
        (Capability::Setfcap, CapabilitySet::SETFCAP, true),
        (Capability::SysAdmin, CapabilitySet::SYS_ADMIN, true),
        (Capability::TrueSysAdmin, CapabilitySet::SYS_ADMIN, is_first),
    ];
    let held = known.into_iter().filter(|(_, flag, counts)| *counts && effective.contains(*flag));
    Rights::of_user(user, groups)
        .with(held.map(|(capability, ..)| capability))
        .mapped(users, id_map("/proc/self/gid_map"))
}

/// The ids that this process can name; all of them where the kernel has no user namespaces.
fn id_map(path: &str) -> IdMap {
    fs::read_to_string(path).map_or_else(|_| IdMap::all(), |map| parse(&map))
}

/// Lines of first id inside, first id outside, and count (user_namespaces(7)).
fn parse(map: &str) -> IdMap {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        let (inside, _, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some((inside, count))
    };
    IdMap(map.lines().filter_map(range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse("         0          0 4294967295\n"), IdMap::all());
        assert_eq!(parse("0 1000 1\n1 100000 65536\n"), IdMap(vec![(0, 1), (1, 65536)]));
        assert_eq!(parse(""), IdMap(Vec::new()));
        assert_eq!(parse("nonsense\n0 1\n"), IdMap(Vec::new()));
    }

    #[test]
    fn this_process_is_who_it_is() {
        let rights = rights();
        assert!(rights.is_user(rustix::process::geteuid().as_raw()));
        assert!(rights.is_in(rustix::process::getegid().as_raw()));
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let effective = u64::from_str_radix(line.trim(), 16).unwrap();
        for (capability, number) in [
            (Capability::Chown, 0),
            (Capability::DacOverride, 1),
            (Capability::Fowner, 3),
            (Capability::Fsetid, 4),
        ] {
            assert_eq!(rights.may(capability), effective & 1 << number != 0, "{capability:?}");
        }
    }
}
