//! Numbers and sizes for people.

/// `12,345`.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 entry`, `2,000 entries`.
pub(crate) fn entries(count: u64) -> String {
    format!("{} {}", number(count), if count == 1 { "entry" } else { "entries" })
}

/// `12 B`, `12.3 KiB`, `34 MiB`: at most one decimal, left out if zero.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 1024_u128;
    let mut tenths = 0;
    for name in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        tenths = (u128::from(bytes) * 10 + unit / 2) / unit;
        if tenths < 10_240 {
            let (whole, tenth) = (tenths / 10, tenths % 10);
            return if tenth == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenth} {name}") };
        }
        unit *= 1024;
    }
    format!("{} EiB", tenths / 10)
}
