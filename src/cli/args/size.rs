//! Sizes in bytes, as people write them: `1000`, `64MiB`, `10MB`, `1.5G`.
//!
//! The letters mean what they mean to rsync: `K`, `M`, `G` and `T` are powers of 1,024, and so are `KiB`, `MiB`, `GiB` and
//! `TiB`; `KB`, `MB`, `GB` and `TB` are powers of 1,000. Upper and lower case are the same.

/// A size as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// The bytes; a fraction of a byte is dropped.
    pub(crate) bytes: u64,
    /// Whether a unit was written, `B` included.
    pub(crate) has_unit: bool,
}

/// The reason to reject a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSize {
    /// It is no size.
    #[error("it is not a size")]
    NotASize,
    /// The number is followed by something else than a unit.
    #[error("its unit is not known")]
    UnknownUnit,
    /// It does not fit into 64 bits.
    #[error("it is too large")]
    TooLarge,
}

/// The most digits after the point; more make no difference of a byte in a terabyte.
const MOST_DECIMALS: usize = 12;

impl Size {
    /// Reads a size.
    ///
    /// # Errors
    /// The text is none, or it is too large.
    pub(crate) fn parse(text: &str) -> Result<Size, BadSize> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(end).ok_or(BadSize::NotASize)?;
        let (whole, decimals) = number.split_once('.').map_or((number, None), |(w, d)| (w, Some(d)));
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !are_digits(whole) || decimals.is_some_and(|decimals| !are_digits(decimals)) {
            return Err(BadSize::NotASize);
        }
        let factor = factor(unit).ok_or(BadSize::UnknownUnit)?;
        let whole: u128 = whole.parse().map_err(|_| BadSize::TooLarge)?;
        let decimals = decimals.unwrap_or_default();
        let decimals = decimals.get(..MOST_DECIMALS).unwrap_or(decimals);
        let (parts, of) = decimals
            .bytes()
            .fold((0, 1), |(parts, of), digit| (parts * 10 + u128::from(digit - b'0'), of * 10));
        let bytes = whole.checked_mul(factor).and_then(|bytes| bytes.checked_add(parts * factor / of));
        let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok()).ok_or(BadSize::TooLarge)?;
        Ok(Size { bytes, has_unit: !unit.is_empty() })
    }
}

/// The bytes in a unit; none where there is no such unit.
fn factor(unit: &str) -> Option<u128> {
    const POWERS: [char; 4] = ['K', 'M', 'G', 'T'];
    let unit = unit.to_ascii_uppercase();
    if unit.is_empty() || unit == "B" {
        return Some(1);
    }
    let mut letters = unit.chars();
    let prefix = letters.next()?;
    let power = POWERS.iter().position(|letter| *letter == prefix)? as u32 + 1;
    match letters.as_str() {
        "" | "IB" => Some(1024u128.pow(power)),
        "B" => Some(1000u128.pow(power)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_strategies::pure;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_with_the_units_of_rsync() {
        for (text, bytes, has_unit) in [
            ("0", 0, false),
            ("1000", 1000, false),
            ("007", 7, false),
            ("5B", 5, true),
            ("1K", 1024, true),
            ("1k", 1024, true),
            ("1KiB", 1024, true),
            ("1KB", 1000, true),
            ("64MiB", 64 << 20, true),
            ("10mb", 10_000_000, true),
            ("1.5M", 3 << 19, true),
            ("0.5k", 512, true),
            ("10GB", 10_000_000_000, true),
            ("2G", 2 << 30, true),
            ("1T", 1 << 40, true),
            ("1tb", 1_000_000_000_000, true),
            ("0.9", 0, false),
            ("1.000000000000000000000000000000000000000001K", 1024, true),
            ("18446744073709551615", u64::MAX, false),
        ] {
            assert_eq!(Size::parse(text), Ok(Size { bytes, has_unit }), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_right_reason() {
        use BadSize::{NotASize, TooLarge, UnknownUnit};
        for (text, reason) in [
            ("", NotASize),
            ("K", NotASize),
            ("fast", NotASize),
            ("-5", NotASize),
            ("-5M", NotASize),
            ("+5", NotASize),
            (" 5", NotASize),
            (".5M", NotASize),
            ("5.", NotASize),
            ("5.M", NotASize),
            ("1.2.3", NotASize),
            ("5,5M", UnknownUnit),
            ("5 M", UnknownUnit),
            ("5Mi", UnknownUnit),
            ("5Mbit", UnknownUnit),
            ("5MB/s", UnknownUnit),
            ("5X", UnknownUnit),
            ("5é", UnknownUnit),
            ("٥M", NotASize),
            ("18446744073709551616", TooLarge),
            ("99999999999999999999999999999999999999999999", TooLarge),
            ("340282366920938463463374607431768211455T", TooLarge),
            ("16777216T", TooLarge),
        ] {
            assert_eq!(Size::parse(text), Err(reason), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(pure())]

        #[test]
        fn whatever_is_given_it_is_a_size_or_it_is_refused(
            text in prop_oneof![any::<String>(), "-?[0-9]{0,22}[.,]?[0-9]{0,14}[kmgtKMGTx]?i?[bB]?"]
        ) {
            if let Ok(size) = Size::parse(&text) {
                prop_assert_eq!(size.has_unit, text.ends_with(|c: char| c.is_ascii_alphabetic()));
            }
        }

        #[test]
        fn whole_units_are_multiples(number in 0..1_000_000u64) {
            for (unit, factor) in [("K", 1 << 10), ("MiB", 1 << 20), ("G", 1 << 30), ("KB", 1000), ("TB", 1_000_000_000_000)] {
                prop_assert_eq!(Size::parse(&format!("{number}{unit}")).map(|size| size.bytes), Ok(number * factor));
            }
        }
    }
}
