//! Which paths a role of ours may list: those of every delegation on the way to it. Judged for new files, and for files
//! that stay where that way changed. The work is bounded.

use std::collections::BTreeMap;

use super::{Refusal, Rule, refuse};
use crate::limits;
use crate::model::{Bins, Paths, Targets, pattern_matches, sha256};
use crate::names::RoleName;
use crate::verify::Verified;

/// For which paths a role is delegated to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge<'a> {
    /// What a delegation by name says.
    Paths(&'a Paths),
    /// The bin with this number.
    Bin(&'a Bins, u64),
}

/// A delegator, and for which paths it delegates.
pub(super) type Link<'a> = (&'a RoleName, Edge<'a>);

/// Who delegates to each role. One delegator each: the walk refused two.
pub(super) struct Parents<'a> {
    named: BTreeMap<&'a str, Link<'a>>,
    bins: BTreeMap<&'a str, (&'a RoleName, &'a Bins)>,
}

impl<'a> Parents<'a> {
    pub(super) fn of(roles: &'a BTreeMap<RoleName, Verified<Targets>>) -> Self {
        let (mut named, mut bins) = (BTreeMap::new(), BTreeMap::new());
        for (name, delegations) in roles.iter().filter_map(|(name, role)| Some((name, role.delegations()?))) {
            named.extend(delegations.roles().iter().map(|d| (d.name(), (name, Edge::Paths(d.paths())))));
            bins.extend(delegations.succinct().map(|s| (s.layout().name_prefix(), (name, s.layout()))));
        }
        Self { named, bins }
    }

    fn link(&self, role: &str) -> Option<Link<'a>> {
        if let Some(link) = self.named.get(role) {
            return Some(*link);
        }
        let (prefix, _) = role.rsplit_once('-')?;
        let (signer, bins) = self.bins.get(prefix)?;
        Some((*signer, Edge::Bin(bins, bins.number_of(role)?)))
    }

    /// The delegations on the way from `targets` to this role, the last one first.
    pub(super) fn chain(&self, name: &RoleName) -> Vec<Link<'a>> {
        let mut chain: Vec<Link<'a>> = Vec::new();
        let mut wanted = name.as_str();
        while wanted != "targets" && chain.len() <= limits::ROLES_PER_COLLECTION {
            let Some(link) = self.link(wanted) else { break };
            chain.push(link);
            wanted = link.0.as_str();
        }
        chain
    }
}

/// The paths of a delegation, so that most patterns are told from a path by their beginning alone.
enum Compared<'a> {
    Patterns(Vec<(&'a str, &'a str)>),
    Prefixes(&'a [String]),
    Bin(&'a Bins, u64),
}

impl<'a> Compared<'a> {
    fn of(edge: Edge<'a>) -> Self {
        let beginning = |pattern: &'a str| pattern.split(['*', '?']).next().unwrap_or_default();
        match edge {
            Edge::Paths(Paths::Patterns(patterns)) => {
                Self::Patterns(patterns.iter().map(|p| (beginning(p), p.as_str())).collect())
            }
            Edge::Paths(Paths::HashPrefixes(prefixes)) => Self::Prefixes(prefixes),
            Edge::Bin(bins, number) => Self::Bin(bins, number),
        }
    }

    /// Whether the delegation is for this path, as [`Delegation::matches`] says; `None` once the work is used up.
    fn matches(&self, path: &str, work: &mut u64) -> Option<bool> {
        let bytes = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX);
        match self {
            Self::Patterns(patterns) => {
                for (beginning, pattern) in patterns {
                    *work = work.checked_sub(8)?;
                    if !path.starts_with(beginning) {
                        continue;
                    }
                    // At worst each byte of a pattern with a `*` meets each byte of the path.
                    let rows = if pattern.contains('*') { bytes(path) } else { 1 };
                    *work = work.checked_sub(bytes(pattern).saturating_mul(rows))?;
                    // What is not defined is for nothing; a new pattern of that kind is refused elsewhere.
                    if !pattern.contains('[') && pattern_matches(pattern, path) {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Self::Prefixes(prefixes) => {
                *work = work.checked_sub(bytes(path))?;
                let hash = hex::encode(sha256(path.as_bytes()));
                for prefix in *prefixes {
                    *work = work.checked_sub(8)?;
                    if hash.starts_with(prefix.as_str()) {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Self::Bin(bins, number) => {
                *work = work.checked_sub(bytes(path))?;
                Some(bins.number_for(path) == *number)
            }
        }
    }
}

/// Every target of a role lies in the paths of every delegation on the way to it. `work` bounds what a publication may
/// cost: many targets under many patterns take hours, in which a signer would sign for nobody.
pub(super) fn check(name: &RoleName, role: &Targets, chain: &[Link<'_>], work: &mut u64) -> Result<(), Refusal> {
    if role.is_empty() {
        return Ok(());
    }
    let chain: Vec<Compared<'_>> = chain.iter().map(|(_, edge)| Compared::of(*edge)).collect();
    for path in role.paths() {
        for delegation in &chain {
            match delegation.matches(path, work) {
                Some(true) => {}
                Some(false) => return Err(refuse(name.as_str(), Rule::OutsidePaths(path.escape_debug().to_string()))),
                None => return Err(refuse(name.as_str(), Rule::PathWork)),
            }
        }
    }
    Ok(())
}
