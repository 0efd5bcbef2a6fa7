//! New online keys: asked of the signer through the server, accepted only with a proof by the signer's identity key.

use trust_reader::api::ApiClient;
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;
use trust_tuf::{CollectionName, KeyId, PublicKey, RoleType};
use trust_wire::api::OnlineKeysRequest;

use crate::app::App;
use crate::fault;
use crate::publish::random_hex;

/// The fingerprint that people have from elsewhere: the flag, else the context's.
pub fn identity(app: &App, flag: Option<&String>) -> Result<KeyId, Problem> {
    let known = flag.or(app.settings.identity.as_ref().map(|identity| &identity.value));
    known.map(KeyId::new).ok_or_else(fault::no_identity)
}

/// One new key for each of these roles, in their order.
pub fn ask(
    app: &App,
    api: &ApiClient,
    collection: &CollectionName,
    roles: &[RoleType],
    identity: &KeyId,
) -> Result<Vec<PublicKey>, Problem> {
    let nonce = random_hex()?;
    let request =
        OnlineKeysRequest { roles: roles.iter().map(|role| role.as_str().to_owned()).collect(), nonce: nonce.clone() };
    let answer = app.wait(api.online_keys(collection, &request))?;
    let refused = |found: &dyn std::fmt::Display| {
        Problem::new(Code::SignerIdentity)
            .fact("collection", collection)
            .fact("expected", identity)
            .fact("found", found)
    };
    if answer.proofs.len() != roles.len() {
        return Err(refused(&format!("{} proofs for {} roles", answer.proofs.len(), roles.len())));
    }
    let mut keys: Vec<PublicKey> = Vec::new();
    for (proof, role) in answer.proofs.iter().zip(roles) {
        let key = proof.check(collection.as_str(), *role, &nonce, identity).map_err(|error| refused(&error))?;
        if keys.contains(&key) {
            return Err(refused(&"one key for two roles"));
        }
        keys.push(key);
    }
    Ok(keys)
}
