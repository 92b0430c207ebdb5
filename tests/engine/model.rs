//! Property test: random trees of every kind of entry, random edits on both sides, then a pass. The replica equals the
//! source, the source and everything outside are unchanged, and a second pass finds and writes nothing.
//!
//! `FILE_SYNC_PROOF=deep` runs thousands of cases; `PROPTEST_CASES` sets the number itself.

use crate::support::edits::{Limits, World};
use crate::support::proof;
use crate::support::scratch::Scratch;
use crate::support::story::{link_story, play, story};
use file_sync::Digests;
use proptest::prelude::*;

proptest! {
    #![proptest_config(proof::cases(60, 3000))]

    #[test]
    fn whatever_was_edited_one_pass_makes_the_replica_equal_and_a_second_finds_nothing((tree, rounds) in story(), bytes in any::<bool>()) {
        let mut scratch = Scratch::new();
        scratch.digests = if bytes { Digests::OfCopies } else { Digests::OfAll };
        play(&World { scratch, limits: Limits::None }, &tree, &rounds);
    }

    #[test]
    fn however_hard_links_were_made_and_broken_one_pass_makes_them_equal_and_a_second_finds_nothing(
        (tree, rounds) in link_story()
    ) {
        play(&World { scratch: Scratch::new(), limits: Limits::None }, &tree, &rounds);
    }
}
