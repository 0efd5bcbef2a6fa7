//! The threshold check, and the type that only it can make.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use crate::envelope::Unverified;
use crate::error::{Reason, RootSide};
use crate::keys::{KeyId, Signature};
use crate::model::{MetaEntry, Role, RoleKeys, Root, sha256};
use crate::names::RoleType;

/// A file that the threshold of its role's keys signed, with the bytes as received. Version and expiry are checked by
/// whoever uses it: an expired file may still guard against rollback.
#[derive(Debug)]
pub struct Verified<R> {
    bytes: Arc<[u8]>,
    role: Arc<R>,
    signers: Arc<[KeyId]>,
}

impl<R> Clone for Verified<R> {
    fn clone(&self) -> Self {
        Self { bytes: Arc::clone(&self.bytes), role: Arc::clone(&self.role), signers: Arc::clone(&self.signers) }
    }
}

impl<R> Verified<R> {
    /// The bytes as received.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.bytes)
    }

    /// The ids of the distinct keys whose signatures counted.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }
}

impl<R: Role> Verified<R> {
    /// What a snapshot or timestamp of ours says of this file.
    pub fn own_entry(&self) -> MetaEntry {
        MetaEntry::of(self.role.version(), &self.bytes)
    }
}

impl<R> Deref for Verified<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.role
    }
}

/// The distinct keys of the role that signed the message. Distinct by material, so that one key under two ids counts
/// once; at most one check for each key, so that junk signatures cost nothing.
fn valid_signers(keys: &RoleKeys, signatures: &[Signature], message: &[u8]) -> Vec<KeyId> {
    let mut counted = BTreeSet::new();
    let mut signers = Vec::new();
    for signature in signatures {
        let Some(key) = keys.key(&signature.keyid) else { continue };
        if counted.contains(key.material()) || !key.verify(message, &signature.sig) {
            continue;
        }
        counted.insert(key.material());
        signers.push(signature.keyid.clone());
    }
    signers
}

fn count(signers: &[KeyId]) -> u64 {
    u64::try_from(signers.len()).unwrap_or(u64::MAX)
}

impl<R: Role> Unverified<R> {
    /// Checks the threshold of these keys over the canonical form of the received signed part (5.3 to 5.6).
    pub fn verify(self, keys: &RoleKeys) -> Result<Verified<R>, Reason> {
        let signers = self.with_message(|message| valid_signers(keys, self.signatures(), message))?;
        let (valid, needed) = (count(&signers), keys.threshold());
        if valid < needed {
            return Err(Reason::Signatures { valid, needed });
        }
        let (bytes, role) = self.into_parts();
        Ok(Verified { bytes, role: Arc::new(role), signers: signers.into() })
    }
}

impl Unverified<Root> {
    /// Checks a root against the keys that it declares itself: the first one, given out of band.
    pub fn verify_first(self) -> Result<Verified<Root>, Reason> {
        let keys = self.role().role(RoleType::Root).clone();
        self.verify(&keys)
    }

    /// Checks a next root: the threshold of the old root's keys, and the threshold of its own, each counted alone (5.3.4).
    pub fn verify_next(self, old: &Root) -> Result<Verified<Root>, Reason> {
        let own = self.role().role(RoleType::Root).clone();
        let (by_old, by_new) = self.with_message(|message| {
            let by = |keys| valid_signers(keys, self.signatures(), message);
            (by(old.role(RoleType::Root)), by(&own))
        })?;
        for (side, signers, needed) in
            [(RootSide::Old, &by_old, old.role(RoleType::Root).threshold()), (RootSide::New, &by_new, own.threshold())]
        {
            if count(signers) < needed {
                return Err(Reason::RootSignatures { side, valid: count(signers), needed });
            }
        }
        let mut signers = by_old;
        signers.extend(by_new);
        signers.sort_unstable();
        signers.dedup();
        let (bytes, role) = self.into_parts();
        Ok(Verified { bytes, role: Arc::new(role), signers: signers.into() })
    }
}

/// Checks a signed statement that is not metadata (a grant, a consent): distinct keys of `keys` over `message`.
pub fn statement_signers(keys: &RoleKeys, signatures: &[Signature], message: &[u8]) -> Vec<KeyId> {
    valid_signers(keys, signatures, message)
}

/// Length and hashes of received bytes against what another file states, before anything is parsed (5.5.2).
pub(crate) fn check_entry(entry: &MetaEntry, bytes: &[u8]) -> Result<(), Reason> {
    let got = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if let Some(expected) = entry.length
        && expected != got
    {
        return Err(Reason::Length { expected, got });
    }
    if entry.hashes.as_ref().is_some_and(|h| !h.match_bytes(bytes)) {
        return Err(Reason::Hash);
    }
    Ok(())
}
