//! Plans that look like a disaster: what holds a pass, what the log says then, and what lets it through.

use crate::support::program::{Ended, start, until};
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use std::fs;
use std::process::Command;

/// A mirrored source with so many files, in a folder of its own.
fn mirrored(files: usize) -> Scratch {
    let place = Scratch::with_source();
    fs::create_dir(place.at("source/many")).expect("created");
    for number in 0..files {
        place.write(format!("source/many/{number:03}"), "content");
    }
    place.sync();
    place
}

fn once(place: &Scratch, options: &str) -> Ended {
    place.run(&format!("--once {options}"))
}

fn remove(place: &Scratch, files: std::ops::Range<usize>) {
    for number in files {
        fs::remove_file(place.at(format!("source/many/{number:03}"))).expect("removed");
    }
}

/// A pass that is held and leaves the replica as it is; what it says.
fn held(place: &Scratch, options: &str) -> String {
    let before = Tree::of(&place.replica).stamped();
    let ended = once(place, options);
    assert_eq!(ended.code, Some(25), "{ended:?}");
    assert_same("a held pass wrote", &before, &Tree::of(&place.replica).stamped());
    ended.console()
}

/// Runs the command that a held pass names, in a shell, and returns what it says.
fn approve(place: &Scratch, said: &str) -> String {
    let (_, command) = said.split_once("if that is meant: file-sync ").expect("a command");
    let (command, _) = command.split_once("; nothing was changed").expect("its end");
    let program = place.program.to_str().expect("plain");
    let output = Command::new("sh").args(["-c", &format!("{program} {command}")]).output().expect("run");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command}: {output:?}");
    told
}

#[test]
fn a_held_plan_goes_through_once_after_its_approval() {
    let place = mirrored(30);
    remove(&place, 0..20);
    let said = held(&place, "--max-delete 10");
    assert!(
        said.contains("would delete 20 of the replica's 31 entries (64 %); --max-delete allows 10"),
        "{said}"
    );
    assert!(
        said.contains(": many/000 (1), many/001 (1), many/002 (1) and 17 more; if that is meant:"),
        "{said}"
    );
    // Held again in the same way: the approval is for either.
    assert!(held(&place, "--max-delete 10").contains("would delete 20"));
    let told = approve(&place, &said);
    assert!(told.contains("20 (140 B) deleted, 0 (0 B) overwritten"), "{told}");
    let ended = once(&place, "--max-delete 10");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.console().contains("Goes on with an approved plan, which would be held"), "{ended:?}");
    assert!(!place.replica.join("many/000").exists() && place.replica.join("many/029").exists());
    // Once: the same number again is another plan.
    for number in 0..20 {
        place.write(format!("source/many/{number:03}"), "content");
    }
    assert_eq!(once(&place, "").code, Some(0));
    remove(&place, 0..20);
    held(&place, "--max-delete 10");
}

#[test]
fn what_was_not_approved_has_to_keep_within_the_limits() {
    let place = mirrored(50);
    remove(&place, 0..20);
    let first = held(&place, "--max-delete 10");
    // Eleven more are too many, and void the approval.
    approve(&place, &first);
    remove(&place, 20..31);
    held(&place, "--max-delete 10");
    for number in 20..31 {
        place.write(format!("source/many/{number:03}"), "content");
    }
    let second = held(&place, "--max-delete 10");
    approve(&place, &second);
    // Some of them are back, and ten others have gone.
    place.write("source/many/005", "content");
    remove(&place, 40..50);
    assert_eq!(once(&place, "--max-delete 10").code, Some(0));
    assert_eq!(place.names("replica/many").len(), 21);
}

#[test]
fn the_command_of_an_old_line_approves_no_later_plan() {
    let place = mirrored(50);
    remove(&place, 0..20);
    let first = held(&place, "--max-delete 10");
    remove(&place, 20..50);
    held(&place, "--max-delete 10");
    let (_, command) = first.split_once("if that is meant: file-sync ").expect("a command");
    let (command, _) = command.split_once("; nothing was changed").expect("its end");
    let ended = start(place.bare().args(command.split(' '))).end();
    assert!(ended.code == Some(1) && ended.stderr.contains("another plan is held by now"), "{ended:?}");
    held(&place, "--max-delete 10");
}

