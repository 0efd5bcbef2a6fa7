//! What a start finds without making anything.

use super::*;
use crate::doors::DockerDoor;

#[test]
fn a_root_file_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pay.root.json"), "{}").unwrap();
    let text = format!(
        "state = 'state'\npolicy = 'signatures-alone'\n[[collections]]\nname = 'registry.example.com/pay'\n\
         root = 'pay.root.json'\nfingerprint = '{}'\nserver = 'https://trust.example.com'\n\
         [environment]\nname = 'public-eu'\ncloud = 'public'\n[docker]\n",
        trust_reader::anchor::fingerprint(b"{}")
    );
    let file = dir.path().join("gate.toml");
    std::fs::write(&file, text).unwrap();
    let Err(failure) = Found::look::<DockerDoor>(&file) else { panic!("it was found good") };
    assert_eq!(failure.exit_code(), 3);
    assert!(failure.to_string().contains("pay.root.json is no root file of registry.example.com/pay"), "{failure}");
    assert!(!dir.path().join("state").exists());
}
