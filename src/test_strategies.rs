//! Strategies that the property tests of several modules share.

#[path = "../tests/support/proof.rs"]
mod cases;

pub(crate) use cases::{cases, pure};

use crate::capabilities::Filesystem;
use crate::fs::dir::Dir;
use crate::model::acl::AccessList;
use crate::model::acl::tests::list_of;
use crate::model::entry::{Entry, FileId, Kind, Timestamp};
use crate::model::event::{Event, Monitor};
use crate::model::feature::Feature;
use crate::model::rights::tests::ALL;
use crate::model::rights::{IdMap, Rights};
use crate::plan::{Pair, Protected};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

/// A monitor that ignores all events.
pub(crate) struct Deaf;

impl Monitor for Deaf {
    fn event(&self, _: &Event<'_>) {}
}

pub(crate) const KINDS: [Kind; 7] =
    [Kind::File, Kind::Folder, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice];

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    let seconds = prop_oneof![
        4 => -3..3i64,
        2 => any::<i32>().prop_map(i64::from),
        1 => -100_000_000_000..100_000_000_000i64,
        1 => any::<i64>(),
    ];
    let nanoseconds = prop_oneof![Just(0), Just(999_999_999), Just(100), 0..1_000_000_000u32];
    (seconds, nanoseconds).prop_map(|(seconds, nanoseconds)| Timestamp { seconds, nanoseconds })
}

/// An entry. Each fact has few values, so that two entries often agree in some of them.
pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let size = prop_oneof![3 => 0..3u64, 1 => any::<u64>()];
    let owner = (0..3u32, 0..3u32, 0..0o10000u16);
    let times = (timestamp(), timestamp(), proptest::option::of(timestamp()));
    (select(&KINDS[..]), size, 0..2u64, owner, times, 1..3u32, any::<u64>()).prop_map(
        |(kind, size, rdev, (uid, gid, mode), (mtime, ctime, btime), links, inode)| Entry {
            kind,
            mode,
            links,
            uid,
            gid,
            id: FileId { device: 1, inode },
            size,
            blocks: size / 512,
            rdev,
            mtime,
            ctime,
            btime,
            is_mount: false,
            is_encrypted: false,
        },
    )
}

/// Two entries that differ in some of their facts.
pub(crate) fn entries() -> impl Strategy<Value = (Entry, Entry)> {
    (entry(), entry(), any::<[bool; 6]>()).prop_map(|(one, mut other, same)| {
        let [kind, size, mode, owner, mtime, rdev] = same;
        other.kind = if kind { one.kind } else { other.kind };
        other.size = if size { one.size } else { other.size };
        other.mode = if mode { one.mode } else { other.mode };
        (other.uid, other.gid) = if owner { (one.uid, one.gid) } else { (other.uid, other.gid) };
        other.mtime = if mtime { one.mtime } else { other.mtime };
        other.rdev = if rdev { one.rdev } else { other.rdev };
        (one, other)
    })
}

/// A filesystem that lacks any features.
pub(crate) fn filesystem() -> impl Strategy<Value = Filesystem> {
    (any::<bool>(), subsequence(&Feature::ALL[..], 0..Feature::ALL.len())).prop_map(|(is_vfat, missing)| {
        let filesystem = if is_vfat { Filesystem::of_type(0x4d44) } else { Filesystem::default() };
        missing.into_iter().for_each(|feature| filesystem.learn_missing(feature));
        filesystem
    })
}

/// Any user in any groups with any capabilities, sometimes in a user namespace that maps few ids.
pub(crate) fn rights() -> impl Strategy<Value = Rights> {
    let capabilities = subsequence(&ALL[..], 0..=ALL.len());
    let map = || prop_oneof![3 => Just(IdMap::all()), 1 => Just(IdMap(vec![(0, 2)]))];
    (0..3u32, vec(0..3u32, 0..3), capabilities, map(), map()).prop_map(
        |(user, groups, capabilities, users, ids)| {
            Rights::of_user(user, groups).with(capabilities).mapped(users, ids)
        },
    )
}

/// No ACL, one that could not be read, or an ACL of any permissions, sometimes an invalid one.
pub(crate) fn access_list() -> impl Strategy<Value = AccessList> {
    let bits = || 0..8u16;
    let known = (bits(), vec(bits(), 0..3), proptest::option::of(bits()), bits(), any::<bool>()).prop_map(
        |(group, named, mask, others, is_whole)| {
            let mut entries = vec![(1, 6, u32::MAX), (4, group, u32::MAX)];
            entries.extend(named.into_iter().map(|bits| (8, bits, 7)));
            entries.extend(mask.map(|bits| (0x10, bits, u32::MAX)));
            entries.extend(is_whole.then_some((0x20, others, u32::MAX)));
            AccessList::Known(list_of(&entries))
        },
    );
    prop_oneof![4 => Just(AccessList::None), 1 => Just(AccessList::Unknown), 2 => known]
}

/// Any bytes, often those with a meaning to a parser, a terminal or the log.
pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    const TEXTS: [&str; 29] = [
        "\\",
        "\"",
        " ",
        "\n",
        "\r",
        "\t",
        "\0",
        "\x1b[31m",
        "\x7f",
        "/",
        "x41",
        "u{202e}",
        "\u{85}",
        "\u{a0}",
        "\u{ad}",
        "\u{61c}",
        "\u{200b}",
        "\u{2028}",
        "\u{202e}",
        "\u{2066}",
        "\u{feff}",
        "\u{fff9}",
        "\u{e0001}",
        "INFO ",
        "sha256=\"\"",
        " -> ",
        " => ",
        "040",
        "+12",
    ];
    const NOT_UTF_8: [&[u8]; 5] = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f", b"\xc0\xaf"];
    let piece = prop_oneof![
        4 => any::<u8>().prop_map(|byte| vec![byte]),
        3 => any::<char>().prop_map(|character| character.to_string().into_bytes()),
        4 => select(&TEXTS[..]).prop_map(|text| text.as_bytes().to_vec()),
        1 => select(&NOT_UTF_8[..]).prop_map(<[u8]>::to_vec),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A valid file name, of few letters or of any bytes.
pub(crate) fn name() -> impl Strategy<Value = CString> {
    let raw = prop_oneof![2 => "[a-c]{1,3}".prop_map(String::into_bytes), 1 => bytes()];
    raw.prop_map(|mut raw| {
        raw.retain(|byte| !matches!(byte, 0 | b'/'));
        raw.truncate(255);
        if raw.is_empty() { c"x".to_owned() } else { CString::new(raw).unwrap() }
    })
}

/// A folder pair with a replica only, which is never read.
pub(crate) fn pair(filesystem: Filesystem) -> Arc<Pair> {
    let replica = Dir::root(Path::new("/"), 1).unwrap();
    Arc::new(Pair {
        source: None,
        replica: Some(replica),
        filesystem: Arc::new(filesystem),
        protected: Protected::No,
    })
}
