//! How much the property tests try: one rule for all of them, in `src/` and in `tests/`.

use proptest::test_runner::Config;
use std::env::var_os;

/// Whether the long form was asked for, with `FILE_SYNC_PROOF=deep`.
pub(crate) fn is_deep() -> bool {
    var_os("FILE_SYNC_PROOF").is_some_and(|proof| proof == "deep")
}

/// So many cases for a property, and so many in the long form. `PROPTEST_CASES` sets the number itself.
pub(crate) fn cases(quick: u32, deep: u32) -> Config {
    let mut config = Config { max_shrink_iters: 3000, ..Config::default() };
    if var_os("PROPTEST_CASES").is_none() {
        config.cases = if is_deep() { deep } else { quick };
    }
    config
}

/// For what touches no disk: a thousand cases take some milliseconds.
pub(crate) fn pure() -> Config {
    cases(256, 20_000)
}
