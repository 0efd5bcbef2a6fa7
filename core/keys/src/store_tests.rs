//! Attacks on the folder of keys: permissions, links, damage, mix-ups, races.

use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::cost::ScryptCost;

struct Fixture {
    _root: tempfile::TempDir,
    store: KeyStore,
}

impl Fixture {
    fn new() -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let store = KeyStore::open_or_create(&root.path().join("keys")).unwrap();
        Fixture { _root: root, store }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.store.path().join(file)
    }

    fn plain(&self, key: &str) -> LocalKey {
        self.store.generate(&name(key), Algorithm::Ed25519, Protection::Unencrypted).unwrap()
    }
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn pass(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

fn file_error(result: Result<LockedKey, StoreError>) -> FileError {
    match result.unwrap_err() {
        StoreError::File(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_private_file_with_any_bit_for_others_is_refused_with_the_remedy() {
    let fixture = Fixture::new();
    fixture.plain("alice");
    let path = fixture.path("alice.pem");
    for bits in [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777] {
        chmod(&path, bits);
        let error = file_error(fixture.store.locate(&name("alice")));
        assert!(matches!(error, FileError::TooOpen { mode, .. } if mode == bits), "{error}");
        assert!(error.to_string().ends_with(&format!("run: chmod 600 {}", path.display())), "{error}");
    }
    assert_eq!(mode(&path), 0o777, "nothing is repaired silently");
    for bits in [0o600, 0o400, 0o700] {
        chmod(&path, bits);
        fixture.store.locate(&name("alice")).unwrap();
    }
}

#[test]
fn a_folder_that_others_may_use_is_refused_with_the_remedy_and_not_repaired() {
    let fixture = Fixture::new();
    let path = fixture.store.path().to_owned();
    for bits in [0o755, 0o750, 0o701, 0o770, 0o1777] {
        chmod(&path, bits);
        for result in [KeyStore::open(&path), KeyStore::open_or_create(&path)] {
            let error = result.unwrap_err();
            assert!(
                matches!(error, StoreError::File(FileError::DirectoryTooOpen { mode, .. }) if mode == bits),
                "{error}"
            );
            assert!(error.to_string().contains("run: chmod 700 "), "{error}");
        }
        assert_eq!(mode(&path), bits);
    }
}

#[test]
fn links_fifos_folders_sockets_empty_and_huge_files_are_refused_each_by_its_name() {
    let fixture = Fixture::new();
    fixture.plain("alice");
    let path = fixture.path("alice.pem");
    let kept = fixture.path("kept");
    std::fs::rename(&path, &kept).unwrap();

    symlink(&kept, &path).unwrap();
    assert!(matches!(file_error(fixture.store.locate(&name("alice"))), FileError::SymbolicLink { .. }));
    std::fs::remove_file(&path).unwrap();

    fifo(&path);
    assert!(matches!(file_error(fixture.store.locate(&name("alice"))), FileError::NotRegular { .. }));
    std::fs::remove_file(&path).unwrap();

    std::fs::create_dir(&path).unwrap();
    assert!(matches!(file_error(fixture.store.locate(&name("alice"))), FileError::NotRegular { .. }));
    std::fs::remove_dir(&path).unwrap();

    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(file_error(fixture.store.locate(&name("alice"))), FileError::NotRegular { .. }));
    drop(socket);
    std::fs::remove_file(&path).unwrap();

    write_mode(&path, b"", 0o600);
    assert!(matches!(file_error(fixture.store.locate(&name("alice"))), FileError::Empty { .. }));

    write_mode(&path, &vec![b'a'; MAX_KEY_FILE_BYTES + 1], 0o600);
    assert!(matches!(file_error(fixture.store.locate(&name("alice"))), FileError::TooLarge { .. }));

    write_mode(&path, &vec![b'a'; MAX_KEY_FILE_BYTES], 0o600);
    assert!(matches!(fixture.store.locate(&name("alice")).unwrap_err(), StoreError::KeyFile(KeyFileError::NotPem)));
}

fn write_mode(path: &Path, bytes: &[u8], mode: u32) {
    std::fs::write(path, bytes).unwrap();
    chmod(path, mode);
}

#[test]
fn files_and_folders_of_another_user_are_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can give a file to another user");
        return;
    }
    let fixture = Fixture::new();
    fixture.plain("alice");
    std::os::unix::fs::chown(fixture.path("alice.pem"), Some(65534), None).unwrap();
    let error = file_error(fixture.store.locate(&name("alice")));
    assert!(matches!(error, FileError::OtherOwner { owner: 65534, me: 0, .. }), "{error}");
    std::os::unix::fs::chown(fixture.store.path(), Some(65534), None).unwrap();
    let error = KeyStore::open(fixture.store.path()).unwrap_err();
    assert!(matches!(error, StoreError::File(FileError::OtherOwner { .. })), "{error}");
}

#[test]
fn a_swapped_public_file_is_noticed_after_unlocking() {
    let fixture = Fixture::new();
    let (alice, bob) = (fixture.plain("alice"), fixture.plain("bob"));
    std::fs::rename(fixture.path("alice.pub"), fixture.path("x")).unwrap();
    std::fs::rename(fixture.path("bob.pub"), fixture.path("alice.pub")).unwrap();
    std::fs::rename(fixture.path("x"), fixture.path("bob.pub")).unwrap();
    for key in ["alice", "bob"] {
        let error = fixture.store.locate(&name(key)).unwrap().unlock_unencrypted().unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().starts_with("key file damaged or does not belong to "), "{error}");
        assert!(error.to_string().contains(&format!("{key}.pub")), "{error}");
    }
    assert_ne!(alice.id(), bob.id());
}

