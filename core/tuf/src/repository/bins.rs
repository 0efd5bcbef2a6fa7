//! The rules of hash bins (TAP 15), below a signer that `targets` names.
//!
//! All clients that know bins must read them alike, and a bin must never say more than its signer: its keys are the
//! signer's, its name is the signer's own, it delegates nothing and holds only paths of its own range (which
//! [`super::paths`] judges). A signer with bins lists everything in them and never expires after them, so that the
//! signer's own file tells when all of it has to be signed again.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{Refusal, RepositoryState, Rule, refuse};
use crate::limits;
use crate::model::{Role, RoleKeys, Succinct, Targets};
use crate::names::RoleName;
use crate::time::UtcTime;
use crate::verify::Verified;

/// What is wrong with hash bins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BinsRule {
    /// Below `targets` itself, a reserved role, or a role that is not delegated directly.
    #[error("stand only below a signer that `targets` names")]
    Place,
    /// More of them than one signer may have.
    #[error("are at most {most}, not 2^{bits}", most = 1_u64 << limits::PUBLISH_BIN_BITS)]
    Count {
        /// The `bit_length`.
        bits: u32,
    },
    /// A name that is not the signer's own, or no role name of ours.
    #[error("of `{signer}` have a `name_prefix` that is a role name beginning with `{signer}.`, and not `{prefix}`")]
    Prefix {
        /// The signer.
        signer: String,
        /// The prefix.
        prefix: String,
    },
    /// Other bins under names that were in use.
    #[error("that change need a `name_prefix` that was not in use before; `{0}` was")]
    PrefixInUse(String),
    /// Keys that are not the signer's, or fewer of them than the signer needs.
    #[error("are signed by keys of their signer, and by no fewer of them")]
    Keys,
    /// The signer lists targets beside the bins.
    #[error("hold all that their signer lists, and its own file still lists targets")]
    OwnTargets,
    /// A bin that delegates.
    #[error("delegate to nobody")]
    Delegates,
    /// A bin that expires before the signer's own file.
    #[error("expire no earlier than the file of their signer, which expires {signer}")]
    Life {
        /// When the signer's own file expires.
        signer: UtcTime,
    },
    /// A delegation behind the signer, which some clients would not reach.
    #[error(
        "end the search in some clients, and `{0}` stands behind their signer for the same paths: their signer has to stand behind it"
    )]
    Order(String),
}

/// What a role delegates to bins, if it does.
pub(super) fn of<'a>(roles: &'a BTreeMap<RoleName, Verified<Targets>>, name: &RoleName) -> Option<&'a Succinct> {
    roles.get(name)?.delegations()?.succinct()
}

/// A role that delegates to bins. `keys`: who speaks for it.
pub(super) fn check_signer(
    delegator: &RoleName,
    name: &RoleName,
    keys: &RoleKeys,
    role: &Targets,
    bins: &Succinct,
) -> Result<(), Refusal> {
    let error = |rule: BinsRule| Err(refuse(name.as_str(), rule));
    let layout = bins.layout();
    if !delegator.is_targets() || name.is_targets() || name.as_str().starts_with('_') {
        return error(BinsRule::Place);
    }
    if layout.bit_length() > limits::PUBLISH_BIN_BITS {
        return error(BinsRule::Count { bits: layout.bit_length() });
    }
    let own = layout.name_prefix().strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('.'));
    let longest = layout.names().last().unwrap_or_default();
    // Without another dot: else it could be the prefix of another signer, whose name goes on.
    if own.is_none_or(|rest| rest.is_empty() || rest.contains('.')) || RoleName::parse(&longest).is_err() {
        let prefix = layout.name_prefix().chars().take(200).flat_map(char::escape_debug).collect();
        return error(BinsRule::Prefix { signer: name.as_str().to_owned(), prefix });
    }
    let theirs = bins.keys().keyids().iter().all(|id| bins.keys().key(id).is_some_and(|key| keys.holds(key)));
    if !theirs || bins.keys().threshold() < keys.threshold() {
        return error(BinsRule::Keys);
    }
    if !role.is_empty() {
        return error(BinsRule::OwnTargets);
    }
    Ok(())
}

/// A bin, and the file of its signer.
pub(super) fn check_bin(name: &RoleName, bin: &Targets, signer: &Targets) -> Result<(), Refusal> {
    if bin.delegations().is_some_and(|d| !d.roles().is_empty() || d.succinct().is_some()) {
        return Err(refuse(name.as_str(), BinsRule::Delegates));
    }
    if bin.expires() < signer.expires() {
        return Err(refuse(name.as_str(), BinsRule::Life { signer: signer.expires() }));
    }
    Ok(())
}

/// Other bins than before have other names, so that no name ever means two ranges to a client that is on the way.
pub(super) fn check_new(before: &RepositoryState, name: &RoleName, role: &Targets) -> Result<(), Refusal> {
    let Some(layout) = role.delegations().and_then(|d| d.succinct()).map(Succinct::layout) else { return Ok(()) };
    if of(&before.roles, name).is_some_and(|old| old.layout() == layout) {
        return Ok(());
    }
    let start = format!("{}-", layout.name_prefix());
    let is_used = |name: &str| name.starts_with(&start);
    let listed = before.roles.keys().map(RoleName::as_str).find(|name| is_used(name));
    let from = (Bound::Included(start.as_str()), Bound::Unbounded);
    let removed = before.tombstones.range::<str, _>(from).next().filter(|(name, _)| is_used(name));
    if listed.is_some() || removed.is_some() {
        return Err(refuse(name.as_str(), BinsRule::PrefixInUse(layout.name_prefix().to_owned())));
    }
    Ok(())
}

/// TAP 15 calls bins not terminating, and python-tuf and go-tuf end their search with them. So nothing may stand behind
/// a signer with bins that speaks for the same paths, unless that signer ends the search everywhere.
pub(super) fn check_order(roles: &BTreeMap<RoleName, Verified<Targets>>, work: &mut u64) -> Result<(), Refusal> {
    let top = roles.get(&RoleName::targets()).and_then(|targets| targets.delegations());
    let delegations = top.map(|d| d.roles()).unwrap_or_default();
    for (at, signer) in delegations.iter().enumerate().filter(|(_, d)| !d.terminating()) {
        if RoleName::parse(signer.name()).ok().and_then(|name| of(roles, &name)).is_none() {
            continue;
        }
        for later in delegations.iter().skip(at.saturating_add(1)) {
            match signer.paths().may_meet(later.paths(), work) {
                Some(false) => {}
                Some(true) => {
                    return Err(refuse(signer.name(), BinsRule::Order(later.name().to_owned())));
                }
                None => return Err(refuse(signer.name(), Rule::PathWork)),
            }
        }
    }
    Ok(())
}
