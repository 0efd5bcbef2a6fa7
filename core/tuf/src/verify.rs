//! The threshold check, and the type that only it can make.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::envelope::{Outline, Unverified};
use crate::error::{Reason, RootSide};
use crate::keys::{KeyId, Signature};
use crate::model::{Hashes, MetaEntry, Role, RoleKeys, Root, sha256};
use crate::names::RoleType;

/// A file that the threshold of its role's keys signed, with the bytes as received. Version and expiry are checked by
/// whoever uses it: an expired file may still guard against rollback.
#[derive(Debug)]
pub struct Verified<R>(Arc<Inner<R>>);

#[derive(Debug)]
struct Inner<R> {
    bytes: Arc<[u8]>,
    sha256: OnceLock<[u8; 32]>,
    role: R,
    signers: Vec<KeyId>,
    judges: Judges,
}

/// The keys that judged a file, by their content.
#[derive(Debug)]
enum Judges {
    /// Those of its role.
    Role(RoleKeys),
    /// A first root's own.
    Itself,
    /// Those of the root before it, and its own.
    Next(RoleKeys),
}

impl<R> Clone for Verified<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Verified<R> {
    fn new(bytes: Arc<[u8]>, role: R, signers: Vec<KeyId>, judges: Judges) -> Self {
        Self(Arc::new(Inner { bytes, sha256: OnceLock::new(), role, signers, judges }))
    }

    /// The bytes as received.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.0.bytes
    }

    /// SHA-256 of the bytes, computed once.
    pub fn sha256(&self) -> [u8; 32] {
        *self.0.sha256.get_or_init(|| sha256(&self.0.bytes))
    }

    /// The ids of the distinct keys whose signatures counted.
    pub fn signers(&self) -> &[KeyId] {
        &self.0.signers
    }

    /// Keeps the hash that was computed before the file was read.
    pub(crate) fn with_sha256(self, sha256: Option<[u8; 32]>) -> Self {
        if let Some(hash) = sha256 {
            let _ = self.0.sha256.set(hash);
        }
        self
    }

    pub(crate) fn is_again(&self, bytes: &[u8]) -> bool {
        *self.0.bytes == *bytes
    }

    pub(crate) fn was_judged_by(&self, keys: &RoleKeys) -> bool {
        matches!(&self.0.judges, Judges::Role(judges) if judges == keys)
    }

    pub(crate) fn was_judged_after(&self, old: &Root) -> bool {
        matches!(&self.0.judges, Judges::Next(judges) if judges == old.role(RoleType::Root))
    }

    /// Length and hashes against what another file states.
    pub(crate) fn check_entry(&self, entry: &MetaEntry) -> Result<(), Reason> {
        check_length(entry, self.bytes())?;
        let fits = entry.hashes.as_ref().is_none_or(|h| match h {
            Hashes { sha256: Some(hash), sha512: None } => *hash == self.sha256(),
            other => other.match_bytes(self.bytes()),
        });
        if fits { Ok(()) } else { Err(Reason::Hash) }
    }
}

impl<R: Role> Verified<R> {
    /// What a snapshot or timestamp of ours says of this file.
    pub fn own_entry(&self) -> MetaEntry {
        let length = u64::try_from(self.bytes().len()).ok();
        let hashes = Hashes { sha256: Some(self.sha256()), sha512: None };
        MetaEntry { version: self.version(), length, hashes: Some(hashes) }
    }
}

impl<R> Deref for Verified<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0.role
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
        self.judged(keys, Judges::Role(keys.clone()))
    }

    fn judged(self, keys: &RoleKeys, judges: Judges) -> Result<Verified<R>, Reason> {
        let signers = self.with_message(|message| valid_signers(keys, self.signatures(), message))?;
        let (valid, needed) = (count(&signers), keys.threshold());
        if valid < needed {
            return Err(Reason::Signatures { valid, needed });
        }
        let (bytes, role) = self.into_parts();
        Ok(Verified::new(bytes, role, signers, judges))
    }
}

/// Whether enough of these keys signed a file, before anything of its content is built.
pub(crate) fn check_signed(bytes: &[u8], keys: &RoleKeys) -> Result<(), Reason> {
    let outline = Outline::read(bytes)?;
    let signers = outline.with_message(bytes, |message| valid_signers(keys, &outline.signatures, message))?;
    let (valid, needed) = (count(&signers), keys.threshold());
    if valid < needed { Err(Reason::Signatures { valid, needed }) } else { Ok(()) }
}

impl Unverified<Root> {
    /// Checks a root against the keys that it declares itself: the first one, given out of band.
    pub fn verify_first(self) -> Result<Verified<Root>, Reason> {
        let keys = self.role().role(RoleType::Root).clone();
        self.judged(&keys, Judges::Itself)
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
        Ok(Verified::new(bytes, role, signers, Judges::Next(old.role(RoleType::Root).clone())))
    }
}

/// Checks a signed statement that is not metadata (a grant, a consent): distinct keys of `keys` over `message`.
pub fn statement_signers(keys: &RoleKeys, signatures: &[Signature], message: &[u8]) -> Vec<KeyId> {
    valid_signers(keys, signatures, message)
}

fn check_length(entry: &MetaEntry, bytes: &[u8]) -> Result<(), Reason> {
    let got = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    match entry.length {
        Some(expected) if expected != got => Err(Reason::Length { expected, got }),
        _ => Ok(()),
    }
}

/// Length and hashes of received bytes against what another file states, before anything is parsed (5.5.2). Gives the
/// SHA-256 if it was needed.
pub(crate) fn check_entry(entry: &MetaEntry, bytes: &[u8]) -> Result<Option<[u8; 32]>, Reason> {
    check_length(entry, bytes)?;
    match &entry.hashes {
        Some(Hashes { sha256: Some(hash), sha512: None }) => {
            let own = sha256(bytes);
            if own == *hash { Ok(Some(own)) } else { Err(Reason::Hash) }
        }
        Some(hashes) if !hashes.match_bytes(bytes) => Err(Reason::Hash),
        _ => Ok(None),
    }
}
