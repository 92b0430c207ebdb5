//! What differs from run to run is replaced, so that a picture changes only with the output: times, durations, rates,
//! numbers of processes, inodes and filesystems. Wherever a column may stand behind it, the new text is as long as the old.

use regex::{Captures, Regex};

/// The values that a picture shows.
pub(crate) struct Settled {
    rules: Vec<(Regex, String)>,
    filesystem: Regex,
}

impl Settled {
    /// With this date and this time, as `2026-11-28` and `09:15:02`.
    pub(crate) fn at(date: &str, time: &str) -> Settled {
        // Words may be in different lines. A colour may stand right before a number, so there is no `\b`: it ends with a letter.
        let rules = [
            (r"20\d\d-\d\d-\d\d", date.to_owned()),
            (r"\d\d:\d\d:\d\d\.\d{3}", format!("{time}.140")),
            (r"\d\d:\d\d:\d\d", time.to_owned()),
            (r"\d+\.\d s\b", "0.2 s".to_owned()),
            (r"[\d.,]+ ([KMG]iB|B)/s", "118 MiB/s".to_owned()),
            (r"\d+ s old\b", "0 s old".to_owned()),
            (r"(inode\s+)\d+", "${1}2".to_owned()),
            // That of the last pass is an older one.
            (r"(made\s+at\s+)\S+(\s+then)", "${1}2025-03-09T17:20:41Z${2}".to_owned()),
            (r"(--plan\s+)[0-9a-f]{8}\b", "${1}2e8f4c61".to_owned()),
            (r"(process|pid) \d+", "${1} 4127".to_owned()),
        ];
        let rules = rules.map(|(pattern, new)| (Regex::new(pattern).expect("a pattern"), new));
        let filesystem = Regex::new(r"(filesystem\s+)([0-9a-f]{8,16})\b").expect("a pattern");
        Settled { rules: rules.into(), filesystem }
    }

    pub(crate) fn text(&self, text: &str) -> String {
        let text = self.rules.iter().fold(text.to_owned(), |text, (pattern, new)| {
            pattern.replace_all(&text, new.as_str()).into_owned()
        });
        // Different filesystems stay different.
        let mut known = Vec::new();
        let named = |found: &Captures<'_>| {
            let id = found[2].to_owned();
            let number = known.iter().position(|other| *other == id).unwrap_or_else(|| {
                known.push(id);
                known.len() - 1
            });
            format!("{}5d8c02b19e4f7a3{number:x}", &found[1])
        };
        self.filesystem.replace_all(&text, named).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_read_the_same() {
        let of = |text: &str| Settled::at("2026-11-28", "09:15:02").text(text);
        let one = "\x1b[2m2031-01-02T10:11:12.131+00:00\x1b[0m pass 1 done: 3 created, 2.5 MiB written, 0.0 s, replica is 0 s old";
        let other = "\x1b[2m2032-03-04T20:21:22.232+00:00\x1b[0m pass 1 done: 3 created, 2.5 MiB written, 11.4 s, replica is 12 s old";
        let settled = "\x1b[2m2026-11-28T09:15:02.140+00:00\x1b[0m pass 1 done: 3 created, 2.5 MiB written, 0.2 s, replica is 0 s old";
        assert_eq!([of(one), of(other)], [settled, settled]);
        assert_eq!(
            of("made\r\n  at 2031-01-02T10:11:12Z then, made at 2031-01-02T10:11:12Z now"),
            "made\r\n  at 2025-03-09T17:20:41Z then, made at 2026-11-28T09:15:02Z now"
        );
        assert_eq!(of("22:23:24 create a.jpg 12.5 MiB"), "09:15:02 create a.jpg 12.5 MiB");
        assert_eq!(
            of("held since 2031-01-02 10:11:12: inode 17 of"),
            "held since 2026-11-28 09:15:02: inode 2 of"
        );
        assert_eq!(
            of(
                "filesystem 1e771da9b32c4000 then, filesystem 2e771da9b32c4000 now, filesystem 1e771da9b32c4000"
            ),
            "filesystem 5d8c02b19e4f7a30 then, filesystem 5d8c02b19e4f7a31 now, filesystem 5d8c02b19e4f7a30"
        );
    }
}