#[test]
fn an_older_source_in_the_place_of_the_right_one_is_held() {
    let place = Scratch::with_source();
    for (folder, content) in [("old", "older"), ("new", "the newer ones")] {
        place.folder(folder);
        for number in 0..150 {
            place.write(format!("{folder}/{number:03}"), content);
        }
    }
    fs::remove_dir(&place.source).expect("removed");
    place.link("source", "new");
    place.sync();
    fs::remove_file(&place.source).expect("removed");
    place.link("source", "old");
    let said = held(&place, "");
    assert!(said.contains("would overwrite 150 of the replica's 150 entries"), "{said}");
}

#[test]
fn files_that_moved_ones_replace_are_overwritten() {
    let place = mirrored(20);
    for number in (0..20).step_by(2) {
        let [old, new] = [number, number + 1].map(|number| place.at(format!("source/many/{number:03}")));
        fs::write(&old, format!("content {number}")).expect("written");
        place.sync();
        fs::rename(old, new).expect("renamed");
    }
    let said = held(&place, "--max-delete 0 --max-change 0");
    assert!(said.contains("would delete ") || said.contains("would overwrite "), "{said}");
}

#[test]
fn a_log_and_a_new_filesystems_folder_make_no_source_that_has_something() {
    for (path, options) in
        [("source/log", "--log_file source/log"), ("source/lost+found/x", "--log_file log")]
    {
        let place = Scratch::with_source();
        for number in 0..20 {
            place.write(format!("replica/{number}"), "content");
        }
        place.write(path, "");
        let ended =
            start(place.with("--source source --replica replica", &format!("--once {options}"))).end();
        assert!(ended.code == Some(25) && ended.stderr.contains("the source is empty"), "{path}: {ended:?}");
    }
}

#[test]
fn two_folders_that_are_both_others_and_empty_are_no_new_beginning() {
    let place = mirrored(5);
    for root in ["source", "replica"] {
        place.rename(root, &format!("{root}.unmounted"));
        place.folder(root);
    }
    let said = held(&place, "");
    assert!(said.contains("the source is not the folder of the last pass"), "{said}");
    for root in ["source", "replica"] {
        fs::remove_dir(place.at(root)).expect("removed");
        place.rename(&format!("{root}.unmounted"), root);
    }
    assert_eq!(once(&place, "").code, Some(0));
}

#[test]
fn a_folder_that_was_approved_as_a_whole_covers_what_is_in_it() {
    let place = mirrored(30);
    fs::rename(place.at("source/many"), place.at("aside")).expect("renamed");
    approve(&place, &held(&place, "--max-delete 10"));
    fs::rename(place.at("aside"), place.at("source/many")).expect("renamed");
    remove(&place, 5..30);
    assert_eq!(once(&place, "--max-delete 10").code, Some(0));
    assert_eq!(place.names("replica/many").len(), 5);
}

#[test]
fn by_default_more_than_half_and_at_least_a_hundred_are_held() {
    let place = mirrored(199);
    remove(&place, 0..99);
    assert_eq!(once(&place, "").code, Some(0), "99 are few");
    for number in 0..99 {
        place.write(format!("source/many/{number:03}"), "content");
    }
    assert_eq!(once(&place, "").code, Some(0));
    remove(&place, 0..100);
    assert_eq!(once(&place, "").code, Some(0), "100 of 200 are half");
    for number in 0..100 {
        place.write(format!("source/many/{number:03}"), "content");
    }
    assert_eq!(once(&place, "").code, Some(0));
    remove(&place, 0..101);
    assert!(held(&place, "").contains("would delete 101 of the replica's 200 entries (50 %)"));
    assert_eq!(once(&place, "--max-delete 60%").code, Some(0));
}

