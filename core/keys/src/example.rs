//! The keys whose private halves are published in `keys-example/`: refused outside `--dev`.
//!
//! The list of ids lives in `trust_tuf::example_keys`, because programs that may not link private-key code need it as well.
//! Every way by which this crate hands out a private key asks here. Deliberately absent: the keys themselves.

use trust_tuf::PublicKey;

/// Whether the published example keys may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExampleKeys {
    /// Refuse them: the rule.
    #[default]
    Refuse,
    /// Take them like any other key: only under `--dev`.
    Allow,
}

impl ExampleKeys {
    /// Whether `key` may be used under this rule.
    pub fn permit(self, key: &PublicKey) -> bool {
        self == ExampleKeys::Allow || !is_example(key)
    }
}

/// Whether the private half of `key` is published with this project.
pub fn is_example(key: &PublicKey) -> bool {
    trust_tuf::example_keys::is_example(key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;
    use crate::key_file::KeyFile;
    use crate::signing::{Algorithm, LocalKey, SigningKey};

    fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../keys-example")
    }

    #[test]
    fn the_denied_ids_are_exactly_those_of_the_files_and_every_file_is_named_insecure() {
        let mut ids = BTreeSet::new();
        for entry in std::fs::read_dir(folder()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name == "README.md" || name == "denied-key-ids.txt" {
                continue;
            }
            assert!(name.starts_with("INSECURE-EXAMPLE-"), "{name}");
            let content = std::fs::read(&path).unwrap();
            let id = if name.ends_with(".pem") {
                KeyFile::parse(&content).unwrap().open_unencrypted().unwrap().id().clone()
            } else {
                assert!(name.ends_with(".pub"), "{name}");
                let public = PublicKey::from_pem(std::str::from_utf8(&content).unwrap()).unwrap();
                let private = std::fs::read(path.with_extension("pem")).unwrap();
                let private = KeyFile::parse(&private).unwrap().open_unencrypted().unwrap();
                assert_eq!(&public, private.public(), "{name} belongs to its .pem");
                public.id()
            };
            ids.insert(id.as_str().to_owned());
        }
        let listed = std::fs::read_to_string(folder().join("denied-key-ids.txt")).unwrap();
        let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
        assert_eq!(ids.len(), 3);
        assert_eq!(ids, listed);
    }

    #[test]
    fn the_example_keys_are_what_the_readme_says_and_refused_unless_allowed() {
        for (name, byte) in [("root", 0xa1), ("targets", 0xa2), ("alice", 0xa3)] {
            let pem = std::fs::read(folder().join(format!("INSECURE-EXAMPLE-{name}.pem"))).unwrap();
            let key = KeyFile::parse(&pem).unwrap().open_unencrypted().unwrap();
            assert_eq!(key.algorithm(), Algorithm::Ed25519);
            assert!(key.to_pkcs8().unwrap().ends_with(&[byte; 32]));
            assert!(!ExampleKeys::default().permit(key.public()));
            assert!(ExampleKeys::Allow.permit(key.public()));
        }
        let own = LocalKey::generate(Algorithm::Ed25519).unwrap();
        assert!(ExampleKeys::Refuse.permit(own.public()));
    }
}
