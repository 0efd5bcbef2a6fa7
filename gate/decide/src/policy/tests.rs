use bytes::Bytes;

use super::*;

fn time(seconds: i64) -> UtcTime {
    UtcTime::from_unix(1_900_000_000 + seconds).unwrap()
}

fn set(role: &str, version: u64, expires: i64, files: &[(&str, &str)]) -> ReservedSet {
    ReservedSet {
        role: role.to_owned(),
        version,
        expires: time(expires),
        signed_by: vec!["key".to_owned()],
        entries: files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Bytes::copy_from_slice(text.as_bytes())))
            .collect(),
    }
}

fn take(slot: &PolicySlot, rules: Result<Sets, Problem>, now: UtcTime) {
    slot.take(Found { rules, exceptions: Ok(set("_exceptions", 1, 3_000_000, &[])) }, now);
}

const GOOD: &str = "@id(\"all\") permit (principal, action, resource);";

fn sets(version: u64, rules: &str) -> Sets {
    Sets {
        policy: set("_policy", version, 10_000_000, &[("_policy/main.cedar", rules)]),
        labels: set("targets", 1, 5_000_000, &[]),
    }
}

#[test]
fn nothing_loaded_is_no_policy_and_never_an_open_door() {
    let slot = PolicySlot::new("r.example/policy");
    assert_eq!(slot.usable(time(0)).unwrap_err().code, Code::NoPolicy);
    take(&slot, Err(Problem::new(Code::Timeout)), time(0));
    let problem = slot.usable(time(0)).unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::NoPolicy, 21));
    assert!(problem.text().contains("E3002"), "{}", problem.text());
    let mut empty = sets(1, GOOD);
    empty.policy.entries.clear();
    empty.labels.entries = vec![("_labels/a.json".to_owned(), Bytes::from_static(b"{}"))];
    take(&slot, Ok(empty), time(0));
    assert_eq!(slot.usable(time(0)).unwrap_err().code, Code::NoPolicy);
}

#[test]
fn the_first_expiry_of_both_roles_ends_it() {
    let slot = PolicySlot::new("r.example/policy");
    take(&slot, Ok(sets(1, GOOD)), time(0));
    assert_eq!(slot.usable(time(0)).unwrap().until, time(5_000_000));
    assert!(slot.usable(time(4_999_999)).is_ok());
    let problem = slot.usable(time(5_000_000)).unwrap_err();
    assert!(problem.text().contains("targets"), "{}", problem.text());
}

#[test]
fn the_same_policy_again_keeps_its_number_and_another_one_gets_another() {
    let slot = PolicySlot::new("r.example/policy");
    take(&slot, Ok(sets(1, GOOD)), time(0));
    let first = slot.usable(time(0)).unwrap().epoch;
    take(&slot, Ok(sets(1, GOOD)), time(60));
    assert_eq!(slot.usable(time(60)).unwrap().epoch, first);
    take(&slot, Err(Problem::new(Code::Timeout)), time(120));
    assert_eq!(slot.usable(time(120)).unwrap().epoch, first);
    take(&slot, Ok(sets(2, GOOD)), time(180));
    assert_ne!(slot.usable(time(180)).unwrap().epoch, first);
}

#[test]
fn one_wrong_rule_and_nothing_of_the_new_policy_is_in_force() {
    let slot = PolicySlot::new("r.example/policy");
    take(&slot, Ok(sets(1, GOOD)), time(0));
    take(
        &slot,
        Ok(sets(2, &format!("{GOOD}\n@id(\"b\") forbid (principal, action, resource) when {{ nothing }};"))),
        time(60),
    );
    let Usable { in_force, until, .. } = slot.usable(time(60)).unwrap();
    assert_eq!(in_force.policy.identity().version, 1);
    assert_eq!(until, time(60 + BAD_POLICY_GRACE));
    assert!(slot.usable(time(60 + BAD_POLICY_GRACE)).is_err());
    // The same one again, as before the bad one: the trouble is over.
    take(&slot, Ok(sets(1, GOOD)), time(120));
    assert_eq!(slot.usable(time(120)).unwrap().until, time(5_000_000));
}
