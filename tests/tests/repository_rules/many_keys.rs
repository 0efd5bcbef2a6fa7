//! How many keys a role may have.

use super::*;

#[test]
fn more_keys_for_one_role_than_the_limit_are_refused() {
    let house = House::new();
    let state = house.with_alice();
    let limit = trust_tuf::limits::KEYS_PER_ROLE;
    for (count, good) in [(limit, true), (limit + 1, false)] {
        let keys: Vec<TestKey> = (0..count).map(|n| TestKey::ed25519(u8::try_from(n + 180).unwrap())).collect();
        let all: Vec<&TestKey> = keys.iter().collect();
        let targets = house.next_targets(&state, |d| d.set_delegation(&delegation("bob", &all, &["web/*"])));
        let bob = sign(&Draft::targets(later()), &[&keys[0]]);
        let result = check(&state, &[], &[("targets", targets), ("bob", bob)]);
        if good {
            assert!(result.is_ok(), "{:?}", result.err());
        } else {
            refused(result, "targets", Rule::TooMany { what: "keys in a role", limit });
        }
    }
}
