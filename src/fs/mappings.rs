//! Files that processes can write through memory: shared, writable mappings (`mmap(2)`), from `/proc/PID/maps`.
//!
//! The kernel stamps such a file when a clean page is first written to, and not at the stores that follow until the page
//! has been written back, half a minute later or more; on tmpfs it never stamps again. So the times of a mapped file say
//! nothing about its last stores.

use crate::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The inode numbers of files with such a mapping. Their devices are left out: btrfs and overlayfs show others here than
/// `stat(2)` does.
pub(crate) type Mapped = HashSet<u64>;

/// The mapped files of all processes of this computer; none where not all of them can be seen: by an ordinary user, or
/// in a container.
pub(crate) fn mapped_files() -> Option<Mapped> {
    // PROC_PID_INIT_INO: the first namespace of processes.
    const EVERYBODY: &str = "pid:[4026531836]";
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    if namespace != Path::new(EVERYBODY) {
        return None;
    }
    let mut mapped = Mapped::default();
    for entry in fs::read_dir("/proc").ok()? {
        let name = entry.ok()?.file_name();
        if !name.as_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        match fs::read(Path::new("/proc").join(&name).join(OsStr::new("maps"))) {
            Ok(maps) => mapped.extend(of_process(&maps)),
            // It has ended meanwhile, with its mappings. ESRCH has no kind of its own.
            Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(3) => {}
            // The first process starts others, and writes no files of a source; some protect it from root.
            Err(_) if name == "1" => {}
            Err(_) => return None,
        }
    }
    Some(mapped)
}

/// The inode numbers in the shared and writable lines of one process.
fn of_process(maps: &[u8]) -> impl Iterator<Item = u64> {
    maps.split(|byte| *byte == b'\n').filter_map(|line| {
        // Address, rights, offset, device, inode, path.
        let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let rights = fields.nth(1)?;
        let inode = std::str::from_utf8(fields.nth(2)?).ok()?.parse().ok()?;
        (rights.get(1) == Some(&b'w') && rights.get(3) == Some(&b's') && inode != 0).then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_writable_lines_count_and_no_others() {
        let maps = b"55d0c0a00000-55d0c0a21000 r--p 00000000 fe:00 1311 /usr/bin/cat\n\
            7f0000000000-7f0000001000 rw-s 00000000 fe:00 4711 /data/my file.db (deleted)\n\
            7f0000002000-7f0000003000 r--s 00000000 fe:00 4712 /data/read\n\
            7f0000004000-7f0000005000 rw-p 00000000 fe:00 4713 /data/private\n\
            7f0000006000-7f0000007000 rw-s 00000000 00:01 0 \n\
            7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]\nrubbish";
        assert_eq!(of_process(maps).collect::<Vec<_>>(), [4711]);
    }

    #[test]
    fn this_machine_can_be_asked() {
        // Whether anything may be seen depends on who asks.
        let _ = mapped_files();
    }
}