#[test]
fn damage_that_decrypts_to_another_key_is_noticed() {
    let fixture = Fixture::new();
    let passphrase = pass("p");
    let protection = Protection::Passphrase { passphrase: &passphrase, cost: ScryptCost::DEV };
    let key = fixture.store.generate(&name("alice"), Algorithm::Ed25519, protection).unwrap();
    let path = fixture.path("alice.pem");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut der = pem::blocks(&text).unwrap().first().unwrap().decode().unwrap();
    // 64 bytes of ciphertext at the end; its second block holds half of the seed, which no structure protects.
    let position = der.len() - 48;
    der[position] ^= 1;
    write_mode(&path, pem::encode("ENCRYPTED PRIVATE KEY", &der).as_bytes(), 0o600);

    let alone = KeyFile::parse(&std::fs::read(&path).unwrap()).unwrap().open(&passphrase).unwrap();
    assert_ne!(alone.id(), key.id(), "the file alone gives another key: the attack is real");
    let error = fixture.store.locate(&name("alice")).unwrap().unlock(&passphrase).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_missing_unreadable_foreign_or_private_public_file_is_named() {
    let fixture = Fixture::new();
    fixture.plain("alice");
    let public = fixture.path("alice.pub");
    let private = std::fs::read(fixture.path("alice.pem")).unwrap();
    for (content, check) in [
        (&private[..], (|e| matches!(e, StoreError::PublicIsPrivate { .. })) as fn(&StoreError) -> bool),
        (b"junk", |e| matches!(e, StoreError::PublicUnreadable { .. })),
        (b"", |e| matches!(e, StoreError::File(FileError::Empty { .. }))),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", |e| {
            matches!(e, StoreError::PublicUnreadable { .. })
        }),
    ] {
        std::fs::write(&public, content).unwrap();
        let error = fixture.store.locate(&name("alice")).unwrap_err();
        assert!(check(&error), "{error:?}");
    }
    std::fs::remove_file(&public).unwrap();
    let error = fixture.store.locate(&name("alice")).unwrap_err();
    assert!(matches!(error, StoreError::PublicMissing { .. }), "{error}");
    fifo(&public);
    assert!(matches!(file_error(fixture.store.locate(&name("alice"))), FileError::NotRegular { .. }));
}

#[test]
fn an_existing_file_of_either_name_is_never_overwritten_not_even_a_dangling_link() {
    let fixture = Fixture::new();
    fixture.plain("alice");
    let before = std::fs::read(fixture.path("alice.pem")).unwrap();
    let taken = |result: Result<LocalKey, StoreError>| {
        assert!(matches!(result, Err(StoreError::File(FileError::Exists { .. }))), "{result:?}");
    };
    let generate = |key: &str| fixture.store.generate(&name(key), Algorithm::P256, Protection::Unencrypted);
    taken(generate("alice"));
    assert_eq!(std::fs::read(fixture.path("alice.pem")).unwrap(), before);

    std::fs::write(fixture.path("pub-only.pub"), b"x").unwrap();
    taken(generate("pub-only"));
    assert!(!fixture.path("pub-only.pem").exists());

    symlink(fixture.path("nowhere"), fixture.path("linked.pem")).unwrap();
    taken(generate("linked"));
    assert!(!fixture.path("nowhere").exists() && !fixture.path("linked.pub").exists());

    let error = crate::write_private_file(&fixture.path("alice.pem"), b"x").unwrap_err();
    assert!(matches!(error, FileError::Exists { .. }), "{error}");
    let leftovers: Vec<_> = fixture.store.directory.names().unwrap();
    assert!(!leftovers.iter().any(|file| file.starts_with(".new-")), "{leftovers:?}");
}

