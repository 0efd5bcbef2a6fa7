//! Reserved roles: rules, dictionary, exceptions and revocations with keys and thresholds of their own.
//!
//! Invariants: each kind counts in one role, `targets` or the one of its name; what stands of a kind moves into its new role
//! in the publication that delegates it, so that nothing is out of force in between. Deliberately absent: what the kinds
//! mean, and that server, signer and reader refuse a reserved target in any other role (`trust_tuf`, the reader).

use std::collections::{BTreeMap, BTreeSet};

use trust_tuf::draft::Draft;
use trust_tuf::json::Value;
use trust_tuf::{RoleName, Targets, reserved};

use crate::session::Session;

/// Path components of revocations below `_revoked/`. Signers get five by default; a deeper name is revoked by its digest.
const REVOKED_DEPTH: usize = 16;

/// The kind that this role is for, if it is a reserved one.
pub fn kind_of(role: &str) -> Option<&'static str> {
    reserved::KINDS.into_iter().find(|kind| *kind == role)
}

/// What the role of a kind may list.
pub fn patterns(kind: &str) -> Vec<String> {
    let depth = if kind == "_revoked" { REVOKED_DEPTH } else { 1 };
    (1..=depth).map(|depth| format!("{kind}{}", "/*".repeat(depth))).collect()
}

/// What stands in the role of a kind, for people.
pub fn words(kind: &str) -> &'static str {
    match kind {
        "_policy" => "rules",
        "_labels" => "the label dictionary",
        "_exceptions" => "exceptions",
        _ => "revocations",
    }
}

/// What a role is for, in JSON.
pub fn kind_word(role: &str) -> &'static str {
    match kind_of(role) {
        Some("_policy") => "policy",
        Some("_labels") => "labels",
        Some("_exceptions") => "exceptions",
        Some(_) => "revocations",
        None => "signer",
    }
}

/// Whether `targets` delegates this kind.
pub fn is_delegated(session: &Session, kind: &str) -> bool {
    session.reader.trusted().targets().delegations().is_some_and(|d| d.role(kind).is_some())
}

/// The one role in which a kind counts.
pub fn role_of(session: &Session, kind: &str) -> RoleName {
    let own = if is_delegated(session, kind) { RoleName::parse(kind).ok() } else { None };
    own.unwrap_or_else(RoleName::targets)
}

/// The roles that decide what rules and labels are in force: `targets`, which says where each kind counts, and those roles.
pub fn of_policy(session: &Session) -> BTreeSet<RoleName> {
    [RoleName::targets(), role_of(session, "_policy"), role_of(session, "_labels")].into()
}

/// How many targets of a kind a role file lists.
pub fn count(file: &Targets, kind: &str) -> usize {
    file.paths().filter(|path| reserved::kind(path) == Some(kind)).count()
}

/// Takes everything of a kind out of a draft, each as it stands in the file.
pub fn take(draft: &mut Draft, kind: &str) -> BTreeMap<String, Value> {
    let (taken, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
        draft.take_targets().into_iter().partition(|(path, _)| reserved::kind(path) == Some(kind));
    put(draft, rest);
    taken
}

/// Lists these in a draft.
pub fn put(draft: &mut Draft, targets: BTreeMap<String, Value>) {
    for (path, target) in targets {
        draft.put_target(path, target);
    }
}

/// What ends when the role of a kind is removed, as the question that is to be confirmed; `None`: its file cannot be read.
pub fn end_of(kind: &str, files: Option<usize>, collection: &str) -> String {
    let what = match (kind, files) {
        (_, Some(0)) => {
            return format!("{} signed with the key of `targets` in {collection} again.", capital(&are(kind)));
        }
        ("_policy", _) => {
            "No rule is in force then, and nothing is allowed by this policy before rules are published again"
        }
        ("_labels", _) => {
            "No label is governed then, and rules that read one do not load before a dictionary is published again"
        }
        ("_exceptions", _) => "What they allowed is denied again",
        (_, None) => "What they refuse is accepted again",
        _ => "Those revocations end: what they refuse is accepted again",
    };
    let Some(files) = files else {
        return format!("The file of `{kind}` in {collection} cannot be read: {}. {what}.", unknown(kind));
    };
    let s = if files == 1 { "" } else { "s" };
    format!("{files} file{s} of `{kind}` in {collection} will not be in force any more. {what}.")
}

/// What ends with a role whose file cannot be read, as part of a sentence.
fn unknown(kind: &str) -> &'static str {
    match kind {
        "_revoked" => "an unknown number of revocations ends",
        _ => "what stands there is not known, and will not be in force any more",
    }
}

/// `rules are`, for sentences about a kind.
pub fn are(kind: &str) -> String {
    format!("{} {}", words(kind), if kind == "_labels" { "is" } else { "are" })
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use trust_tuf::names::is_target_path;
    use trust_tuf::{TargetInfo, UtcTime};

    use super::*;

    #[test]
    fn the_patterns_of_a_reserved_role_match_nothing_but_its_kind() {
        for kind in reserved::KINDS {
            for pattern in patterns(kind) {
                assert_eq!(reserved::kind(&pattern), Some(kind));
                assert!(is_target_path(&pattern.replace('*', "x")), "{pattern}");
            }
        }
        assert_eq!(patterns("_policy"), ["_policy/*"]);
        assert_eq!(patterns("_revoked").len(), REVOKED_DEPTH);
        assert_eq!(kind_of("alice"), None);
        assert_eq!(kind_of("_other"), None);
    }

    #[test]
    fn what_moves_is_of_the_kind_and_everything_else_stays_as_it_was() {
        let mut draft = Draft::targets(UtcTime::parse("2030-01-01T00:00:00Z").unwrap());
        for path in ["_policy/a.cedar", "_policy/b.cedar", "_labels/a.json", "_policyx/a", "_policy", "api/v1"] {
            draft.set_target(path, &TargetInfo::of(path.as_bytes()));
        }
        let before = draft.signed().get("targets").cloned().unwrap();
        let taken = take(&mut draft, "_policy");
        assert_eq!(taken.keys().collect::<Vec<_>>(), ["_policy/a.cedar", "_policy/b.cedar"]);
        let left = draft.signed().get("targets").unwrap().as_object().unwrap().len();
        assert_eq!(left, 4);
        put(&mut draft, taken);
        assert_eq!(draft.signed().get("targets"), Some(&before));
    }

    #[test]
    fn what_ends_with_a_role_is_said_before_it_is_confirmed() {
        assert!(end_of("_revoked", Some(2), "r.example/pay").contains("2 files"));
        assert!(end_of("_revoked", Some(1), "r.example/pay").contains("accepted again"));
        assert!(end_of("_policy", Some(1), "r.example/pay").contains("nothing is allowed"));
        assert!(end_of("_labels", Some(0), "r.example/pay").starts_with("The label dictionary is signed"));
        for kind in reserved::KINDS {
            let unread = end_of(kind, None, "r.example/pay");
            assert!(
                unread.contains("cannot be read") && unread.contains("not known") == (kind != "_revoked"),
                "{unread}"
            );
            assert!(!unread.contains("signed with the key of `targets`"), "{unread}");
        }
        assert!(end_of("_revoked", None, "r.example/pay").contains("an unknown number of revocations ends"));
    }
}
