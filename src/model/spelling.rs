//! Spellings of one name: names that a filesystem may treat as equal, and its alterations of names. Pure.
//!
//! Upper and lower case (vfat, exfat, ntfs, ext4 with `casefold`), composed and decomposed characters (HFS+, ZFS,
//! APFS), dots and spaces at the end (vfat, exfat, Windows servers). Each filesystem has its own rules and tables for
//! this. So a spelling alone decides nothing: it only selects the names whose entries are worth a lookup.

mod decompositions;

use decompositions::DECOMPOSITIONS;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU16, Ordering};

/// The common form of all spellings of a name.
pub(crate) fn folded(name: &CStr) -> String {
    lower_case(&decomposed(without_trailer(&text(name.to_bytes()))))
}

/// A name as characters. Each byte that is not UTF-8 becomes a private character that no name has, so that names that
/// differ in such bytes stay different.
fn text(name: &[u8]) -> String {
    const PRIVATE: u32 = 0x0010_ff00;
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(PRIVATE + u32::from(*byte))));
    }
    out
}

fn without_trailer(name: &str) -> &str {
    let kept = name.trim_end_matches(['.', ' ']);
    // A name that consists of these only keeps them.
    if kept.is_empty() { name } else { kept }
}

fn lower_case(name: &str) -> String {
    // Both conversions: the long s and the Kelvin sign are the lower case of no letter, but have an upper case.
    name.to_uppercase().to_lowercase()
}

/// The characters that a name is composed of. The marks of each base letter are sorted by number, which is not the
/// order of the Unicode standard, but the same for all spellings.
fn decomposed(name: &str) -> String {
    if name.is_ascii() {
        return name.to_owned();
    }
    let mut out: Vec<char> = Vec::with_capacity(name.len());
    for character in name.chars() {
        decompose(character, &mut out);
    }
    let is_mark = |character: &char| matches!(u32::from(*character), 0x300..=0x36f);
    for marks in out.chunk_by_mut(|one, other| is_mark(one) && is_mark(other)) {
        marks.sort_unstable();
    }
    out.into_iter().collect()
}

fn decompose(character: char, out: &mut Vec<char>) {
    // The Unicode Standard, section 3.12: Hangul syllables are numbered by their two or three parts.
    const SYLLABLES: std::ops::Range<u32> = 0xac00..0xd7a4;
    const VOWELS: u32 = 21;
    const FINALS: u32 = 28;
    let code = u32::from(character);
    if SYLLABLES.contains(&code) {
        let index = code - SYLLABLES.start;
        let parts = [
            0x1100 + index / (VOWELS * FINALS),
            0x1161 + index % (VOWELS * FINALS) / FINALS,
            0x11a7 + index % FINALS,
        ];
        let count = if index.is_multiple_of(FINALS) { 2 } else { 3 };
        return out.extend(parts.into_iter().take(count).filter_map(char::from_u32));
    }
    let (table, _) = DECOMPOSITIONS.as_chunks::<3>();
    let found = table.binary_search_by_key(&code, |[composed, ..]| u32::from(*composed));
    match found.ok().and_then(|at| table.get(at)) {
        Some([_, first, second]) => {
            for part in [*first, *second].into_iter().filter(|part| *part != 0) {
                if let Some(part) = char::from_u32(u32::from(part)) {
                    decompose(part, out);
                }
            }
        }
        None => out.push(character),
    }
}

/// The difference between a wanted name and the name that a filesystem shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alteration {
    /// Dots and spaces at the end.
    trailer: bool,
    /// Upper and lower case.
    case: bool,
    /// Composed and decomposed characters.
    composition: bool,
    /// Further differences: forbidden characters, a short name for a long one.
    other: bool,
}

impl Alteration {
    /// The difference of two names.
    pub(crate) fn between(wanted: &CStr, shown: &CStr) -> Alteration {
        let (wanted, shown) = (text(wanted.to_bytes()), text(shown.to_bytes()));
        let (ours, theirs) = (without_trailer(&wanted), without_trailer(&shown));
        let trailer = wanted.get(ours.len()..) != shown.get(theirs.len()..);
        let (case, composition) = if ours == theirs {
            (false, false)
        } else if decomposed(ours) == decomposed(theirs) {
            (false, true)
        } else if lower_case(ours) == lower_case(theirs) {
            (true, false)
        } else {
            let equal = lower_case(&decomposed(ours)) == lower_case(&decomposed(theirs));
            return Alteration { trailer, case: equal, composition: equal, other: !equal };
        };
        Alteration { trailer, case, composition, other: false }
    }

    /// The alteration, as the cause of a problem.
    pub(crate) fn words(self) -> &'static str {
        match (self.trailer, self.case, self.composition, self.other) {
            (true, false, false, false) => "its filesystem drops dots and spaces at the end of names",
            (false, true, false, false) => "its filesystem shows names in upper or lower case of its own",
            (false, false, true, false) => "its filesystem composes or decomposes letters with accents",
            (_, _, _, _) => "its filesystem shows it under another name",
        }
    }

    /// The number of this kind of alteration.
    fn number(self) -> u16 {
        u16::from(self.trailer)
            | u16::from(self.case) << 1
            | u16::from(self.composition) << 2
            | u16::from(self.other) << 3
    }
}

