//! Filters: what is left out, what the replica keeps of it, and what is told.

use crate::support::program::{Ended, start};
use crate::support::scratch::Scratch;
use std::fs;
use std::os::unix::fs::symlink;

/// One pass with options in which `|` separates the words, so that a pattern may have a space.
fn once(place: &Scratch, options: &str) -> Ended {
    let words = options.split('|').map(str::trim).filter(|word| !word.is_empty());
    start(place.command("--once").args(words)).end()
}

fn done(place: &Scratch, options: &str) -> String {
    let ended = once(place, options);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.console()
}

/// A usage error; what it says.
fn refused(place: &Scratch, options: &str) -> String {
    let ended = once(place, options);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(!place.has("replica/made"), "{ended:?}");
    ended.stderr
}

/// A source of these files and, with a slash at the end, folders.
fn source(paths: &[&str]) -> Scratch {
    let place = Scratch::with_source();
    plant(&place, "source", paths);
    place
}

fn plant(place: &Scratch, root: &str, paths: &[&str]) {
    for path in paths {
        let at = place.at(format!("{root}/{path}"));
        if path.ends_with('/') {
            fs::create_dir_all(at).unwrap();
        } else {
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, format!("content of {path}")).unwrap();
        }
    }
}

/// Every entry of the replica that is no folder with something in it.
fn replica(place: &Scratch) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![place.at("replica")];
    while let Some(folder) = folders.pop() {
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        if names.is_empty() {
            names.push(folder.join("."));
        }
        for path in names {
            if path.is_dir() && !path.is_symlink() && !path.ends_with(".") {
                folders.push(path);
            } else {
                let below = path.strip_prefix(place.at("replica")).unwrap();
                found.push(below.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn nothing_is_left_out_unless_asked_for() {
    let place = source(&[".gitignore", "a.tmp", "cache/CACHEDIR.TAG", ".nobackup"]);
    place.write("source/.gitignore", "*.tmp\n");
    done(&place, "");
    assert_eq!(replica(&place), [".gitignore", ".nobackup", "a.tmp", "cache/CACHEDIR.TAG"]);
}

#[test]
fn patterns_leave_out_at_any_depth_or_at_the_top_and_exceptions_keep_in() {
    let place = source(&["a.tmp", "keep.tmp", "b/c.tmp", "b/d", "top/x", "b/top/x", "only/f", "b/only"]);
    let said = done(&place, "--exclude|*.tmp|--exclude|/top|--exclude|only/|--include|keep.tmp");
    assert_eq!(replica(&place), ["b/d", "b/only", "b/top/x", "keep.tmp"]);
    assert!(said.contains(" 4 excluded,"), "{said}");
    // The same from a file, in the same order.
    let other = source(&["a.tmp", "keep.tmp", "b/c.tmp", "b/d"]);
    other.write("rules", "# what need not be kept\n*.tmp\n\n!keep.tmp\n");
    done(&other, "--exclude-from|rules|--exclude|d");
    assert_eq!(replica(&other), ["b", "keep.tmp"]);
}

#[test]
fn what_is_left_out_stays_in_the_replica_and_goes_with_delete_excluded() {
    let place = source(&["a.tmp", "b/c.tmp", "b/d", "cache/x", "e"]);
    done(&place, "");
    place.remove("source/e");
    place.write("source/a.tmp", "newer");
    let said = done(&place, "--exclude|*.tmp|--exclude|cache/");
    assert_eq!(replica(&place), ["a.tmp", "b/c.tmp", "b/d", "cache/x"]);
    assert_eq!(place.read("replica/a.tmp"), "content of a.tmp");
    assert!(said.contains(" 3 excluded, 3 excluded still in the replica,"), "{said}");
    let status = start(place.bare().arg("status")).end();
    assert!(status.stdout.contains("replica still has 3 entries that the rules leave out"), "{status:?}");
    let said = done(&place, "--exclude|*.tmp|--exclude|cache/|--delete-excluded");
    assert_eq!(replica(&place), ["b/d"]);
    assert!(said.contains("delete a.tmp") && said.contains("4 deleted"), "{said}");
    assert!(place.has("source/cache/x"));
}

#[test]
fn a_folder_that_goes_stays_with_what_is_left_out_in_it_and_nothing_else() {
    let place = source(&["old/a", "old/deep/b.tmp", "old/deep/c", "old/other/d", "e"]);
    done(&place, "");
    fs::remove_dir_all(place.at("source/old")).unwrap();
    let dry = done(&place, "--exclude|*.tmp|--dry-run");
    assert!(dry.contains("\told/\t1 folder, 3 files, what is excluded in it stays\n"), "{dry}");
    let said = done(&place, "--exclude|*.tmp");
    assert_eq!(replica(&place), ["e", "old/deep/b.tmp"]);
    assert!(said.contains("notice The folder old has gone from the source and stays"), "{said}");
    assert!(said.contains(" 4 deleted,"), "{said}");
    // Then there is nothing to do.
    let said = done(&place, "--exclude|*.tmp");
    assert!(said.contains(" 0 deleted,") && !said.contains("delete old"), "{said}");
    // The rule has gone, and so does the rest.
    done(&place, "");
    assert_eq!(replica(&place), ["e"]);
}

#[test]
fn an_entry_that_is_left_out_is_in_the_way_of_another_kind() {
    let place = source(&["thing/inner", "box/keep.tmp", "e"]);
    done(&place, "");
    fs::remove_dir_all(place.at("source/thing")).unwrap();
    fs::remove_dir_all(place.at("source/box")).unwrap();
    plant(&place, "source", &["thing", "box"]);
    // A file in the place of a folder that is left out, and of a folder with such an entry in it.
    let ended = once(&place, "--exclude|thing/|--exclude|*.tmp");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert!(ended.stderr.contains("problem thing Cannot replace this entry of the replica"), "{ended:?}");
    assert!(ended.stderr.contains("problem box Cannot replace this entry of the replica"), "{ended:?}");
    assert_eq!(replica(&place), ["box/keep.tmp", "e", "thing/inner"]);
    done(&place, "--exclude|thing/|--exclude|*.tmp|--delete-excluded");
    assert_eq!(replica(&place), ["box", "e", "thing"]);
}

#[test]
fn a_folder_with_a_marker_keeps_the_marker_alone() {
    let place =
        source(&["cache/big", "cache/sub/x", "fake/CACHEDIR.TAG", "fake/y", "skip/.nobackup", "skip/z", "e"]);
    place.write("source/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# by hand\n");
    let options = "--exclude-caches|--exclude-if-present|.nobackup";
    done(&place, options);
    let expected = ["cache/CACHEDIR.TAG", "e", "fake/CACHEDIR.TAG", "fake/y", "skip/.nobackup"];
    assert_eq!(replica(&place), expected);
    // Without its marker a folder is like any other.
    place.remove("source/skip/.nobackup");
    done(&place, options);
    assert!(place.has("replica/skip/z") && !place.has("replica/skip/.nobackup"));
    // With one, what was copied before stays.
    plant(&place, "source", &["skip/.nobackup", "skip/new"]);
    place.remove("source/skip/z");
    done(&place, options);
    assert!(place.has("replica/skip/z") && !place.has("replica/skip/new"));
}

#[test]
fn sizes_are_those_of_the_source() {
    let place = source(&["e"]);
    place.write("source/small", "1");
    place.write("source/grows", "12345");
    place.write("source/shrinks", "1234567890123");
    symlink("nowhere-at-all", place.at("source/link")).unwrap();
    done(&place, "");
    place.write("source/grows", "1234567890123");
    place.write("source/shrinks", "12345");
    done(&place, "--min-size|2|--max-size|12");
    // A copy of a file that has become too large stays as it was; one that fits now is renewed.
    assert_eq!(place.read("replica/grows"), "12345");
    assert_eq!(place.read("replica/shrinks"), "12345");
    assert!(place.has("replica/small"));
    for name in ["small", "grows", "link"] {
        place.remove(format!("source/{name}"));
    }
    done(&place, "--min-size|2|--max-size|12");
    // What the source lacks goes if it has a size that is mirrored.
    assert_eq!(replica(&place), ["e", "shrinks", "small"]);
}

#[test]
fn moves_take_along_what_is_left_out_unless_its_rule_is_for_the_place() {
    let place = source(&["old/a", "old/b.tmp", "e"]);
    done(&place, "");
    place.rename("source/old", "source/new");
    let said = done(&place, "--exclude|*.tmp");
    assert!(said.contains("move old/ -> new/"), "{said}");
    assert_eq!(replica(&place), ["e", "new/a", "new/b.tmp"]);
    // Elsewhere this one would be deleted.
    place.rename("source/new", "source/newer");
    let said = done(&place, "--exclude|/new/b.tmp");
    assert!(!said.contains("move new/ ->"), "{said}");
    assert_eq!(replica(&place), ["e", "new/b.tmp", "newer/a", "newer/b.tmp"]);
    // And what is left out itself is not taken away.
    place.rename("source/newer", "source/last");
    done(&place, "--exclude|/newer|--exclude|/new");
    assert_eq!(replica(&place), ["e", "last/a", "last/b.tmp", "new/b.tmp", "newer/a", "newer/b.tmp"]);
}

#[test]
fn a_file_that_shares_its_inode_with_one_that_is_left_out_does_not_change_it() {
    let place = source(&["a", "e"]);
    fs::hard_link(place.at("source/a"), place.at("source/a.tmp")).unwrap();
    done(&place, "");
    place.write("source/a", "other content");
    done(&place, "--exclude|*.tmp");
    assert_eq!(place.read("replica/a"), "other content");
    assert_eq!(place.read("replica/a.tmp"), "content of a");
}

#[test]
fn deletions_of_what_is_left_out_are_judged_like_any() {
    let place = source(&["e"]);
    for number in 0..150 {
        place.write(format!("source/{number}.tmp"), "x");
    }
    done(&place, "");
    let ended = once(&place, "--exclude|*.tmp|--delete-excluded");
    assert_eq!(ended.code, Some(25), "{ended:?}");
    assert!(ended.stderr.contains("would delete 150 of the replica's 151 entries"), "{ended:?}");
    done(&place, "--exclude|*.tmp|--delete-excluded|--max-delete|off");
    assert_eq!(replica(&place), ["e"]);
}

#[test]
fn a_rule_that_decides_about_nothing_is_told() {
    let place = source(&["a.tmp", "b"]);
    place.write("rules", "*.tmp\n*.bak\n");
    let said = done(&place, "--exclude-from|rules|-v");
    assert!(said.contains("WARN  notice The rule *.bak (rules:2) decided about nothing"), "{said}");
    assert!(said.contains("DEBUG notice The rule *.tmp (rules:1) decided about 1 entry"), "{said}");
    assert!(said.contains("DEBUG exclude a.tmp by *.tmp (rules:1)"), "{said}");
    assert!(!done(&place, "--exclude-from|rules").contains("decided about 1 entry"));
}

#[test]
fn rules_that_can_only_be_a_mistake_are_refused_with_what_to_type() {
    let place = source(&["made"]);
    let idiom = refused(&place, "--include|*/|--include|*.jpg|--exclude|*");
    assert!(idiom.contains("say --exclude '*' --include '*.jpg' --include '*/'"), "{idiom}");
    done(&place, "--exclude|*|--include|*.jpg|--include|*/|--dry-run");
    place.write("latin", b"a\n\xff\n");
    place.write("source/rules", "*.tmp\n");
    place.folder("folder");
    for (options, words) in [
        ("--include|*.jpg", "does nothing"),
        ("--exclude|a|--include|b|--exclude|**", "leaves out everything"),
        ("--exclude|!a", "it begins with !"),
        ("--exclude| ", "a value is required"),
        ("--exclude|/", "it is empty"),
        ("--exclude|a[", "its [ has no ]"),
        ("--exclude|a\\", "ends in a backslash"),
        ("--exclude|../a", "has a . or .."),
        ("--exclude-from|missing", "it cannot be read: No such file"),
        ("--exclude-from|folder", "it is not a regular file"),
        ("--exclude-from|latin", "line 2 is not UTF-8"),
        ("--exclude-from|source/rules", "it lies inside the source"),
        ("--exclude-if-present|a/b", "it is no name of an entry"),
        ("--min-size|many", "it is not a size"),
        ("--min-size|5|--max-size|4", "no file has at least 5 bytes and at most 4"),
        ("--delete-excluded", "nothing is left out"),
    ] {
        let said = refused(&place, options);
        assert!(said.contains(words), "{options}: {said}");
    }
}

#[test]
fn a_marker_stays_as_long_as_what_it_keeps() {
    for (marker, content, options) in [
        (".nobackup", "", "--exclude-if-present|.nobackup"),
        ("CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n", "--exclude-caches"),
    ] {
        let place = source(&["gone/data", "gone/deep/more", "e"]);
        done(&place, "");
        place.write(format!("source/gone/{marker}"), content);
        done(&place, options);
        fs::remove_dir_all(place.at("source/gone")).unwrap();
        let kept = [format!("gone/{marker}"), "gone/data".to_owned(), "gone/deep/more".to_owned()];
        for _pass in 0..3 {
            let said = done(&place, options);
            assert!(said.contains(" 0 deleted,"), "{said}");
            assert!(kept.iter().all(|path| place.has(format!("replica/{path}"))), "{said}");
        }
        // With nothing else in it, a folder goes with its marker.
        fs::remove_dir_all(place.at("replica/gone/deep")).unwrap();
        place.remove("replica/gone/data");
        done(&place, options);
        assert_eq!(replica(&place), ["e"]);
    }
}

#[test]
fn a_folder_that_is_left_out_is_not_moved_away_with_the_source() {
    let place = source(&["from/d/f", "from/d/old", "to/"]);
    done(&place, "");
    place.write("source/from/.nobackup", "");
    place.rename("source/from/d", "source/to/d");
    place.remove("source/to/d/old");
    done(&place, "--exclude-if-present|.nobackup");
    assert_eq!(replica(&place), ["from/.nobackup", "from/d/f", "from/d/old", "to/d/f"]);
}

#[test]
fn a_file_that_is_left_out_by_its_size_is_not_replaced_by_another_kind() {
    let place = source(&["e"]);
    done(&place, "");
    place.write("replica/large", "content of a large file");
    symlink("elsewhere", place.at("source/large")).unwrap();
    let ended = once(&place, "--max-size|20");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(place.read("replica/large"), "content of a large file");
}

#[test]
fn what_could_not_come_to_its_new_place_keeps_its_old_one() {
    let place = source(&["precious", "folder/deep/file", "e"]);
    plant(&place, "replica", &["cache/y", "box.tmp"]);
    done(&place, "--exclude|cache/|--exclude|*.tmp");
    place.rename("source/precious", "source/cache");
    place.rename("source/folder", "source/box.tmp");
    // A file is in the way of the folder, and a folder of the file.
    let ended = once(&place, "--exclude|cache/|--exclude|*.tmp|--include|box.tmp/");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    let kept = ["box.tmp", "cache/y", "e", "folder/deep/file", "precious"];
    assert_eq!(replica(&place), kept, "{ended:?}");
}

#[test]
fn a_temporary_of_a_killed_process_is_removed_whatever_the_rules_say() {
    let place = source(&["a", "folder/b"]);
    done(&place, "");
    let name = format!(".file-sync-{:032x}.tmp", 7);
    plant(&place, "replica", &[&name, &format!("folder/{name}")]);
    // One of the source is a file like any other.
    place.write("source/.file-sync-00000000000000000000000000000008.tmp", "x");
    done(&place, "--exclude|.*|--exclude|*.tmp");
    assert_eq!(replica(&place), ["a", "folder/b"]);
}

#[test]
fn what_cannot_be_read_may_be_left_out() {
    let place = Scratch::of_ordinary_user();
    plant(&place, "source", &["p", "cache/k", "cache/CACHEDIR.TAG", "e"]);
    plant(&place, "replica", &["p/x.tmp", "cache/old"]);
    place.mode("replica/p", 0);
    place.mode("source/cache/CACHEDIR.TAG", 0);
    for _pass in 0..2 {
        let ended = once(&place, "--exclude|/p/x.tmp|--exclude-caches");
        assert_eq!(ended.code, Some(23), "{ended:?}");
        assert!(ended.stderr.contains("problem cache/CACHEDIR.TAG "), "{ended:?}");
        assert!(ended.stderr.contains("problem p Cannot replace this entry of the replica"), "{ended:?}");
    }
    place.mode("replica/p", 0o700);
    assert_eq!(replica(&place), ["cache/old", "e", "p/x.tmp"]);
}
