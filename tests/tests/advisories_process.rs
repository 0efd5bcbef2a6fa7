//! Advisories about files on disk, tried on the real programs: modes under a careless umask, planted links (tuf.md 10).

use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use trust_tests::stack::{Options, Stack, built, run, write_private};

const COLLECTION: &str = "registry.example.com/pay";

/// Everything below a folder, itself included.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_owned()];
    let mut at = 0;
    while let Some(path) = all.get(at).cloned() {
        at += 1;
        if path.symlink_metadata().unwrap().is_dir() {
            all.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
    }
    all
}

#[test]
fn tuf_cr_22_01_keys_tokens_stores_and_state_are_for_their_owner_alone_under_umask_000() {
    // This process and all that it starts: nobody else's test runs in it.
    let before = rustix::process::umask(rustix::fs::Mode::empty());
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::start(dir.path(), Options { registry: false, ..Options::default() }).unwrap();
    let token = stack.token("admin", "*=read,publish,admin").unwrap();
    let person = stack.person("ann", Some(&token)).unwrap();
    // Written by the test, not by a program: with this umask it would be refused.
    let config = person.home.join("config/trust/config.toml");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
    stack.create(&person, COLLECTION).unwrap();
    let generated = run(person.trust().args(["key", "generate", "spare"])).unwrap();
    assert!(generated.status.success(), "{}", String::from_utf8_lossy(&generated.stderr));
    let listed = run(person.trust().args(["list", COLLECTION])).unwrap();
    assert_eq!(listed.status.code(), Some(10), "nothing is signed yet, and the state is kept");

    let mut private_keys = 0;
    let mut files = 0;
    assert_eq!(config.metadata().unwrap().mode() & 0o022, 0, "pins were written into it");
    let folders = [stack.signer_data(), stack.server_data(), person.home.join("data"), person.home.join("state")];
    for path in folders.iter().flat_map(|f| below(f)).chain([token]) {
        let meta = path.symlink_metadata().unwrap();
        let text = std::fs::read(&path).unwrap_or_default();
        if text.windows(11).any(|w| w == b"PRIVATE KEY") {
            private_keys += 1;
            assert_eq!(meta.mode() & 0o7777, 0o600, "{}", path.display());
        }
        if meta.is_file() {
            files += 1;
        }
        // Public halves and sockets (which check who connects) may be seen; nothing else, and nothing may be written.
        let seen = path.extension().is_some_and(|e| e == "pub") || FileTypeExt::is_socket(&meta.file_type());
        let forbidden = if seen { 0o022 } else { 0o077 };
        assert_eq!(meta.mode() & forbidden, 0, "{}: {:o}", path.display(), meta.mode());
    }
    rustix::process::umask(before);
    // Root, targets and the spare key at least, and enough files for this to mean something.
    assert!(private_keys >= 3 && files > 10, "{private_keys} private keys in {files} files");
}

#[test]
fn cve_2026_6968_links_planted_in_the_data_folders_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    std::fs::write(&victim, b"untouched").unwrap();
    let untouched = |what: &str| {
        assert_eq!(std::fs::read(&victim).unwrap(), b"untouched", "{what}");
        assert!(!dir.path().join("made").exists(), "{what}");
    };
    let passphrase = dir.path().join("passphrase");
    write_private(&passphrase, b"a passphrase\n").unwrap();
    let private = |name: &str| {
        let folder = dir.path().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        folder
    };
    for target in ["victim", "made"] {
        let target = dir.path().join(target);
        // The server's store.
        let data = private(&format!("server-{}", target.file_name().unwrap().display()));
        symlink(&target, data.join("server.db")).unwrap();
        let mut command = Command::new(built("trust-server"));
        command.args(["token", "create", "--name", "x", "--scope", "*=read", "--data"]).arg(&data);
        assert!(!run(&mut command).unwrap().status.success());
        untouched("server.db");
        // A token's file.
        let data = private(&format!("tokens-{}", target.file_name().unwrap().display()));
        let out = data.join("out.token");
        symlink(&target, &out).unwrap();
        let mut command = Command::new(built("trust-server"));
        command.args(["token", "create", "--name", "x", "--scope", "*=read", "--data"]).arg(data.join("store"));
        command.arg("--out").arg(&out);
        assert!(!run(&mut command).unwrap().status.success());
        untouched("--out");
        // The signer's store.
        let data = private(&format!("signer-{}", target.file_name().unwrap().display()));
        symlink(&target, data.join("signer.db")).unwrap();
        let mut command = Command::new(built("trust-signer"));
        command.args(["init", "--data"]).arg(&data).arg("--passphrase-file").arg(&passphrase);
        assert!(!run(&mut command).unwrap().status.success());
        untouched("signer.db");
    }
    // The folder itself is a link.
    let real = private("real");
    let link = dir.path().join("link");
    symlink(&real, &link).unwrap();
    let mut command = Command::new(built("trust-server"));
    command.args(["token", "create", "--name", "x", "--scope", "*=read", "--data"]).arg(&link);
    assert!(!run(&mut command).unwrap().status.success());
    assert_eq!(std::fs::read_dir(&real).unwrap().count(), 0);
}