/// The known alterations of names on one filesystem.
#[derive(Debug, Default)]
pub(crate) struct Names {
    keeps: bool,
    /// One bit for each kind of alteration that the filesystem was found to make.
    altered: AtomicU16,
}

impl Names {
    /// With `keep` for a filesystem that shows each name as it was given, byte for byte, even if it treats some as
    /// equal.
    pub(crate) fn of_filesystem(keep: bool) -> Names {
        Names { keeps: keep, altered: AtomicU16::new(0) }
    }

    /// True when every name is known to be shown as it was given.
    pub(crate) fn are_kept(&self) -> bool {
        self.keeps
    }

    /// Whether a name is known to be altered like this, so that setting it need not be tried.
    pub(crate) fn are_altered(&self, alteration: Alteration) -> bool {
        self.altered.load(Ordering::Relaxed) & (1 << alteration.number()) != 0
    }

    /// Notes that a name is altered like this.
    pub(crate) fn learn_altered(&self, alteration: Alteration) {
        self.altered.fetch_or(1 << alteration.number(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn name(name: &str) -> CString {
        CString::new(name).unwrap()
    }

    #[test]
    fn spellings_of_one_name_are_folded_to_the_same() {
        let same = [
            ("README", "readme"),
            ("\u{c4}rger", "\u{e4}rger"),
            ("\u{c4}rger", "A\u{308}rger"),
            ("etc.", "etc"),
            ("Dinosaur Jr. ..", "dinosaur jr"),
            // Two marks, in the order of the standard and in the other one.
            ("\u{1ead}", "a\u{323}\u{302}"),
            ("\u{1ead}", "a\u{302}\u{323}"),
            ("\u{d55c}\u{ae00}", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"),
            ("\u{ac00}", "\u{1100}\u{1161}"),
            ("\u{3060}", "\u{305f}\u{3099}"),
            ("\u{439}", "\u{438}\u{306}"),
            // Characters that are equivalent to others: angstrom, Kelvin, long s.
            ("\u{212b}", "A\u{30a}"),
            ("\u{212a}elvin", "kelvin"),
            ("\u{17f}", "s"),
        ];
        for (one, other) in same {
            assert_eq!(folded(&name(one)), folded(&name(other)), "{one} and {other}");
        }
        let different = [
            ("a", "b"),
            ("a", "\u{e4}"),
            ("...", ".."),
            ("a.b", "ab"),
            (" a", "a"),
            ("\u{3042}", "\u{30a2}"),
        ];
        for (one, other) in different {
            assert_ne!(folded(&name(one)), folded(&name(other)), "{one} and {other}");
        }
        assert_ne!(folded(c"a\xff"), folded(c"a\xfe"), "bytes that are not UTF-8");
    }

    #[test]
    fn the_table_is_sorted_and_ends_in_characters_that_are_not_made_of_others() {
        let (table, rest) = DECOMPOSITIONS.as_chunks::<3>();
        assert!(rest.is_empty());
        assert!(table.is_sorted_by_key(|[composed, ..]| *composed));
        for [composed, ..] in table {
            let composed = char::from_u32((*composed).into()).unwrap();
            let mut parts = Vec::new();
            decompose(composed, &mut parts);
            assert!(!parts.is_empty() && !parts.contains(&composed), "{composed:?}");
            for part in parts {
                let mut again = Vec::new();
                decompose(part, &mut again);
                assert_eq!(again, [part], "of {composed:?}");
            }
        }
    }

    #[test]
    fn an_alteration_is_told_by_its_kind() {
        let (trailer, case, composition, other) = (1, 2, 4, 8);
        let cases = [
            ("etc.", "etc", trailer),
            ("etc", "etc. ", trailer),
            ("README", "readme", case),
            ("\u{e4}", "a\u{308}", composition),
            ("Readme.", "readme", trailer | case),
            ("\u{c4}", "a\u{308}", case | composition),
            ("a:b", "a_b", other),
            ("LONGNA~1.TXT", "long name.txt", other),
            ("a:b.", "a_b", trailer | other),
        ];
        let names = Names::default();
        for (wanted, shown, expected) in cases {
            let alteration = Alteration::between(&name(wanted), &name(shown));
            assert_eq!(alteration.number(), expected, "{wanted} and {shown}");
        }
        let [of_case, of_trailer] = [("README", "readme"), ("etc.", "etc")]
            .map(|(wanted, shown)| Alteration::between(&name(wanted), &name(shown)));
        names.learn_altered(of_case);
        assert!(names.are_altered(of_case) && !names.are_altered(of_trailer));
        assert!(of_case.words().contains("case") && of_trailer.words().contains("dots"));
    }
}
