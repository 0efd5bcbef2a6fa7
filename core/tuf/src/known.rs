//! What an earlier update of the same repository verified, offered to a later one in a program that stays up.
//!
//! A file is recognised only if its bytes are the same and the same keys, by their content, judge it: then reading it and
//! checking its signatures again could only give the same answer. What changes with time or with other files (expiry,
//! version, length and hashes that another file states, rollback) is never remembered: whoever takes a file from here
//! judges that anew.
//!
//! INVARIANT: everything here was made by the checks of [`crate::trusted`]; there is no other way in. It holds what one
//! trusted set holds and nothing of what that set had been offered, so that it does not grow from update to update.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{RoleKeys, Root, Snapshot, Targets, Timestamp};
use crate::verify::Verified;

/// Delegated roles by (delegator, role).
pub(crate) type Delegated = Arc<BTreeMap<(String, String), Verified<Targets>>>;

/// Files of an earlier trusted set; by default none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The chain from the pinned root, as far as it was kept.
    pub(crate) roots: Arc<[Verified<Root>]>,
    pub(crate) timestamp: Option<Verified<Timestamp>>,
    pub(crate) snapshot: Option<Verified<Snapshot>>,
    pub(crate) targets: Option<Verified<Targets>>,
    pub(crate) delegated: Delegated,
}

impl Known {
    /// The first root, if these are its bytes.
    pub(crate) fn first_root(&self, bytes: &[u8]) -> Option<&Verified<Root>> {
        self.roots.first().filter(|root| root.is_again(bytes))
    }

    /// The root in this place of the chain, if these are its bytes and the root before it is the one that judged it.
    pub(crate) fn next_root(&self, place: usize, bytes: &[u8], old: &Root) -> Option<&Verified<Root>> {
        self.roots.get(place).filter(|root| root.is_again(bytes) && root.was_judged_after(old))
    }
}

/// The file, if these are its bytes and these keys judged it.
pub(crate) fn again<R>(file: Option<&Verified<R>>, bytes: &[u8], keys: &RoleKeys) -> Option<Verified<R>> {
    file.filter(|file| file.was_judged_by(keys) && file.is_again(bytes)).cloned()
}