#[test]
fn a_source_that_was_overwritten_as_a_whole_is_held_and_a_repair_is_not() {
    let place = mirrored(150);
    // The replica is written by somebody else: that is what a mirror is for.
    for number in 0..150 {
        place.write(format!("replica/many/{number:03}"), "damaged");
    }
    let ended = once(&place, "--max-change 0");
    if ended.code == Some(25) {
        // The facts of files of the last seconds prove nothing, and then it may be an older source.
        assert_eq!(once(&place, "--max-change off").code, Some(0));
    } else {
        assert!(ended.code == Some(0) && ended.console().contains("150 repaired"), "{ended:?}");
    }
    for number in 0..150 {
        place.write(format!("source/many/{number:03}"), "pay for your files");
    }
    let said = held(&place, "");
    assert!(
        said.contains("would overwrite 150 of the replica's 151 entries (99 %) with other contents"),
        "{said}"
    );
    let said = held(&place, "--max-change 1KiB");
    assert!(said.contains("2700 bytes; --max-change allows 1024"), "{said}");
    assert_eq!(once(&place, "--max-change 3KB").code, Some(0));
}

#[test]
fn moves_are_no_deletions_and_new_files_are_never_held() {
    let place = mirrored(150);
    fs::rename(place.at("source/many"), place.at("source/moved")).expect("renamed");
    place.write("source/new", "content");
    let ended = once(&place, "--max-delete 0 --max-change 0");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(place.replica.join("moved/000").exists() && place.replica.join("new").exists());
    fs::remove_file(place.at("source/new")).expect("removed");
    let said = held(&place, "--max-delete 0");
    assert!(
        said.contains("would delete 1 of the replica's 152 entries (0 %); --max-delete allows 0: new (1);"),
        "{said}"
    );
}

#[test]
fn another_folder_in_the_place_of_the_source_does_not_empty_the_replica() {
    let place = mirrored(5);
    fs::rename(&place.source, place.at("unmounted")).expect("renamed");
    fs::create_dir(&place.source).expect("created");
    let said = held(&place, "--max-delete off");
    assert!(said.contains("the source is not the folder of the last pass (inode "), "{said}");
    assert!(said.contains("is it mounted?"), "{said}");
    // It is mounted again, and nobody has to do anything.
    fs::remove_dir(&place.source).expect("removed");
    fs::rename(place.at("unmounted"), &place.source).expect("renamed");
    assert_eq!(once(&place, "").code, Some(0));
    // Another folder with the same content is as good.
    fs::rename(&place.source, place.at("unmounted")).expect("renamed");
    fs::create_dir_all(place.at("source/many")).expect("created");
    for number in 0..5 {
        place.write(format!("source/many/{number:03}"), "content");
    }
    assert_eq!(once(&place, "").code, Some(0));
}

#[test]
fn an_empty_source_does_not_empty_a_replica_that_no_pass_has_written() {
    let place = Scratch::with_source();
    fs::create_dir(&place.replica).expect("created");
    for number in 0..10 {
        place.write(format!("replica/{number}"), "content");
    }
    let said = held(&place, "");
    assert!(said.contains("the source is empty (is it mounted?), and the plan would delete 10 of"), "{said}");
    approve(&place, &said);
    assert_eq!(once(&place, "").code, Some(0));
    assert!(place.names("replica").is_empty());
}

#[test]
fn a_dry_run_shows_a_plan_that_would_be_held_and_uses_no_approval_up() {
    let place = mirrored(30);
    remove(&place, 0..20);
    let dry = |options: &str| place.run(&format!("--dry-run {options}"));
    let ended = dry("--max-delete 10");
    assert_eq!(ended.code, Some(25), "{ended:?}");
    assert!(
        ended.stdout.contains("delete\t7\tmany/019") && ended.console().contains("would delete 20"),
        "{ended:?}"
    );
    assert!(ended.console().contains("a pass would be held, and name the command"), "{ended:?}");
    approve(&place, &held(&place, "--max-delete 10"));
    for _ in 0..2 {
        assert_eq!(dry("--max-delete 10").code, Some(0));
    }
    assert_eq!(once(&place, "--max-delete 10").code, Some(0));
}

#[test]
fn without_an_index_the_limits_hold_and_the_way_out_is_an_option() {
    let place = mirrored(30);
    remove(&place, 0..20);
    place.write("no-folder", "");
    let said = held(&place, "--max-delete 10 --state-dir no-folder");
    assert!(said.contains("if that is meant, run it once with --max-delete off --max-change off"), "{said}");
    assert_eq!(once(&place, "--max-delete off --state-dir no-folder").code, Some(0));
}

