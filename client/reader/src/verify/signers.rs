//! Who counts as a signer: direct delegations, each once, and those that share a key as one.

use std::collections::BTreeMap;

use trust_image::{Digest, Reference};
use trust_tuf::trusted::TrustedSet;
use trust_tuf::{PublicKey, RoleType};

use super::{Conflict, Require, SignedBy, UnusableSigner};
use crate::catalogue::Code;
use crate::verdict::Problem;

/// Checks what was required against who signed.
pub(super) fn check(
    set: &TrustedSet,
    image: &Reference,
    digest: &Digest,
    require: &Require,
    signers: &[SignedBy],
    conflicts: &[Conflict],
    unusable: &[UnusableSigner],
) -> Result<(), Problem> {
    let names: Vec<&str> = signers.iter().map(|s| s.name.as_str()).collect();
    let problem =
        |code: Code| Problem::new(code).fact("image", image).fact("digest", digest).fact("signers", names.join(", "));
    for required in &require.signers {
        if let Some(conflict) = conflicts.iter().find(|c| c.name == *required) {
            return Err(problem(Code::SignerConflict).fact("required", required).fact("signed", &conflict.digest));
        }
        if let Some(signer) = unusable.iter().find(|u| u.name == *required) {
            return Err(problem(Code::SignerUnusable).fact("required", required).fact("found", &signer.why));
        }
        if !names.contains(&required.as_str()) {
            let known = required == "targets"
                || set.targets().delegations().is_some_and(|d| d.roles().iter().any(|r| r.name() == required));
            let missing = problem(Code::SignerMissing).fact("required", required);
            return Err(match known {
                true => missing,
                false => {
                    let direct = set.targets().delegations().into_iter().flat_map(|d| d.roles());
                    let known: Vec<&str> = std::iter::once("targets").chain(direct.map(|d| d.name())).collect();
                    missing
                        .headline(format!("there is no signer {required}; signers: {}", known.join(", ")))
                        .cause("the collection has no signer of this name")
                        .remedy(["check the name"])
                }
            });
        }
    }
    let mut required: Vec<&str> = require.signers.iter().map(String::as_str).collect();
    required.sort_unstable();
    required.dedup();
    if distinct(set, &required) < required.len() {
        return Err(problem(Code::SignersShareKey).fact("required", required.join(", ")));
    }
    let counted = distinct(set, &names);
    if counted < require.min_signers {
        return Err(problem(Code::TooFewSigners)
            .headline(format!("{counted} of {} needed signers have signed this image", require.min_signers)));
    }
    Ok(())
}

/// How many signers these are if those that share a key are one.
fn distinct(set: &TrustedSet, names: &[&str]) -> usize {
    let mut numbers = grouped(set, names);
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}

/// Marks those that count with another one. Of each group its first delegation counts; `targets`, whom rules seldom name, only
/// where it is alone.
pub(super) fn counted(set: &TrustedSet, mut signers: Vec<SignedBy>) -> Vec<SignedBy> {
    let names: Vec<String> = signers.iter().map(|s| s.name.clone()).collect();
    let group = grouped(set, &names.iter().map(String::as_str).collect::<Vec<_>>());
    for (at, signer) in signers.iter_mut().enumerate() {
        let same =
            || names.iter().zip(&group).filter(|(_, number)| Some(*number) == group.get(at)).map(|(name, _)| name);
        let counts = same().find(|name| *name != "targets").or_else(|| same().next());
        signer.counts_with = counts.filter(|name| **name != signer.name).cloned();
    }
    signers
}

/// The number of the group of each signer.
fn grouped(set: &TrustedSet, names: &[&str]) -> Vec<usize> {
    let keys = |name: &str| -> Vec<PublicKey> {
        let listed = |keys: &trust_tuf::RoleKeys| keys.keys().map(|(_, key)| key.clone()).collect();
        if name == "targets" {
            return listed(set.root().role(RoleType::Targets));
        }
        let delegations = set.targets().delegations();
        delegations.and_then(|d| d.role(name)).map(|d| listed(d.keys())).unwrap_or_default()
    };
    let sets: Vec<Vec<PublicKey>> = names.iter().map(|name| keys(name)).collect();
    groups(&sets)
}

/// The group of each list when those with a common element are joined, also through others.
fn groups<K: PartialEq>(lists: &[Vec<K>]) -> Vec<usize> {
    // The group of each list, by index; joining gives all of one group the number of the other.
    let mut group: BTreeMap<usize, usize> = (0..lists.len()).map(|i| (i, i)).collect();
    for (i, a) in lists.iter().enumerate() {
        for (j, b) in lists.iter().enumerate().skip(i + 1) {
            if a.iter().any(|key| b.contains(key)) {
                let (from, to) = (group.get(&j).copied(), group.get(&i).copied());
                if let (Some(from), Some(to)) = (from, to) {
                    group.values_mut().filter(|g| **g == from).for_each(|g| *g = to);
                }
            }
        }
    }
    group.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn signers_that_share_a_key_count_once_also_through_a_third() {
        assert!(groups::<u8>(&[]).is_empty());
        assert_eq!(groups(&[vec![1], vec![2], vec![3]]), [0, 1, 2]);
        assert_eq!(groups(&[vec![1], vec![1], vec![2]]), [0, 0, 2]);
        assert_eq!(groups(&[vec![1, 2], vec![3, 4], vec![2, 3]]), [1, 1, 1]);
        assert_eq!(groups(&[vec![1], vec![2], vec![3, 4], vec![4, 1]]), [2, 1, 2, 2]);
    }

    #[test]
    fn a_signer_without_a_usable_key_still_is_one() {
        assert_eq!(groups::<u8>(&[vec![], vec![]]), [0, 1]);
    }
}