#[test]
fn of_many_that_race_for_one_name_exactly_one_wins_and_its_files_belong_together() {
    let fixture = Fixture::new();
    let (store, race) = (&fixture.store, &name("race"));
    let won: Vec<LocalKey> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(move || store.generate(race, Algorithm::Ed25519, Protection::Unencrypted).ok()))
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    let [winner] = won.as_slice() else { panic!("{} winners", won.len()) };
    let stored = fixture.store.locate(&name("race")).unwrap().unlock_unencrypted().unwrap();
    assert_eq!(stored.id(), winner.id());
}

#[test]
fn what_is_written_has_mode_0600_in_a_folder_of_mode_0700() {
    let fixture = Fixture::new();
    fixture.plain("alice");
    assert_eq!(mode(fixture.store.path()), 0o700);
    assert_eq!(mode(&fixture.path("alice.pem")), 0o600);
    assert_eq!(mode(&fixture.path("alice.pub")), 0o600);
}

#[test]
fn names_outside_the_grammar_never_reach_the_file_system() {
    for bad in ["", "-a", "_a", "A", "a.b", "../a", "a/b", "a b", "ä", "a\0", ".", "..", "a\n", &"a".repeat(65)] {
        assert!(matches!(KeyName::parse(bad), Err(StoreError::Name)), "{bad:?}");
    }
    for good in ["a", "0", "a-_9", &"a".repeat(64)] {
        assert_eq!(KeyName::parse(good).unwrap().as_str(), good);
    }
}

#[test]
fn published_example_keys_are_refused_everywhere_unless_allowed() {
    let example = format!("{}/../../keys-example/INSECURE-EXAMPLE-alice.pem", env!("CARGO_MANIFEST_DIR"));
    let pem = std::fs::read(example).unwrap();
    let key = KeyFile::parse(&pem).unwrap().open_unencrypted().unwrap();
    let fixture = Fixture::new();
    let refused = |error: StoreError| assert!(matches!(error, StoreError::Example { .. }), "{error:?}");

    refused(fixture.store.import(&name("alice"), &key, Protection::Unencrypted).unwrap_err());
    let locked = LockedKey::from_pem("here", &pem, ExampleKeys::Refuse).unwrap();
    refused(locked.unlock_unencrypted().unwrap_err());

    let store = KeyStore::open(fixture.store.path()).unwrap().with_examples(ExampleKeys::Allow);
    store.import(&name("alice"), &key, Protection::Unencrypted).unwrap();
    store.locate(&name("alice")).unwrap().unlock_unencrypted().unwrap();
    refused(fixture.store.locate(&name("alice")).unwrap_err());
}

#[test]
fn a_passphrase_is_asked_for_only_if_the_key_is_whole_and_encrypted_and_the_prompt_says_which_key() {
    let fixture = Fixture::new();
    let passphrase = pass("p");
    let protection = Protection::Passphrase { passphrase: &passphrase, cost: ScryptCost::DEV };
    let key = fixture.store.generate(&name("alice"), Algorithm::P256, protection).unwrap();
    let mut asked = Vec::new();
    let mut ask = |info: &PromptInfo| {
        asked.push(info.clone());
        Passphrase::new("p")
    };
    let locked = fixture.store.locate(&name("alice")).unwrap();
    let opened = locked.unlock_from(&mut PassphraseSource::Ask, false, &mut ask).unwrap();
    assert_eq!(opened.id(), key.id());

    fixture.plain("plain");
    let plain = fixture.store.locate(&name("plain")).unwrap();
    let error = plain.unlock_from(&mut PassphraseSource::Ask, false, &mut ask).unwrap_err();
    assert!(matches!(error, StoreError::NotEncrypted { .. }), "{error}");
    assert!(error.to_string().contains("--no-passphrase"));
    plain.unlock_from(&mut PassphraseSource::Ask, true, &mut ask).unwrap();
    assert!(matches!(plain.unlock(&passphrase).unwrap_err(), StoreError::NotEncrypted { .. }));

    let [info] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
    assert_eq!(info.key, "alice");
    assert_eq!(info.algorithm, Some(Algorithm::P256));
    assert_eq!(info.key_id.as_deref(), Some(key.id().as_str()));

    let mut wrong = PassphraseSource::Given(pass("wrong"));
    let error = locked.unlock_from(&mut wrong, true, &mut |_| panic!("asked")).unwrap_err();
    assert!(matches!(error, StoreError::WrongPassphrase { .. }), "{error}");
}

