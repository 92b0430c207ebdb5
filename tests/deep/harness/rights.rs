//! The permissions of an entry as the kernel decides them, and whether an entry grants more than it should.

use crate::support::tree::{Node, What};

/// A user and his groups.
pub(crate) type Person = (u32, &'static [u32]);

/// Non-root persons: the owners, group members and ACL users of the suites, and people who are none of these.
pub(crate) const OTHERS: [Person; 16] = [
    (33, &[33]),
    (1000, &[1000]),
    (1234, &[1234]),
    (5678, &[5678]),
    (4000, &[44]),
    (4001, &[33]),
    (4002, &[0]),
    (65534, &[65534]),
    (4003, &[33, 44]),
    (4004, &[100]),
    (4005, &[777]),
    (4006, &[4242]),
    (4007, &[100, 777]),
    (4008, &[100, 4242]),
    (4009, &[777, 4242]),
    (4010, &[100, 777, 4242]),
];

/// The xattr that holds an ACL.
pub(crate) const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

/// The xattr that holds the capabilities of a program.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// The rights and claims of an entry beyond those of all its models together; `None` if there are none.
pub(crate) fn beyond(now: &Node, models: &[&Node]) -> Option<String> {
    beyond_for(now, models, &OTHERS)
}

/// The same, for these people only.
pub(crate) fn beyond_for(now: &Node, models: &[&Node], people: &[Person]) -> Option<String> {
    // A symbolic link has no rights of its own.
    if matches!(now.what, What::Symlink(_)) {
        return None;
    }
    for who in people.iter().copied() {
        // An owner can grant himself any right; the program opens his folders while it works in them.
        if now.owner.0 == who.0 && models.iter().any(|model| model.owner.0 == who.0) {
            continue;
        }
        let allowed = models.iter().fold(0, |sum, model| sum | may(model, who));
        let more = may(now, who) & !allowed;
        if more != 0 {
            return Some(format!("allows {who:?} more than any version: {more:o}, mode {:o}", now.mode));
        }
    }
    // A set-user-ID or set-group-ID bit is allowed for the intended owner or group only: its program runs with that
    // identity.
    const SETUID: u32 = 0o4000;
    const SETGID: u32 = 0o2000;
    let is_due = |bit: u32, is_same: &dyn Fn(&Node) -> bool| {
        now.mode & bit == 0 || models.iter().any(|model| model.mode & bit != 0 && is_same(model))
    };
    let are_due = is_due(SETUID, &|model| now.owner.0 == model.owner.0)
        && is_due(SETGID, &|model| now.owner.1 == model.owner.1);
    if !are_due && now.what != What::Folder {
        return Some(format!(
            "is setuid or setgid where no version is: mode {:o} of {:?}",
            now.mode, now.owner
        ));
    }
    let capability = |node: &Node| node.attributes.get(CAPABILITY).cloned();
    let is_due = |model: &&Node| capability(model) == capability(now) && now.owner == model.owner;
    (capability(now).is_some() && !models.iter().any(is_due))
        .then(|| format!("has a capability that no version of {:?} has", now.owner))
}

/// The rights of a person on an entry by the kernel's rules (acl(5)): read 4, write 2, execute 1.
pub(crate) fn may(node: &Node, (user, groups): (u32, &[u32])) -> u32 {
    const NOBODY: u16 = 2;
    const GROUP: u16 = 8;
    const OWNING_GROUP: u16 = 4;
    const MASK: u16 = 0x10;
    let (owner, owning) = node.owner;
    if user == owner {
        return node.mode >> 6 & 7;
    }
    let list = node.attributes.get(ACCESS_LIST);
    let entries: Vec<(u16, u32, u32)> = list.map_or_else(Vec::new, |list| {
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let entries = list.get(4..).unwrap_or_default().chunks_exact(8);
        entries.map(|entry| (number(&entry[..2]) as u16, number(&entry[2..4]), number(&entry[4..]))).collect()
    });
    let mask = entries.iter().find(|entry| entry.0 == MASK).map_or(7, |entry| entry.1);
    if let Some((_, bits, _)) = entries.iter().find(|entry| entry.0 == NOBODY && entry.2 == user) {
        return bits & mask;
    }
    let matching: Vec<u32> = entries
        .iter()
        .filter(|(tag, _, id)| {
            (*tag == GROUP && groups.contains(id)) || (*tag == OWNING_GROUP && groups.contains(&owning))
        })
        .map(|(_, bits, _)| bits & mask)
        .collect();
    match (matching.is_empty(), entries.is_empty()) {
        (false, _) => matching.into_iter().fold(0, |sum, bits| sum | bits),
        (true, true) if groups.contains(&owning) => node.mode >> 3 & 7,
        (true, _) => node.mode & 7,
    }
}
