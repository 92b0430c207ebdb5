//! What the two sides of a path have, as far as it differs, with both values. Pure, but for the targets of links.

use crate::context::focus::{ComparedMetadata, Sight};
use crate::fs::resolve::link_target;
use crate::log::humanize;
use crate::model::entry::{Entry, Kind, Timestamp, device_numbers};
use crate::model::path::{RelPath, shown};
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One difference: what the replica has, and what it would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// `size`, `mtime` and so on.
    pub what: &'static str,
    /// The value of the replica.
    pub replica: Value,
    /// The value that it would get.
    pub source: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    /// A size.
    Bytes(u64),
    /// A modification time, in UTC for programs.
    #[serde(serialize_with = "rfc3339")]
    Time(Timestamp),
    /// Anything else.
    Text(String),
}

impl<T: Into<String>> From<T> for Value {
    fn from(text: T) -> Value {
        Value::Text(text.into())
    }
}

/// The target of a symbolic link; none for any other entry, and where it cannot be read, which the survey has reported.
pub(super) fn target(root: &Path, path: &RelPath) -> Option<Vec<u8>> {
    link_target(&root.join(OsStr::from_bytes(path.as_bytes())))
}

/// The facts that differ between two entries, of which one replaces the other.
pub(super) fn of_entries(
    source: &Entry,
    replica: &Entry,
    [target, old_target]: [Option<&[u8]>; 2],
) -> Vec<Difference> {
    let mut all = List::default();
    all.add("kind", replica.kind.word(), source.kind.word());
    if source.kind == Kind::File && replica.kind == Kind::File {
        all.add("size", Value::Bytes(replica.size), Value::Bytes(source.size));
    }
    if let (Some(target), Some(old_target)) = (target, old_target) {
        all.add("target", shown(old_target), shown(target));
    }
    if is_device(source.kind) && is_device(replica.kind) {
        all.add("device", device(replica), device(source));
    }
    all.add_mtime(source, replica);
    if source.kind != Kind::Symlink && replica.kind != Kind::Symlink {
        all.add("mode", mode(replica.mode), mode(source.mode));
    }
    all.add("owner", owner((replica.uid, replica.gid)), owner((source.uid, source.gid)));
    all.0
}

/// The metadata that a pass would set, as the survey found them.
pub(super) fn of_metadata(compared: &ComparedMetadata, source: &Entry, replica: &Entry) -> Vec<Difference> {
    let mut all = List::default();
    let differences = compared.differences;
    if differences.mode {
        all.add("mode", mode(replica.mode), mode(compared.mode));
    }
    if differences.owner {
        all.add("owner", owner((replica.uid, replica.gid)), owner(compared.owner));
    }
    if differences.mtime {
        all.add_mtime(source, replica);
    }
    all.0
}

/// The names of the xattrs that would be set or removed.
pub(super) fn attributes(compared: Option<&ComparedMetadata>) -> Vec<String> {
    let names = compared.into_iter().flat_map(|compared| &compared.attributes);
    names.map(|name| shown(name.to_bytes())).collect()
}

/// The entry of a side, if its facts are known.
pub(super) fn entry(sight: Option<&Sight>) -> Option<&Entry> {
    match sight {
        Some(Sight::Here(entry)) => Some(entry),
        Some(Sight::Absent | Sight::Unreadable | Sight::Excluded) | None => None,
    }
}

#[derive(Default)]
struct List(Vec<Difference>);

impl List {
    /// Adds two values, unless they are the same.
    fn add(&mut self, what: &'static str, replica: impl Into<Value>, source: impl Into<Value>) {
        let (replica, source) = (replica.into(), source.into());
        if replica != source {
            self.0.push(Difference { what, replica, source });
        }
    }

    fn add_mtime(&mut self, source: &Entry, replica: &Entry) {
        self.add("mtime", Value::Time(replica.mtime), Value::Time(source.mtime));
    }
}

fn is_device(kind: Kind) -> bool {
    matches!(kind, Kind::CharDevice | Kind::BlockDevice)
}

fn device(entry: &Entry) -> String {
    let (major, minor) = device_numbers(entry.rdev);
    format!("{major}:{minor}")
}

fn mode(mode: u16) -> String {
    format!("{mode:04o}")
}

fn owner((uid, gid): (u32, u32)) -> String {
    format!("{uid}:{gid}")
}

/// A time that jiff can show; none after the year 9999.
fn moment(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(time.seconds, time.nanoseconds.try_into().unwrap_or(0)).ok()
}

fn raw(time: Timestamp) -> String {
    format!("@{}.{:09}", time.seconds, time.nanoseconds)
}

fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&moment(*time).map_or_else(|| raw(*time), |moment| moment.to_string()))
}

/// The day of a time in the local zone.
pub(super) fn day(time: Timestamp) -> String {
    local(time, false).split(' ').next().unwrap_or_default().to_owned()
}

fn local(time: Timestamp, is_fine: bool) -> String {
    let form = if is_fine { "%Y-%m-%d %H:%M:%S.%9f" } else { "%Y-%m-%d %H:%M:%S" };
    let local = moment(time).map(|moment| moment.to_zoned_datetime(TimeZone::system()));
    local.map_or_else(|| raw(time), |local| local.strftime(form).to_string())
}

impl fmt::Display for Difference {
    /// Writes both values for people. Times of one second are told apart by their nanoseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_fine = match (&self.replica, &self.source) {
            (Value::Time(theirs), Value::Time(ours)) => theirs.seconds == ours.seconds,
            (Value::Time(_) | Value::Bytes(_) | Value::Text(_), _) => false,
        };
        let words = |value: &Value| match value {
            Value::Bytes(bytes) => format!("{} B", humanize::number(*bytes)),
            Value::Time(time) => local(*time, is_fine),
            Value::Text(text) => text.clone(),
        };
        write!(f, "{} -> {}", words(&self.replica), words(&self.source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::Differences;
    use crate::survey::reconcile::tests::file;

    fn told(differences: &[Difference]) -> Vec<String> {
        differences.iter().map(|difference| format!("{} {difference}", difference.what)).collect()
    }

    fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp { seconds, nanoseconds }
    }

    #[test]
    fn facts_that_differ_are_told_with_both_values_and_equal_ones_are_not() {
        let replica = file(1);
        assert!(of_entries(&replica, &replica, [None, None]).is_empty());
        let source = Entry { size: 12_345, mode: 0o4755, uid: 7, mtime: at(0, 5), ..replica };
        let words = told(&of_entries(&source, &replica, [None, None]));
        assert_eq!(words.len(), 4, "{words:?}");
        assert_eq!(words[0], "size 10 B -> 12,345 B");
        // The zone of the machine decides about the hour.
        assert!(words[1].contains(":00.000000000 -> ") && words[1].ends_with(":00.000000005"), "{words:?}");
        assert_eq!(words[2..], ["mode 0644 -> 4755", "owner 1000:1000 -> 7:1000"]);
        let link = Entry { kind: Kind::Symlink, size: 3, ..source };
        let found = of_entries(&link, &Entry { kind: Kind::Symlink, ..replica }, [Some(b"a b"), Some(b"c")]);
        assert_eq!(told(&found)[0], "target c -> \"a b\"");
        let device = |rdev| Entry { kind: Kind::CharDevice, rdev, ..replica };
        assert_eq!(told(&of_entries(&device(0x105), &device(0x103), [None, None])), ["device 1:3 -> 1:5"]);
        let retyped = of_entries(&device(0x105), &replica, [None, None]);
        assert_eq!(told(&retyped)[0], "kind file -> character device");
    }

    #[test]
    fn of_metadata_only_what_the_survey_would_set_is_told_with_the_value_that_is_due() {
        let (source, replica) = (Entry { uid: 7, mode: 0o600, mtime: at(9, 0), ..file(1) }, file(2));
        let compared = ComparedMetadata {
            owner: (1000, 8),
            mode: 0o640,
            differences: Differences { mode: true, owner: true, ..Differences::default() },
            attributes: vec![c"user.a".to_owned(), c"user.\xff".to_owned()],
        };
        let expected = ["mode 0644 -> 0640", "owner 1000:1000 -> 1000:8"];
        assert_eq!(told(&of_metadata(&compared, &source, &replica)), expected);
        assert_eq!(attributes(Some(&compared)), ["user.a", "\"user.\\xff\""]);
    }

    #[test]
    fn programs_get_numbers_and_times_in_utc() {
        let difference = |replica, source| Difference { what: "x", replica, source };
        let json = |difference: &Difference| serde_json::to_string(difference).expect("JSON");
        let of_sizes = difference(Value::Bytes(1), Value::Bytes(2));
        assert_eq!(json(&of_sizes), r#"{"what":"x","replica":1,"source":2}"#);
        let of_times = difference(Value::Time(at(0, 5)), Value::Time(at(i64::MAX, 0)));
        assert_eq!(
            json(&of_times),
            r#"{"what":"x","replica":"1970-01-01T00:00:00.000000005Z","source":"@9223372036854775807.000000000"}"#
        );
    }
}
