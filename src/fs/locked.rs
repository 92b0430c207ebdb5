//! Generated names and targets, which a folder shows while its key is missing. Pure; `encryption` reads the folders.

use rustix::io::Errno;
use std::ffi::CStr;

/// The error that means locked, as open(2) of a locked file returns it.
pub(crate) const LOCKED: Errno = Errno::NOKEY;

/// The words for it, to be read after "Cannot ...: ".
pub(crate) const WORDS: &str = "it is encrypted and locked; unlock it first";

/// The least and the greatest length of a generated name. The least is base64 of 16 bytes (CephFS; the others put a
/// hash of 8 bytes before them). The greatest is base64 of a hash, 149 bytes and a digest.
const LETTERS: std::ops::RangeInclusive<usize> = 22..=252;

/// Whether the kernel may have generated a name. The letters are those of base64url, and of the base64 variant of
/// kernels before 5.14 and of CephFS.
pub(crate) fn may_be_made_up(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b',');
    // Four letters encode three bytes; a single remaining letter encodes none.
    LETTERS.contains(&name.len()) && name.len() % 4 != 1 && name.iter().all(is_letter)
}

/// Whether the kernel may have generated the target of a symbolic link, in the form of a name with zeros for the hash
/// (`fscrypt_get_symlink` in fs/crypto/hooks.c).
pub(crate) fn is_made_up_target(target: &CStr) -> bool {
    may_be_made_up(target.to_bytes()) && target.to_bytes().starts_with(b"AAAAAAAAAA")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_makes_up_are_known_by_their_letters_and_their_length() {
        let cases: [(&[u8], bool); 16] = [
            // As Linux 6.18 shows them on ext4: of 16, 32 and more bytes, and of a name that is too long to be encoded
            // whole.
            (b"AAAAAAAAAACRZr7Wk2gqmZE-o5hv9Oqv", true),
            (b"KiXpA-2dvvrOIyXACcVzrKAx1yIaXrhLjqQBwVZAVxTBGlg3Oz3TTw", true),
            (&[b'a'; 252], true),
            // Before 5.14.
            (b"AAAAAAAAAACRZr7Wk2gqmZE+o5hv9O,v", true),
            // CephFS: 16 bytes without a hash before them.
            (b"CRZr7Wk2gqmZE+o5hv9O,w", true),
            (b"d41d8cd98f00b204e9800998ecf8427e", true),
            (b"", false),
            (b"photo", false),
            (b"photo.jpg", false),
            (b"a name that is long enough, with spaces", false),
            (b"1732700000.M20046P2137V00000001.host,S=2,W=3:2,S", false),
            (b"aaaaaaaaaaaaaaaaaaaaa", false),
            (&[b'a'; 253], false),
            (&[b'a'; 25], false),
            (b"AAAAAAAAAACRZr7Wk2gqmZE-o5hv9Oq/", false),
            ("AAAAAAAAAACRZr7Wk2gqmZE-o5hv9\u{e9}".as_bytes(), false),
        ];
        for (name, expected) in cases {
            assert_eq!(may_be_made_up(name), expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn targets_that_the_kernel_makes_up_begin_with_zeros() {
        assert!(is_made_up_target(c"AAAAAAAAAABcTK_p1_NmBtZxn8iP7TsT"));
        assert!(!is_made_up_target(c"KiXpA-2dvvrOIyXACcVzrKAx1yIaXrhL"));
        assert!(!is_made_up_target(c"AAAAAAAAAA"));
    }
}
