//! The private keys: made, sealed for the store, opened from it. They never leave this process in the clear, and no
//! request exports, lists or deletes one (rule S12).

use std::sync::Arc;

use trust_keys::{Algorithm, LocalKey, Passphrase, SealingKey, SigningKey};
use trust_tuf::{CollectionName, KeyId, PublicKey};
use zeroize::Zeroizing;

use crate::online_role::OnlineRole;
use crate::store::{Identity, StoreError, StoredKey};

/// Cost of the passphrase's derivation, log₂ N: 128 MiB.
pub const COST: u8 = 17;
/// The same under `--dev`.
pub const DEV_COST: u8 = trust_keys::cost::MIN_LOG_N;

/// Where new keys come from. A simulation gives its own.
pub trait Entropy: Send {
    /// Fills the buffer; false if there is no randomness.
    fn fill(&mut self, buffer: &mut [u8]) -> bool;
}

/// The randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, buffer: &mut [u8]) -> bool {
        getrandom::fill(buffer).is_ok()
    }
}

/// Why a key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The passphrase is not the one with which the store was made, or the store was changed.
    #[error("the keys do not open: wrong passphrase, or the store is damaged")]
    NotOpened,
    /// No randomness, or the library refused.
    #[error("no key could be made")]
    NotMade,
}

/// PKCS#8 version 1 of an Ed25519 key, up to its seed (RFC 8410).
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

fn place(collection: &str, role: &str, id: &str) -> Vec<u8> {
    format!("{collection}|{role}|{id}").into_bytes()
}

fn identity_place(public: &PublicKey) -> Vec<u8> {
    place("", "identity", public.id().as_str())
}

/// Makes an identity for a new store.
pub fn new_identity(passphrase: &Passphrase, cost: u8) -> Result<Identity, VaultError> {
    let salt = SealingKey::fresh_salt().map_err(|_| VaultError::NotMade)?;
    let sealing = SealingKey::derive(passphrase, &salt, cost).map_err(|_| VaultError::NotMade)?;
    let key = LocalKey::generate(Algorithm::Ed25519).map_err(|_| VaultError::NotMade)?;
    let private = key.to_pkcs8().map_err(|_| VaultError::NotMade)?;
    let sealed = sealing.seal(&identity_place(key.public()), &private).map_err(|_| VaultError::NotMade)?;
    Ok(Identity { salt, log_n: cost, public: key.public().clone(), sealed })
}

/// An online key, opened.
#[derive(Debug, Clone)]
pub(crate) struct HeldKey {
    pub(crate) role: OnlineRole,
    pub(crate) key: Arc<LocalKey>,
    /// Whether an accepted root names it.
    pub(crate) named: bool,
}

/// The sealing key and the identity key.
pub struct Vault {
    sealing: SealingKey,
    identity: LocalKey,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("identity", self.identity.id()).finish_non_exhaustive()
    }
}

impl Vault {
    /// Opens the keys of a store.
    pub fn open(identity: &Identity, passphrase: &Passphrase) -> Result<Self, VaultError> {
        let sealing =
            SealingKey::derive(passphrase, &identity.salt, identity.log_n).map_err(|_| VaultError::NotOpened)?;
        let private =
            sealing.open(&identity_place(&identity.public), &identity.sealed).map_err(|_| VaultError::NotOpened)?;
        let key = LocalKey::from_pkcs8_der(&private).map_err(|_| VaultError::NotOpened)?;
        if key.public() != &identity.public {
            return Err(VaultError::NotOpened);
        }
        Ok(Self { sealing, identity: key })
    }

    /// The identity key.
    pub(crate) fn identity(&self) -> &LocalKey {
        &self.identity
    }

    /// Makes an Ed25519 key for one role of one collection, and seals it for that place.
    pub(crate) fn make(
        &self,
        entropy: &mut dyn Entropy,
        collection: &CollectionName,
        role: OnlineRole,
    ) -> Result<(LocalKey, Vec<u8>), VaultError> {
        let mut private = Zeroizing::new(Vec::with_capacity(ED25519_PKCS8.len() + 32));
        private.extend_from_slice(&ED25519_PKCS8);
        let mut seed = Zeroizing::new([0_u8; 32]);
        if !entropy.fill(seed.as_mut_slice()) {
            return Err(VaultError::NotMade);
        }
        private.extend_from_slice(seed.as_slice());
        let key = LocalKey::from_pkcs8_der(&private).map_err(|_| VaultError::NotMade)?;
        let place = place(collection.as_str(), role.as_str(), key.id().as_str());
        let sealed = self.sealing.seal(&place, &private).map_err(|_| VaultError::NotMade)?;
        Ok((key, sealed))
    }

    /// Opens a stored key. One that was moved from another collection or role does not open.
    pub(crate) fn unseal(&self, collection: &CollectionName, stored: &StoredKey) -> Result<HeldKey, VaultError> {
        let place = place(collection.as_str(), stored.role.as_str(), &stored.keyid);
        let private = self.sealing.open(&place, &stored.sealed).map_err(|_| VaultError::NotOpened)?;
        let key = LocalKey::from_pkcs8_der(&private).map_err(|_| VaultError::NotOpened)?;
        if *key.id() != KeyId::new(stored.keyid.as_str()) {
            return Err(VaultError::NotOpened);
        }
        Ok(HeldKey { role: stored.role, key: Arc::new(key), named: stored.named })
    }
}
