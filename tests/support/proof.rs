//! The number of cases of the property tests: one rule for all of them, in `src/` and in `tests/`.

use proptest::test_runner::Config;
use std::env::var_os;

/// Whether `FILE_SYNC_PROOF=deep` requests the long form.
pub(crate) fn is_deep() -> bool {
    var_os("FILE_SYNC_PROOF").is_some_and(|proof| proof == "deep")
}

/// The number of cases of a property, in the short and in the long form. `PROPTEST_CASES` overrides it.
pub(crate) fn cases(quick: u32, deep: u32) -> Config {
    let mut config = Config { max_shrink_iters: 3000, ..Config::default() };
    if var_os("PROPTEST_CASES").is_none() {
        config.cases = if is_deep() { deep } else { quick };
    }
    config
}

/// For properties that touch no disk: a thousand cases take some milliseconds.
pub(crate) fn pure() -> Config {
    cases(256, 20_000)
}
