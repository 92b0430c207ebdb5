//! Whether a process still lives. An id alone does not tell: the kernel gives it to another process later.
//!
//! A process is known by its boot, its namespace of process ids, and its start time in ticks since that boot
//! (`proc_pid_stat(5)`, field 22). Rejected: the lock on the replica, because asking for it opens the replica, which may
//! be on a disk that hangs.

use crate::fs::boot;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Whether a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It does.
    Alive,
    /// It has ended.
    Ended,
    /// It is in another container, or `/proc` hides it.
    Unknown,
}

/// The id of this process, and what makes it unmistakable.
pub(crate) fn own() -> (u32, String) {
    let id = std::process::id();
    (id, mark(id).unwrap_or_default())
}

/// Whether the process with this id and this mark lives.
pub(crate) fn life(id: u32, marked: &str) -> Life {
    let known = mark(id);
    let ours = format!("{} {} ", boot(), namespace());
    // Of an earlier boot of this computer.
    let boot_of = |mark: &str| mark.split(' ').next().map(str::to_owned);
    if boot_of(marked) != boot_of(&ours) {
        return Life::Ended;
    }
    if !marked.starts_with(&ours) {
        return Life::Unknown;
    }
    match known {
        Some(known) if known == marked => Life::Alive,
        Some(_) => Life::Ended,
        None if is_absent(id) => Life::Ended,
        None => Life::Unknown,
    }
}

/// The boot, the namespace and the start time of a process; none where it cannot be looked at.
pub(crate) fn mark(id: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(format!("{} {} {}", boot(), namespace(), started(&stat)?))
}

/// Field 22 of `/proc/ID/stat`. The second one is the name of the program, which may hold spaces and parentheses.
fn started(stat: &str) -> Option<&str> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split(' ').nth(19)
}

/// The namespace of process ids that this process is in; empty where the kernel does not tell.
fn namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

fn is_absent(id: u32) -> bool {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    id.is_none_or(|id| test_kill_process(id) == Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let behind: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        for name in ["cat", "a b", "a) b", ")) S 1 "] {
            assert_eq!(started(&format!("7 ({name}) {}", behind.join(" "))), Some("22"), "{name}");
        }
        assert_eq!(started("7 (cat"), None);
        assert_eq!(started("7 (cat) S 1"), None);
    }

    #[test]
    fn a_process_lives_until_it_has_ended_and_is_no_other_one() {
        let (id, mark) = own();
        assert_eq!(life(id, &mark), Life::Alive);
        let (words, last) = mark.rsplit_once(' ').unwrap();
        assert_eq!(life(id, &format!("{words} 1{last}")), Life::Ended, "another one with the same id");
        assert_eq!(life(id, "another-boot 1 2"), Life::Ended);
        assert_eq!(life(id, ""), Life::Ended);
        let boot = mark.split(' ').next().unwrap();
        assert_eq!(life(id, &format!("{boot} 1 2")), Life::Unknown, "in another container");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mark = super::mark(child.id()).unwrap();
        assert_eq!(life(child.id(), &mark), Life::Alive);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(life(child.id(), &mark), Life::Ended);
    }
}
