//! The mode of an entry whose chown failed: it grants nobody more than the old or the new mode would.

use crate::model::entry::{Entry, Kind};

/// The mode of an entry whose owner could not be set: nobody may do more with it than with its old or its intended
/// version. `before` is its old mode, for a new entry that of the private temporary; `has_list` says whether it is to
/// have an ACL, or that this is not known.
///
/// Group and others keep the bits that they had and will have. They get further bits only where the new mode grants
/// them to all three classes: the new group's bits are not for the old group, and with an ACL still to come the mode
/// does not tell who may do what. The owner's own bits do not matter, since an owner may change them.
pub(in crate::apply) fn mode_under_old_owner(wanted: &Entry, before: u16, has_list: bool) -> u16 {
    const SETUID_SETGID: u16 = 0o6000;
    const CLASS: u16 = 0o7;
    const GROUP: u16 = 3;
    let mode = wanted.mode;
    let all = if has_list { 0 } else { mode >> 6 & mode >> GROUP & mode & CLASS };
    let mut kept = !(CLASS << GROUP | CLASS) | before | all << GROUP | all;
    if wanted.kind != Kind::Folder {
        // Anyone who may run the program would gain an identity that was meant for the new group only.
        kept &= !SETUID_SETGID;
    }
    mode & kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::reconcile::tests::file;

    fn mode(wanted: u16, before: u16, has_list: bool) -> u16 {
        mode_under_old_owner(&Entry { mode: wanted, ..file(1) }, before, has_list)
    }

    #[test]
    fn nobody_may_do_more_under_the_old_owner_than_with_the_old_or_the_new_version() {
        // One bit of each class is enough: the three bits never meet.
        let classes = |bits: u16| (bits >> 2 & 1) << 6 | (bits >> 1 & 1) << 3 | bits & 1;
        let may = |mode: u16, is_owner: bool, is_in_group: bool| match (is_owner, is_in_group) {
            (true, _) => mode >> 6 & 1,
            (false, true) => mode >> 3 & 1,
            (false, false) => mode & 1,
        };
        for (before, wanted) in (0..8).flat_map(|before| (0..8).map(move |wanted| (before, wanted))) {
            let (before, wanted) = (classes(before), classes(wanted));
            let now = mode(wanted, before, false);
            for who in 0..8 {
                let [in_old, is_new, in_new] = [1, 2, 4].map(|bit| who & bit != 0);
                let most = may(before, false, in_old) | may(wanted, is_new, in_new);
                let allowed = may(now, false, in_old);
                assert!(allowed <= most, "{before:o} {wanted:o}: {now:o} allows {who:03b} too much");
            }
            assert_eq!(now & !wanted, 0, "nothing that nobody asked for");
        }
    }

    #[test]
    fn a_new_file_stays_private_unless_everybody_may_read_it() {
        let cases = [
            (0o640, false, 0o600),
            (0o644, false, 0o644),
            (0o755, false, 0o755),
            (0o604, false, 0o600),
            (0o750, false, 0o700),
            (0o764, false, 0o744),
            (0o644, true, 0o600),
        ];
        for (wanted, has_list, mode_now) in cases {
            assert_eq!(mode(wanted, 0o600, has_list), mode_now, "{wanted:o}");
        }
    }

    #[test]
    fn what_was_allowed_and_will_be_stays() {
        assert_eq!(mode(0o640, 0o640, false), 0o640);
        assert_eq!(mode(0o640, 0o640, true), 0o640);
        assert_eq!(mode(0o660, 0o640, false), 0o640);
        assert_eq!(mode(0o640, 0o664, true), 0o640);
        assert_eq!(mode(0o644, 0o644, false), 0o644);
    }

    #[test]
    fn a_program_runs_as_nobody_under_the_old_owner() {
        assert_eq!(mode(0o6755, 0o6755, false), 0o755);
        let folder = Entry { kind: Kind::Folder, mode: 0o3770, ..file(1) };
        assert_eq!(mode_under_old_owner(&folder, 0o700, false), 0o3700);
    }
}
