//! Files with a size of 0 and content, as in procfs: the content is copied and compared, and no such file fills the
//! disk.

use crate::support::program::lines_with;
use crate::support::scratch::Scratch;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// An idle process, whose procfs files are mirrored.
struct Idle(Child);

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The disk space of all files of a folder.
fn room(path: &Path) -> u64 {
    let facts = path.symlink_metadata().expect("it exists");
    let entries = facts.is_dir().then(|| fs::read_dir(path).expect("readable"));
    let below = entries.into_iter().flatten().flatten().map(|entry| room(&entry.path()));
    facts.blocks() * 512 + below.sum::<u64>()
}

#[test]
fn what_procfs_tells_of_a_process_is_copied_but_for_what_has_no_end() {
    let place = Scratch::with_source();
    let idle = Command::new("sleep").arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let idle = Idle(idle.expect("it starts"));
    // The entry of its only thread, under which procfs shows all facts of the process.
    let process = format!("/proc/{0}/task/{0}", idle.0.id());
    let roots = format!("--source {process} --replica replica --log_file log");
    for pass in 1..=2 {
        let ended = crate::support::program::start(place.with(&roots, "--once")).end();
        assert_eq!(ended.code, Some(23), "{ended:?}");
        let problems = lines_with(&ended.stderr, "WARN  problem pagemap");
        // Eight bytes for each page of the address space: 256 GiB and more.
        let expected = "WARN  problem pagemap sha256=\"\" Cannot copy the whole source file: the kernel makes it up, and \
                        gives more than 64 MiB; it is missing in the replica";
        assert_eq!(problems, [expected], "pass {pass}");
        assert!(!place.has("replica/pagemap"));
        let rest: Vec<_> = place.names("replica");
        assert!(!rest.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{rest:?}");
        assert!(room(&place.at("replica")) < 16 << 20, "{} bytes", room(&place.at("replica")));
        for file in ["cmdline", "environ", "maps"] {
            assert_eq!(
                place.read(format!("replica/{file}")),
                place.read(format!("{process}/{file}")),
                "{file}"
            );
            if pass == 2 {
                let again = lines_with(&ended.stdout, &format!(" {file} "));
                let is_copied = |line: &String| !line.starts_with("INFO  metadata ");
                assert!(!again.iter().any(is_copied), "it was right already: {again:?}");
            }
        }
    }
}

#[test]
fn a_file_that_was_emptied_is_emptied_in_the_replica_and_one_that_is_empty_stays_so() {
    let place = Scratch::with_source();
    place.write("source/emptied", "content");
    place.write("source/empty", "");
    place.sync();
    place.write("source/emptied", "");
    place.write("replica/empty", "no longer");
    let ended = place.sync();
    assert_eq!(lines_with(&ended.stdout, " emptied ").len(), 1, "{ended:?}");
    assert!(
        ended.stdout.contains("update emptied 0 B") && ended.stdout.contains("(size differs)"),
        "{ended:?}"
    );
    assert_eq!(place.read("replica/emptied") + &place.read("replica/empty"), "");
    let ended = place.sync();
    assert!(ended.stdout.contains("0 created, 0 updated, 0 deleted, 2 unchanged"), "{ended:?}");
}
