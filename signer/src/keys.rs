//! New online keys. They sign nothing until a root that people signed names them; the proof lets people know that the key
//! lives here.

use trust_keys::SigningKey;
use trust_tuf::UtcTime;
use trust_wire::OnlineKeyProof;
use trust_wire::proof::{key_to_json, payload};
use trust_wire::signer::Reply;

use crate::core::{SignerCore, collection_name};
use crate::online_role::OnlineRole;
use crate::refusal::{No, RuleId, fail, refuse};
use crate::store::NewKey;

impl SignerCore {
    pub(crate) fn new_online_keys(
        &mut self,
        now: UtcTime,
        collection: &str,
        roles: &[String],
        nonce: &str,
    ) -> Result<Reply, No> {
        let name = collection_name(collection)?;
        let nonce_fits = (16..=64).contains(&nonce.len())
            && nonce.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !nonce_fits {
            return Err(refuse(RuleId::Request, "a nonce is 16 to 64 letters, digits, `-` or `_`"));
        }
        if roles.is_empty() || roles.len() > OnlineRole::ALL.len() {
            return Err(refuse(RuleId::Request, "one or two roles are asked for at a time"));
        }
        let mut wanted = Vec::new();
        for role in roles {
            let role = OnlineRole::parse(role)
                .ok_or_else(|| refuse(RuleId::S1, "this signer holds keys for snapshot and timestamp only"))?;
            if wanted.contains(&role) {
                return Err(refuse(RuleId::Request, "a role is asked for twice"));
            }
            wanted.push(role);
        }
        let count = u64::try_from(wanted.len()).unwrap_or(u64::MAX);
        if !self.keys_of.take(name.as_str(), now) || !self.keys.take(now, count) {
            return Err(refuse(RuleId::S10, "too many new keys"));
        }

        let (mut proofs, mut new) = (Vec::new(), Vec::new());
        for role in wanted {
            let made = self.vault.make(self.entropy.as_mut(), &name, role);
            let (key, sealed) = made.map_err(|error| fail(error.to_string()))?;
            let identity = self.vault.identity();
            let statement = payload(name.as_str(), role.role_type(), key.public(), nonce);
            let signature = identity.sign(&statement).map_err(|error| fail(error.to_string()))?;
            proofs.push(OnlineKeyProof {
                collection: name.to_string(),
                role: role.as_str().to_owned(),
                key: key_to_json(key.public()),
                nonce: nonce.to_owned(),
                identity: key_to_json(identity.public()),
                signature: hex::encode(signature.sig),
            });
            new.push(NewKey { role, public: key.public().clone(), sealed });
        }
        // The copy in memory has the old list of keys.
        self.cache.take(&name);
        let done = self.store.add_keys(&name, &new, now);
        self.written(done)?;
        Ok(Reply::NewOnlineKeys { proofs })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use trust_keys::Passphrase;
    use trust_wire::signer::Request;

    use super::*;
    use crate::config::Config;
    use crate::store::Store;
    use crate::vault::{DEV_COST, OsEntropy, Vault, new_identity};

    #[test]
    fn new_keys_that_the_disk_did_not_confirm_end_the_process_as_a_lost_mark_does() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let passphrase = Passphrase::new("p").unwrap();
        let identity = new_identity(&passphrase, DEV_COST).unwrap();
        Store::create(dir.path(), &identity).unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        store.no_sync = true;
        let vault = Arc::new(Vault::open(&identity, &passphrase).unwrap());
        let mut core = SignerCore::new(store, vault, Box::new(OsEntropy), Config::default(), false);
        let now = UtcTime::from_unix(1_900_000_000).unwrap();
        let request = Request::NewOnlineKeys {
            collection: "r.example/a".to_owned(),
            roles: vec!["timestamp".to_owned()],
            nonce: "0123456789abcdef".to_owned(),
        };
        assert!(matches!(core.handle(now, request), Reply::Failed { .. }));
        assert!(core.is_broken());
        assert!(matches!(core.handle(now, Request::Health {}), Reply::Failed { .. }));
    }
}
