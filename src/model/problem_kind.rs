//! The kinds of problems: the identity of a [`Problem`](crate::model::error::Problem), its words, and its name in the
//! JSON log, which does not change.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The action that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table says what each one is")]
#[non_exhaustive]
pub enum ProblemKind {
    ReadSourceFile,
    ReadReplicaFile,
    ReadSourceFolder,
    ReadReplicaFolder,
    OpenSourceFolder,
    OpenReplicaFolder,
    StatSourceEntry,
    StatReplicaEntry,
    StatSourceFile,
    StatSourceFolder,
    StatReplicaFolder,
    ReadSymlink,
    ReadSourceXattrs,
    ReadReplicaXattrs,
    ReadSourceXattr,
    ReadReplicaXattr,
    ReadSourceAcl,
    ReadReplicaAcl,
    ReadSourceCapabilities,
    ReadReplicaCapabilities,
    CopyFile,
    CopyWholeFile,
    CopyUnstableFile,
    ReadWholeFile,
    WriteWholeFile,
    WriteFile,
    VerifyWrite,
    SyncFile,
    SyncReplica,
    CreateTemporary,
    CreateTemporaryFile,
    CreateEntry,
    CreateFolder,
    Publish,
    RestoreOldEntry,
    Link,
    Rename,
    StoreName,
    MirrorFolder,
    Delete,
    ChangeFolder,
    ReplaceFolder,
    ReplaceExcluded,
    IdentifyMount,
    SetOwner,
    SetMode,
    SetSpecialBits,
    SetMtime,
    SetXattr,
    RemoveXattr,
    KeepModeAndOwner,
    KeepXattr,
    ProbeSymlink,
    TrustSourceFile,
    ContinuePass,
    ContinueHere,
    ConfirmPass,
}

