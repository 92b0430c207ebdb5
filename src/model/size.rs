//! A number of bytes as a person writes it: `1000`, `64MiB`, `10GB`, `1.5 GiB`.
//!
//! `KiB`, `MiB`, … are powers of 1024 and `kB`, `MB`, … powers of 1000. A letter alone (`64M`) is a power of 1024, as it
//! is for logrotate and systemd. Case does not matter, because nobody means bits here.

/// The reason to reject a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSize {
    /// It is no size.
    #[error("it is not a size")]
    NotASize,
    /// Larger than any file.
    #[error("no file is that large")]
    TooLarge,
}

/// The largest size: that of a file (`off_t`).
const LARGEST: u128 = i64::MAX as u128;

/// The most digits after the point; more would be less than a byte of any unit.
const MOST_DECIMALS: usize = 18;

/// Reads a size. A fraction of a byte is left out.
///
/// # Errors
/// The text is no size, or larger than any file.
pub(crate) fn parse(text: &str) -> Result<u64, BadSize> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit_of(unit.trim_start_matches(' ')).ok_or(BadSize::NotASize)?;
    let (whole, decimals) = match number.split_once('.') {
        Some((_, "")) => return Err(BadSize::NotASize),
        Some((whole, decimals)) => (whole, decimals),
        None => (number, ""),
    };
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(decimals) || decimals.len() > MOST_DECIMALS {
        return Err(BadSize::NotASize);
    }
    let whole = whole.parse::<u64>().map_err(|_| BadSize::TooLarge)?;
    let scale = 10_u128.pow(u32::try_from(decimals.len()).unwrap_or_default());
    let fraction = if decimals.is_empty() { 0 } else { decimals.parse::<u128>().unwrap_or_default() };
    // At most 2^64 * 2^60 and 10^18 * 2^60: both fit.
    let bytes = u128::from(whole) * unit + fraction * unit / scale;
    if bytes > LARGEST { Err(BadSize::TooLarge) } else { u64::try_from(bytes).map_err(|_| BadSize::TooLarge) }
}

/// The bytes of a unit; none if it is none.
fn unit_of(text: &str) -> Option<u128> {
    let text = text.to_ascii_lowercase();
    if text.is_empty() || text == "b" {
        return Some(1);
    }
    let power = "kmgtpe".find(text.get(..1)?)?;
    let power = u32::try_from(power + 1).ok()?;
    match text.get(1..)? {
        "" | "ib" => Some(1024_u128.pow(power)),
        "b" => Some(1000_u128.pow(power)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        let cases = [
            ("0", 0),
            ("1000", 1000),
            ("7B", 7),
            ("64MiB", 64 << 20),
            ("64M", 64 << 20),
            ("64 mib", 64 << 20),
            ("10GB", 10_000_000_000),
            ("10kB", 10_000),
            ("10KB", 10_000),
            ("1.5GiB", 3 << 29),
            ("0.5K", 512),
            ("0.0001K", 0),
            ("2T", 2 << 40),
            ("7EiB", 7 << 60),
            ("9223372036854775807", i64::MAX.unsigned_abs()),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            " ",
            "MiB",
            "-1",
            "+1",
            "1.",
            ".5M",
            "1.2.3M",
            "1,5M",
            "64 M B",
            "64Mi",
            "64MBit",
            "64X",
            "1e6",
            "ten",
            "0x10",
            "64M ",
            " 64M",
            "64Mü",
            "1.0000000000000000001G",
        ] {
            assert_eq!(parse(text), Err(BadSize::NotASize), "{text:?}");
        }
        for text in ["8EiB", "9223372036854775808", "99999999999999999999", "18446744073709551615EiB"] {
            assert_eq!(parse(text), Err(BadSize::TooLarge), "{text}");
        }
    }
}
