//! Which first root a collection may have (rule S8): the one that an operator admitted by its fingerprint, or one for whose
//! name there is a grant signed with an operator's key; by itself only under `--dev`.

use trust_keys::{SignError, SigningKey};
use trust_tuf::json::Value;
use trust_tuf::model::sha256;
use trust_tuf::{CollectionName, PublicKey, UtcTime, json};
use trust_wire::Base64;

use crate::config::Pattern;
use crate::core::SignerCore;
use crate::refusal::{No, RuleId, refuse};
use crate::store::Admission;

/// Largest grant, in bytes.
pub const GRANT_BYTES: usize = 16 * 1024;
/// `_type` of a grant.
const GRANT_TYPE: &str = "trust-grant";

impl SignerCore {
    /// Whether this first root is admitted; the admission to record, if it is made now.
    pub(crate) fn admission(
        &self,
        now: UtcTime,
        name: &CollectionName,
        first_root: &[u8],
        grant: Option<&Base64>,
    ) -> Result<Option<Admission>, No> {
        let root_sha256 = sha256(first_root);
        match self.store.admitted(name)? {
            Some(admitted) if admitted == root_sha256 => return Ok(None),
            Some(_) => {
                let given = hex::encode(root_sha256);
                let reason = format!("another first root of {name} was admitted; this one has the fingerprint {given}");
                return Err(refuse(RuleId::S8, reason));
            }
            None => {}
        }
        if let Some(grant) = grant {
            let by = check_grant(&grant.0, &self.config.operators, name, &root_sha256, now)
                .map_err(|why| refuse(RuleId::S8, format!("the grant for {name} does not hold: {why}")))?;
            return Ok(Some(Admission { root_sha256, by: format!("grant {by}") }));
        }
        if self.dev {
            return Ok(Some(Admission { root_sha256, by: "dev".to_owned() }));
        }
        let given = hex::encode(root_sha256);
        let reason = format!(
            "no operator admitted {name}; if the fingerprint is right: trust-signer admit {name} {given} --data DIR"
        );
        Err(refuse(RuleId::S8, reason))
    }
}

/// What a grant's signatures are made over: admits any first root (or the one of `root_sha256`) of a collection that fits
/// the pattern (`NAME`, `PREFIX/*`), until it expires.
pub fn grant_payload(pattern: &str, root_sha256: Option<&[u8; 32]>, expires: UtcTime) -> Value {
    let fixed = [
        ("_type", Value::from(GRANT_TYPE)),
        ("expires", Value::from(expires.to_string())),
        ("pattern", Value::from(pattern)),
    ];
    let root = root_sha256.map(|hash| ("root_sha256", Value::from(hex::encode(hash))));
    Value::object(fixed.into_iter().chain(root))
}

/// Why no grant was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// Not `NAME`, `PREFIX/*` or `*`.
    #[error("the pattern is no collection, no `PREFIX/*` and not `*`")]
    Pattern,
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Makes a grant, signed with an operator's key: the bytes of its file.
pub fn make_grant(
    pattern: &str,
    root_sha256: Option<&[u8; 32]>,
    expires: UtcTime,
    key: &dyn SigningKey,
) -> Result<Vec<u8>, GrantError> {
    Pattern::parse(pattern).ok_or(GrantError::Pattern)?;
    let signed = grant_payload(pattern, root_sha256, expires);
    let signature = key.sign(&signed.canonical())?;
    let signature = Value::object([
        ("keyid", Value::from(signature.keyid.as_str())),
        ("sig", Value::from(hex::encode(signature.sig))),
    ]);
    Ok(Value::object([("signatures", Value::from(vec![signature])), ("signed", signed)]).to_json())
}

/// Checks a grant. Gives the id of the operator's key that signed it.
fn check_grant(
    bytes: &[u8],
    operators: &[PublicKey],
    name: &CollectionName,
    root_sha256: &[u8; 32],
    now: UtcTime,
) -> Result<String, &'static str> {
    if bytes.len() > GRANT_BYTES {
        return Err("it is too large");
    }
    let grant = json::parse(bytes).map_err(|_| "it is not strict JSON")?;
    let members = grant.as_object().ok_or("it is no object")?;
    if members.len() != 2 {
        return Err("it has members beside `signatures` and `signed`");
    }
    let signed = grant.get("signed").ok_or("it has no `signed`")?;
    let text = |member: &str| signed.get(member).and_then(Value::as_str);

    // First who says it, then what is said.
    let message = signed.canonical();
    let signatures = grant.get("signatures").and_then(Value::as_array).ok_or("it has no signatures")?;
    let signer = signatures.iter().take(16).find_map(|signature| {
        let id = signature.get("keyid")?.as_str()?;
        let key = operators.iter().find(|key| key.id().as_str() == id)?;
        let bytes = hex::decode(signature.get("sig")?.as_str()?).ok()?;
        key.verify(&message, &bytes).then(|| id.to_owned())
    });
    let signer = signer.ok_or("no operator that this signer knows signed it")?;

    let known = ["_type", "expires", "pattern", "root_sha256"];
    let unknown = signed.as_object().is_none_or(|o| o.keys().any(|k| !known.contains(&k.as_str())));
    if unknown || text("_type") != Some(GRANT_TYPE) {
        return Err("it says something that this signer does not know");
    }
    let expires = text("expires").and_then(UtcTime::parse).ok_or("it has no expiry")?;
    if expires <= now {
        return Err("it is expired");
    }
    let pattern = text("pattern").and_then(Pattern::parse).ok_or("its pattern is not well formed")?;
    if !pattern.matches(name) {
        return Err("it is for other names");
    }
    match signed.get("root_sha256") {
        None => Ok(signer),
        Some(hash) if hash.as_str() == Some(hex::encode(root_sha256).as_str()) => Ok(signer),
        Some(_) => Err("it is for another first root"),
    }
}
