//! Short texts for people who look something up: the screen of `-h`, and the answer to no arguments at all.
//!
//! `--help` is generated from the definition and has everything. These two are written by hand, because a person who
//! asks with `-h` wants what is used most, grouped by purpose, on one screen. Tests compare them with the definition.

/// The answer to `-h`.
pub(super) const SCREEN: &str = "\
Keeps a replica folder exactly equal to a source folder, pass after pass, on a schedule.

Usage: file-sync --source DIR --replica DIR --interval TIME --log_file PATH [OPTIONS]
       file-sync --source DIR --replica DIR --once | --dry-run [OPTIONS]
       file-sync COMMAND [OPTIONS]

What to mirror:
  --source DIR         Folder to copy from; it is only ever read
  --replica DIR        Folder to make equal to it: what the source lacks is DELETED from it
  --exclude PATTERN    Leave out, as in .gitignore: '*.tmp', /cache/; the replica keeps what it has
  --include PATTERN    Make an exception to the patterns before it: the last match decides
When:
  --interval TIME      From the start of a pass to the start of the next: 60 (seconds), 15m, 1d
  --once               One pass, then exit
  -n, --dry-run        Show what one pass would do, then exit
  --rpo TIME           Warn before the replica gets older than this [default: twice the interval]
Safety:
  --max-delete LIMIT   Hold a pass that would delete more: 20%, 1000, 10GiB or off [default: 50%]
  --max-change LIMIT   Hold a pass that would overwrite more; the same limits and default
Care for contents:
  --rehash-after TIME  Trust unchanged files this long, then read them again [default: 0]
  --verify-writes      Read every copy back from the disk before it replaces the old version
Gentle:
  --bwlimit RATE       At most so many bytes of contents a second: 50MiB, 800K, off
  --nice               Give way to other programs, on the processor and the disks
  -j, --threads N      At most so many worker threads
What is shown:
  --log_file PATH      Log file, or a folder for it; optional with --once and --dry-run
  -v, --verbose        Also name what is equal, and what is left out by which rule
  -q, --quiet          Only warnings and errors on the console
  --log-format FORM    text, or json: one object per line
  -h                   This screen; --help has all options, COMMAND --help those of a command
  -V, --version        Print the version

Commands:
  explain      What the next pass would do to a PATH, and why
  status       Is every replica as fresh as it has to be? For people, scripts and monitors
  history      The passes of each pair; of a PATH, what they did to it
  verify       Read a replica and check every file against its digest; needs no source
  manifest     Print the digests of a replica for sha256sum --check
  approve      Let a held plan through once, or accept a file that seems to have rotted
  completions  Print completions for a shell

Examples:
  file-sync --source /data --replica /mnt/backup --dry-run
  file-sync --source /data --replica /mnt/backup --interval 15m --log_file /var/log/file-sync/
  file-sync status

Exit codes: 0 done, 1 error, 2 usage, 20 stopped, 23 done with problems, 25 held: nothing changed";

/// The answer to no arguments.
pub(super) const ALONE: &str = "\
file-sync makes a replica folder exactly equal to a source folder, pass after pass, on a schedule.
Look first:  file-sync --source DIR --replica DIR --dry-run
Then mirror: file-sync --source DIR --replica DIR --interval 15m --log_file PATH
Files that the source does not have are DELETED from the replica.
file-sync -h shows the main options on one screen, file-sync --help all of them.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::CommandFactory;

    /// The words of a text that look like options.
    fn options(text: &str) -> impl Iterator<Item = &str> {
        let is_edge = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
        text.split(is_edge).filter(|word| word.starts_with('-') && *word != "-")
    }

    #[test]
    fn only_options_and_commands_that_exist_are_shown() {
        let command = Cli::command();
        let exists = |word: &str| {
            command.get_arguments().any(|argument| match word.strip_prefix("--") {
                Some(long) => argument.get_long_and_visible_aliases().is_some_and(|all| all.contains(&long)),
                None => argument.get_short() == word.chars().nth(1),
            })
        };
        // Of sha256sum.
        let others = ["--check"];
        for word in options(SCREEN).chain(options(ALONE)).filter(|word| !others.contains(word)) {
            assert!(exists(word), "{word}");
        }
        let is_listed = |name: &str| SCREEN.lines().any(|line| line.trim_start().starts_with(name));
        for command in command.get_subcommands() {
            assert!(is_listed(&format!("{} ", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn each_fits_on_its_screen() {
        assert!(SCREEN.lines().count() <= 50, "{} lines", SCREEN.lines().count());
        assert_eq!(ALONE.lines().count(), 5);
        for line in SCREEN.lines().chain(ALONE.lines()) {
            assert!(line.len() <= 100 && line.is_ascii(), "{line}");
        }
    }
}
