//! Modes of what is written, under any umask. A program of its own: the umask belongs to the whole process.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::Mode;
use trust_keys::{Algorithm, KeyName, KeyStore, Protection, write_private_file};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn files_are_0600_and_the_folder_0700_under_any_umask() {
    for umask in [0o000, 0o022, 0o077, 0o177, 0o777] {
        let root = tempfile::tempdir().unwrap();
        let before = rustix::process::umask(Mode::from_raw_mode(umask));
        let folder = root.path().join("keys");
        let written = KeyStore::open_or_create(&folder).and_then(|store| {
            store.generate(&KeyName::parse("alice")?, Algorithm::Ed25519, Protection::Unencrypted)?;
            write_private_file(&root.path().join("export.pem"), b"exported")?;
            store.locate(&KeyName::parse("alice")?)?.unlock_unencrypted()
        });
        rustix::process::umask(before);
        written.unwrap();
        assert_eq!(mode(&folder), 0o700, "umask {umask:04o}");
        for file in [folder.join("alice.pem"), folder.join("alice.pub"), root.path().join("export.pem")] {
            assert_eq!(mode(&file), 0o600, "umask {umask:04o} {}", file.display());
        }
    }
}
