//! The proof that an online key lives in the signer: people sign no root without it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trust_tuf::json::{self, Value};
use trust_tuf::{KeyId, PublicKey, RoleType};

/// The signer's identity key says: this public key is mine, for this role of this collection.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnlineKeyProof {
    /// The collection.
    pub collection: String,
    /// `timestamp` or `snapshot`.
    pub role: String,
    /// The online key, as it stands in a root.
    pub key: serde_json::Value,
    /// What the asker sent, so that an old proof cannot be played again.
    pub nonce: String,
    /// The identity key, as it would stand in a file.
    pub identity: serde_json::Value,
    /// The identity key's signature over the canonical payload, in hex.
    pub signature: String,
}

/// Why a proof is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Another collection, role or nonce than was asked for.
    #[error("the proof is for another {0}")]
    Other(&'static str),
    /// A key that cannot be read.
    #[error("the {0} key of the proof cannot be read")]
    Key(&'static str),
    /// Another signer.
    #[error("the signer's identity is {got}, expected {expected}")]
    Identity {
        /// The fingerprint that people have from elsewhere.
        expected: String,
        /// The fingerprint of the identity key in the proof.
        got: String,
    },
    /// The signature does not fit.
    #[error("the signature of the proof is not valid")]
    Signature,
}

/// The bytes that the identity key signs.
pub fn payload(collection: &str, role: RoleType, key: &PublicKey, nonce: &str) -> Vec<u8> {
    Value::object([
        ("_type", Value::from("trust-online-key")),
        ("collection", Value::from(collection)),
        ("role", Value::from(role.as_str())),
        ("key", key.to_value()),
        ("nonce", Value::from(nonce)),
    ])
    .canonical()
}

/// Between this crate's JSON and the one of the metadata.
pub fn key_to_json(key: &PublicKey) -> serde_json::Value {
    serde_json::from_slice(&key.to_value().to_json()).unwrap_or(serde_json::Value::Null)
}

/// Reads a key as it stands in JSON.
pub fn key_from_json(value: &serde_json::Value) -> Option<PublicKey> {
    let bytes = serde_json::to_vec(value).ok()?;
    PublicKey::from_value(&json::parse(&bytes).ok()?).ok()
}

impl OnlineKeyProof {
    /// Checks the proof: for what was asked, by the identity whose fingerprint (key id) is known from elsewhere.
    pub fn check(
        &self,
        collection: &str,
        role: RoleType,
        nonce: &str,
        identity: &KeyId,
    ) -> Result<PublicKey, ProofError> {
        let fits = [
            (self.collection == collection, "collection"),
            (self.role == role.as_str(), "role"),
            (self.nonce == nonce, "nonce"),
        ];
        for (fit, what) in fits {
            if !fit {
                return Err(ProofError::Other(what));
            }
        }
        let signer = key_from_json(&self.identity).ok_or(ProofError::Key("identity"))?;
        if signer.id() != *identity {
            return Err(ProofError::Identity { expected: identity.to_string(), got: signer.id().to_string() });
        }
        let key = key_from_json(&self.key).ok_or(ProofError::Key("online"))?;
        let signature = hex_bytes(&self.signature).ok_or(ProofError::Signature)?;
        if !signer.verify(&payload(collection, role, &key, nonce), &signature) {
            return Err(ProofError::Signature);
        }
        Ok(key)
    }
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    if text.len() > 2_048 { None } else { hex::decode(text).ok() }
}