#[test]
fn repeated_passes_are_judged_afresh_and_go_on_when_the_cause_is_gone() {
    let place = mirrored(30);
    fs::rename(place.at("source/many"), place.at("aside")).expect("renamed");
    let running = start(place.command("--interval 1 --max-delete 10"));
    until("it is held twice", || running.console().matches(" held: ").count() >= 2);
    assert_eq!(place.names("replica/many").len(), 30);
    fs::rename(place.at("aside"), place.at("source/many")).expect("renamed");
    running.hears(" done: ");
    assert_eq!(running.stop().code, Some(0));
    assert_eq!(place.names("replica/many").len(), 30);
}

#[test]
fn approve_says_what_it_needs() {
    let place = mirrored(3);
    let approve =
        |arguments: &str| start(place.bare().arg("approve").args(arguments.split_whitespace())).end();
    for (arguments, code, words) in [
        ("", 2, "Nothing to approve: name the pair of a held plan"),
        ("--source source many", 2, "and not both"),
        ("--source source", 1, "was not held for its plan"),
        ("source/many", 1, "was not held for its plan"),
        ("--replica nowhere", 1, "no pair with these roots has an index"),
    ] {
        let ended = approve(arguments);
        assert!(ended.code == Some(code) && ended.stderr.contains(words), "{arguments}: {ended:?}");
    }
    remove(&place, 0..3);
    held(&place, "--max-delete 0");
    let ended = approve("replica/many");
    assert!(ended.code == Some(0) && ended.stdout.starts_with("Approved the plan of "), "{ended:?}");
    assert_eq!(once(&place, "--max-delete 0").code, Some(0));
}

#[test]
fn a_file_that_is_cut_short_weighs_as_much_as_it_loses() {
    let place = Scratch::with_source();
    place.write("source/cut", vec![7; 3 << 20]);
    place.write("source/grows", "little");
    place.sync();
    place.write("source/cut", "");
    let said = held(&place, "--max-change 2MiB");
    assert!(said.contains("with other contents, 3145728 bytes; --max-change allows 2097152"), "{said}");
    place.write("source/grows", vec![7; 1 << 20]);
    let said = held(&place, "--max-change 3MiB");
    assert!(said.contains("with other contents, 4194304 bytes"), "{said}");
    assert_eq!(once(&place, "--max-change 4MiB").code, Some(0));
    // A moved file replaces it.
    place.write("source/grows", vec![8; 1 << 20]);
    assert_eq!(once(&place, "").code, Some(0));
    place.write("source/little", "little");
    assert_eq!(once(&place, "").code, Some(0));
    place.rename("source/little", "source/grows");
    let said = held(&place, "--max-change 1000KiB");
    assert!(said.contains("with other contents, 1048576 bytes"), "{said}");
}

#[test]
fn a_first_pass_that_deletes_says_so_and_goes_on_where_nobody_can_be_asked() {
    let place = Scratch::new();
    place.write("source/file", "content");
    place.write("replica/old/one", "of another program");
    let told = "which file-sync has never written: old (2)";
    let ended = once(&place, "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains(&format!("This pass deletes 2 entries (18 B) from replica, {told}")),
        "{ended:?}"
    );
    assert!(!place.has("replica/old") && place.has("replica/file"));
    // It has written it by now.
    fs::remove_file(place.at("source/file")).expect("removed");
    let ended = once(&place, "");
    assert_eq!((ended.code, ended.stderr.contains("deletes")), (Some(0), false), "{ended:?}");

    let place = Scratch::new();
    place.write("replica/old", "of another program");
    let ended = once(&place, "--yes");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.contains("that was confirmed: old (1)"), "{ended:?}");
}

#[test]
fn a_plan_is_approved_through_links_to_its_folders() {
    for path in ["link", "link/", "link/many", "away/source", "to_replica", "inside"] {
        let place = mirrored(20);
        place.link("link", "source");
        place.folder("far");
        place.link("away", "far");
        place.link("far/source", "../source");
        place.link("to_replica", "replica");
        place.link("inside", "source/many");
        remove(&place, 0..15);
        held(&place, "--max-delete 10");
        let mut approve = place.bare();
        let ended = start(approve.args(["approve", path])).end();
        assert_eq!(ended.code, Some(0), "{path}: {ended:?}");
        assert_eq!(once(&place, "--max-delete 10").code, Some(0), "{path}");
    }
}