/// Every kind, its name in the JSON log, and its words, to be read after "Cannot".
const TABLE: [(ProblemKind, &str, &str); 57] = [
    (ProblemKind::ReadSourceFile, "read_source_file", "read the source file"),
    (ProblemKind::ReadReplicaFile, "read_replica_file", "read the replica file"),
    (ProblemKind::ReadSourceFolder, "read_source_folder", "read the source folder"),
    (ProblemKind::ReadReplicaFolder, "read_replica_folder", "read the replica folder"),
    (ProblemKind::OpenSourceFolder, "open_source_folder", "open the source folder"),
    (ProblemKind::OpenReplicaFolder, "open_replica_folder", "open the replica folder"),
    (ProblemKind::StatSourceEntry, "stat_source_entry", "read its metadata in the source"),
    (ProblemKind::StatReplicaEntry, "stat_replica_entry", "read its metadata in the replica"),
    (ProblemKind::StatSourceFile, "stat_source_file", "read the metadata of the source file"),
    (ProblemKind::StatSourceFolder, "stat_source_folder", "read the metadata of the source folder"),
    (ProblemKind::StatReplicaFolder, "stat_replica_folder", "read the metadata of the replica folder"),
    (ProblemKind::ReadSymlink, "read_symlink", "read the symbolic link"),
    (ProblemKind::ReadSourceXattrs, "read_source_xattrs", "read the extended attributes in the source"),
    (ProblemKind::ReadReplicaXattrs, "read_replica_xattrs", "read the extended attributes in the replica"),
    (ProblemKind::ReadSourceXattr, "read_source_xattr", "read an extended attribute in the source"),
    (ProblemKind::ReadReplicaXattr, "read_replica_xattr", "read an extended attribute in the replica"),
    (ProblemKind::ReadSourceAcl, "read_source_acl", "read the ACL in the source"),
    (ProblemKind::ReadReplicaAcl, "read_replica_acl", "read the ACL in the replica"),
    (
        ProblemKind::ReadSourceCapabilities,
        "read_source_capabilities",
        "read the file capabilities in the source",
    ),
    (
        ProblemKind::ReadReplicaCapabilities,
        "read_replica_capabilities",
        "read the file capabilities in the replica",
    ),
    (ProblemKind::CopyFile, "copy_file", "copy the source file"),
    (ProblemKind::CopyWholeFile, "copy_whole_file", "copy the whole source file"),
    (ProblemKind::CopyUnstableFile, "copy_unstable_file", "copy a stable state of the source file"),
    (ProblemKind::ReadWholeFile, "read_whole_file", "read the whole source file"),
    (ProblemKind::WriteWholeFile, "write_whole_file", "write the whole replica file"),
    (ProblemKind::WriteFile, "write_file", "write the replica file"),
    (ProblemKind::VerifyWrite, "verify_write", "read back what was written to the replica file"),
    (ProblemKind::SyncFile, "sync_file", "make the replica file durable (fsync)"),
    (ProblemKind::SyncReplica, "sync_replica", "make the replica durable (syncfs)"),
    (ProblemKind::CreateTemporary, "create_temporary", "create a temporary in the replica"),
    (ProblemKind::CreateTemporaryFile, "create_temporary_file", "create a temporary file in the replica"),
    (ProblemKind::CreateEntry, "create_entry", "create it"),
    (ProblemKind::CreateFolder, "create_folder", "create the folder in the replica"),
    (ProblemKind::Publish, "publish", "rename it into place"),
    (ProblemKind::RestoreOldEntry, "restore_old_entry", "restore the old entry"),
    (ProblemKind::Link, "create_hard_link", "make it a hard link of its other name"),
    (ProblemKind::Rename, "rename", "rename it to this name in the replica"),
    (ProblemKind::StoreName, "store_name", "store this name in the replica"),
    (ProblemKind::MirrorFolder, "mirror_folder", "mirror this folder"),
    (ProblemKind::Delete, "delete", "delete it from the replica"),
    (ProblemKind::ChangeFolder, "change_folder", "change this folder of the replica"),
    (ProblemKind::ReplaceFolder, "replace_folder", "replace this folder of the replica"),
    (ProblemKind::ReplaceExcluded, "replace_excluded", "replace this entry of the replica"),
    (ProblemKind::IdentifyMount, "identify_mount", "identify the mount there in the replica"),
    (ProblemKind::SetOwner, "set_owner", "set the owner"),
    (ProblemKind::SetMode, "set_mode", "set the mode"),
    (ProblemKind::SetSpecialBits, "set_special_bits", "set the setuid or setgid bit"),
    (ProblemKind::SetMtime, "set_mtime", "set the modification time"),
    (ProblemKind::SetXattr, "set_xattr", "set an extended attribute"),
    (ProblemKind::RemoveXattr, "remove_xattr", "remove an extended attribute"),
    (ProblemKind::KeepModeAndOwner, "keep_mode_and_owner", "keep the mode and owner that were set"),
    (ProblemKind::KeepXattr, "keep_xattr", "keep an extended attribute of the old version"),
    (ProblemKind::ProbeSymlink, "probe_symlink", "probe which metadata a symbolic link takes here"),
    (ProblemKind::TrustSourceFile, "trust_source_file", "trust the source file"),
    (ProblemKind::ContinuePass, "continue_pass", "continue this pass"),
    (ProblemKind::ContinueHere, "continue_here", "continue here in the replica"),
    (ProblemKind::ConfirmPass, "confirm_pass", "confirm this pass"),
];

impl ProblemKind {
    /// The name in the JSON log.
    pub fn code(self) -> &'static str {
        self.row().1
    }

    /// The action in words, to be read after "Cannot": `read the source file`.
    pub fn words(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (ProblemKind, &'static str, &'static str) {
        // The rows have the order of the variants; a test compares.
        TABLE.get(self as usize).copied().unwrap_or((self, "", ""))
    }

    /// Every kind.
    pub fn all() -> impl Iterator<Item = ProblemKind> {
        TABLE.iter().map(|(kind, ..)| *kind)
    }
}

impl Serialize for ProblemKind {
    /// Writes the name as `problem` and the words as `action`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("problem", self.code())?;
        map.serialize_entry("action", self.words())?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_row_and_a_name_of_its_own() {
        for (at, (kind, code, words)) in TABLE.iter().enumerate() {
            assert_eq!((*kind as usize, kind.code(), kind.words()), (at, *code, *words));
            assert!(code.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{code}");
        }
        let different =
            |of: fn(ProblemKind) -> &'static str| ProblemKind::all().map(of).collect::<BTreeSet<_>>().len();
        assert_eq!(different(ProblemKind::code), TABLE.len());
        assert_eq!(different(ProblemKind::words), TABLE.len());
    }
}