#[test]
fn a_listing_names_every_key_and_a_damaged_one_does_not_hide_the_others() {
    let fixture = Fixture::new();
    let passphrase = pass("p");
    let protection = Protection::Passphrase { passphrase: &passphrase, cost: ScryptCost::DEV };
    let bob = fixture.store.generate(&name("bob"), Algorithm::P256, protection).unwrap();
    let alice = fixture.plain("alice");
    write_mode(&fixture.path("broken.pem"), b"-----BEGIN PRIVATE KEY-----\n", 0o600);
    write_mode(&fixture.path(".new-0011"), b"left by a crash", 0o600);
    write_mode(&fixture.path("README"), b"x", 0o644);
    let list = fixture.store.list().unwrap();
    let names: Vec<_> = list.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["alice", "bob", "broken"]);
    let summary = |entry: &KeyEntry| entry.summary.as_ref().ok().cloned();
    let expected = |key: &LocalKey, is_encrypted| {
        Some(KeySummary { algorithm: key.algorithm(), key_id: key.id().clone(), is_encrypted })
    };
    assert_eq!(summary(&list[0]), expected(&alice, false));
    assert_eq!(summary(&list[1]), expected(&bob, true));
    assert!(list[2].summary.is_err());
}

#[test]
fn every_kind_of_uri_leads_to_the_key_and_a_missing_one_is_named() {
    let fixture = Fixture::new();
    let key = fixture.plain("alice");
    let text = private_pem(&key, Protection::Unencrypted).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("deploy.key");
    crate::write_private_file(&path, text.as_bytes()).unwrap();
    let variable = |wanted: &str| (wanted == "CI_KEY").then(|| OsString::from(text.as_str()));
    let find = |uri: &str| {
        let mut stdin = text.as_bytes();
        let mut places = KeyPlaces {
            store: Some(&fixture.store),
            variable: &variable,
            stdin: &mut stdin,
            examples: ExampleKeys::Refuse,
        };
        locate(&KeyUri::parse(uri).unwrap(), &mut places)
    };
    for uri in ["alice", &format!("file:{}", path.display()), "env:CI_KEY", "env://CI_KEY", "-", "stdin:"] {
        assert_eq!(find(uri).unwrap().unlock_unencrypted().unwrap().id(), key.id(), "{uri}");
    }
    assert!(matches!(find("nobody").unwrap_err(), StoreError::Unknown { .. }));
    assert!(matches!(find("env:NOT_SET").unwrap_err(), StoreError::VariableUnset { .. }));
    assert!(matches!(file_error(find("file:/nonexistent/x")), FileError::NotFound { .. }));

    // A public file beside it is compared; a file that others may read is refused as in the store.
    let public = elsewhere.path().join("deploy.key.pub");
    std::fs::write(&public, LocalKey::generate(Algorithm::Ed25519).unwrap().public().to_pem()).unwrap();
    let uri = format!("file:{}", path.display());
    assert!(matches!(find(&uri).unwrap().unlock_unencrypted().unwrap_err(), StoreError::Damaged { .. }));
    chmod(&path, 0o644);
    assert!(matches!(file_error(find(&uri)), FileError::TooOpen { .. }));
    assert_eq!(public_beside(Path::new("/x/alice.pem")), Path::new("/x/alice.pub"));
}

#[test]
fn endless_standard_input_is_cut_at_the_limit() {
    let mut endless = std::io::repeat(b'a');
    let mut places = KeyPlaces { store: None, variable: &|_| None, stdin: &mut endless, examples: ExampleKeys::Refuse };
    let error = locate(&KeyUri::Stdin, &mut places).unwrap_err();
    assert!(matches!(error, StoreError::KeyFile(KeyFileError::TooLarge)), "{error}");
    let error = locate(&KeyUri::Name(name("alice")), &mut places).unwrap_err();
    assert!(matches!(error, StoreError::NoStore { .. }), "{error}");
}

#[test]
fn a_public_file_with_the_header_of_docker_trust_is_read() {
    let key = LocalKey::generate(Algorithm::P256).unwrap();
    let pem = key.public().to_pem().replacen("KEY-----\n", "KEY-----\nrole: alice\n\n", 1);
    assert_eq!(&public_key(pem.as_bytes(), Path::new("alice.pub")).unwrap(), key.public());
}

#[test]
fn a_store_reached_through_a_link_is_checked_where_the_link_leads() {
    let fixture = Fixture::new();
    fixture.plain("alice");
    let link = fixture._root.path().join("link");
    symlink(fixture.store.path(), &link).unwrap();
    KeyStore::open(&link).unwrap().locate(&name("alice")).unwrap();
    chmod(fixture.store.path(), 0o755);
    assert!(KeyStore::open(&link).is_err());
    assert!(matches!(
        KeyStore::open(&fixture.path("alice.pem")).unwrap_err(),
        StoreError::File(FileError::NotADirectory { .. })
    ));
}
