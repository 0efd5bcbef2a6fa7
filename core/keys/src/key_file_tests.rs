//! Attacks on key files, and agreement with OpenSSL in both directions.

use std::process::{Command, Stdio};

use super::*;
use crate::signing::{Algorithm, SigningKey};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/fixtures/INSECURE-FIXTURE-{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn pass(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

fn encrypted(key: &LocalKey, passphrase: &str) -> Zeroizing<String> {
    private_pem(key, Protection::Passphrase { passphrase: &pass(passphrase), cost: ScryptCost::DEV }).unwrap()
}

fn der_of(pem: &str) -> Zeroizing<Vec<u8>> {
    pem::blocks(pem).unwrap().last().unwrap().decode().unwrap()
}

#[test]
fn a_wrong_passphrase_is_its_own_error() {
    let key = LocalKey::generate(Algorithm::Ed25519).unwrap();
    let file = KeyFile::parse(encrypted(&key, "right").as_bytes()).unwrap();
    for wrong in ["", "Right", "right ", "right\n"] {
        assert_eq!(file.open(&pass(wrong)).unwrap_err(), KeyFileError::WrongPassphrase, "{wrong:?}");
    }
    assert_eq!(file.open(&pass("right")).unwrap().id(), key.id());
}

#[test]
fn a_file_cut_off_anywhere_is_refused_before_a_passphrase_is_needed() {
    let key = LocalKey::generate(Algorithm::Ed25519).unwrap();
    for text in [encrypted(&key, "p"), private_pem(&key, Protection::Unencrypted).unwrap()] {
        let whole = text.trim_end().len();
        for length in (0..whole).step_by(64).chain(0..whole) {
            let error = KeyFile::parse(&text.as_bytes()[..length]).unwrap_err();
            assert!(matches!(error, KeyFileError::Truncated | KeyFileError::NotPem), "{length}: {error:?}");
        }
    }
    let der = der_of(&encrypted(&key, "p"));
    for length in 0..der.len() {
        let error = KeyFile::parse(pem::encode(ENCRYPTED, &der[..length]).as_bytes()).unwrap_err();
        assert_eq!(error, KeyFileError::Truncated, "{length}");
    }
    let longer = [&der[..], &[0]].concat();
    assert_eq!(KeyFile::parse(pem::encode(ENCRYPTED, &longer).as_bytes()).unwrap_err(), KeyFileError::Truncated);
}

fn with_parameters(parameters: Parameters) -> Result<KeyFile, KeyFileError> {
    let info = EncryptedPrivateKeyInfoRef {
        encryption_algorithm: parameters.into(),
        encrypted_data: OctetStringRef::new(&[0; 64]).unwrap(),
    };
    KeyFile::parse(pem::encode(ENCRYPTED, &info.to_der().unwrap()).as_bytes())
}

#[test]
fn a_file_that_asks_for_gigabytes_or_hours_is_refused_before_anything_is_derived() {
    let scrypt = |log_n, r, p| {
        let cost = scrypt::Params::new(log_n, r, p).unwrap();
        with_parameters(Parameters::generate_scrypt_aes256cbc(cost, &[1; 16], [2; 16]).unwrap()).map(|_| ())
    };
    for (log_n, r, p) in [(30, 8, 1), (19, 8, 1), (18, 9, 1), (14, 8, 60_000), (14, 127, 127), (1, 60_000, 1000)] {
        assert_eq!(scrypt(log_n, r, p), Err(KeyFileError::TooCostly), "{log_n} {r} {p}");
    }
    for (log_n, r, p) in [(14, 8, 1), (17, 8, 1), (18, 8, 1), (14, 8, 5)] {
        assert_eq!(scrypt(log_n, r, p), Ok(()), "{log_n} {r} {p}");
    }
    let pbkdf2 = |rounds| {
        with_parameters(Parameters::generate_pbkdf2_sha256_aes256cbc(rounds, &[1; 16], [2; 16]).unwrap()).map(|_| ())
    };
    assert_eq!(pbkdf2(MAX_PBKDF2_ROUNDS + 1), Err(KeyFileError::TooCostly));
    assert_eq!(pbkdf2(MAX_PBKDF2_ROUNDS), Ok(()));
}

#[test]
fn a_scrypt_cost_that_is_no_power_of_two_is_refused_where_the_library_would_stop_the_program() {
    let der = der_of(std::str::from_utf8(&fixture("ed25519-scrypt.pem")).unwrap());
    let numbers = [0x02, 0x02, 0x40, 0x00, 0x02, 0x01, 0x08, 0x02, 0x01, 0x01];
    let position = der.windows(numbers.len()).position(|window| window == numbers).unwrap();
    let with = |offset: usize, value: u8| {
        let mut changed = der.to_vec();
        changed[position + offset] = value;
        KeyFile::parse(pem::encode(ENCRYPTED, &changed).as_bytes()).map(|_| ())
    };
    assert_eq!(with(6, 8), Ok(()));
    for (offset, value) in [(2, 0x41), (3, 1), (6, 0), (9, 0)] {
        assert_eq!(with(offset, value), Err(KeyFileError::TooCostly), "{offset} {value}");
    }
    let cost = scrypt::Params::new(14, 8, 1).unwrap();
    let mut parameters = Parameters::generate_scrypt_aes256cbc(cost, &[1; 16], [2; 16]).unwrap();
    if let Kdf::Scrypt(scrypt) = &mut parameters.kdf {
        scrypt.cost_parameter = 0;
    }
    assert_eq!(with_parameters(parameters).map(|_| ()), Err(KeyFileError::TooCostly));
}

#[test]
fn no_flipped_bit_anywhere_makes_reading_panic() {
    let der = der_of(std::str::from_utf8(&fixture("ed25519-scrypt.pem")).unwrap());
    for index in 0..der.len() {
        for bit in 0..8 {
            let mut changed = der.to_vec();
            changed[index] ^= 1 << bit;
            let _ = KeyFile::parse(pem::encode(ENCRYPTED, &changed).as_bytes());
        }
    }
}

#[test]
fn forms_that_are_not_read_are_named() {
    for (name, expected) in [
        ("openssh.pem", KeyFileError::OpenSsh),
        ("p256-proc-type.pem", KeyFileError::LegacyEncryption),
        ("ed25519-pbes1.pem", KeyFileError::UnsupportedEncryption),
        ("ed25519-3des.pem", KeyFileError::UnsupportedEncryption),
        ("ed25519-hmac-sha1.pem", KeyFileError::UnsupportedEncryption),
        ("ed25519.pub", KeyFileError::PublicOnly),
        ("README.md", KeyFileError::NotPem),
    ] {
        let read = KeyFile::parse(&fixture_or_readme(name));
        let error = read.and_then(|file| file.open(&pass("fixture"))).unwrap_err();
        assert_eq!(error, expected, "{name}");
    }
    let rsa = b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert_eq!(KeyFile::parse(rsa).unwrap_err(), KeyFileError::OtherKind);
}

fn fixture_or_readme(name: &str) -> Vec<u8> {
    if name == "README.md" { b"# no key here\n".to_vec() } else { fixture(name) }
}

#[test]
fn several_keys_empty_binary_and_oversized_input_are_refused() {
    let one = fixture("ed25519-plain.pem");
    assert_eq!(KeyFile::parse(&[&one[..], &one].concat()).unwrap_err(), KeyFileError::SeveralKeys);
    assert_eq!(KeyFile::parse(b"").unwrap_err(), KeyFileError::NotPem);
    assert_eq!(KeyFile::parse(&[0xff; 100]).unwrap_err(), KeyFileError::NotPem);
    assert_eq!(KeyFile::parse(&vec![b'a'; MAX_KEY_FILE_BYTES + 1]).unwrap_err(), KeyFileError::TooLarge);
}

#[test]
fn an_unencrypted_key_opens_only_where_the_caller_says_so_and_an_encrypted_one_never_without_its_passphrase() {
    let plain = KeyFile::parse(&fixture("ed25519-plain.pem")).unwrap();
    assert!(!plain.is_encrypted());
    assert_eq!(plain.open(&pass("")).unwrap_err(), KeyFileError::NotEncrypted);
    plain.open_unencrypted().unwrap();
    let encrypted = KeyFile::parse(&fixture("ed25519-scrypt.pem")).unwrap();
    assert!(encrypted.is_encrypted());
    assert_eq!(encrypted.open_unencrypted().unwrap_err(), KeyFileError::Encrypted);
}

#[test]
fn an_empty_passphrase_is_a_passphrase() {
    let key = LocalKey::generate(Algorithm::P256).unwrap();
    let file = KeyFile::parse(encrypted(&key, "").as_bytes()).unwrap();
    assert!(file.is_encrypted());
    assert_eq!(file.open(&pass("")).unwrap().id(), key.id());
}

#[test]
fn files_of_openssl_open_to_the_same_key() {
    let ed25519 = KeyFile::parse(&fixture("ed25519-plain.pem")).unwrap().open_unencrypted().unwrap();
    for name in ["ed25519-scrypt.pem", "ed25519-pbkdf2.pem"] {
        let opened = KeyFile::parse(&fixture(name)).unwrap().open(&pass("fixture")).unwrap();
        assert_eq!(opened.id(), ed25519.id(), "{name}");
    }
    let public = String::from_utf8(fixture("ed25519.pub")).unwrap();
    assert_eq!(ed25519.public().to_pem(), public);
    let public = String::from_utf8(fixture("p256.pub")).unwrap();
    for name in ["p256-plain.pem", "p256-sec1.pem"] {
        let opened = KeyFile::parse(&fixture(name)).unwrap().open_unencrypted().unwrap();
        assert_eq!(opened.public().to_pem(), public, "{name}");
    }
}

#[test]
fn two_files_of_one_key_share_neither_salt_nor_ciphertext() {
    let key = LocalKey::generate(Algorithm::Ed25519).unwrap();
    assert_ne!(*encrypted(&key, "p"), *encrypted(&key, "p"));
}

#[test]
fn the_offline_cost_is_two_to_the_seventeen_and_the_plaintext_is_not_in_the_file() {
    let key = LocalKey::generate(Algorithm::Ed25519).unwrap();
    let passphrase = pass("p");
    let text =
        private_pem(&key, Protection::Passphrase { passphrase: &passphrase, cost: ScryptCost::OFFLINE }).unwrap();
    let der = der_of(&text);
    // INTEGER 131072, INTEGER 8, INTEGER 1.
    let parameters = [0x02, 0x03, 0x02, 0x00, 0x00, 0x02, 0x01, 0x08, 0x02, 0x01, 0x01];
    assert!(der.windows(parameters.len()).any(|window| window == parameters));
    let secret = key.to_pkcs8().unwrap();
    let seed = &secret[16..48];
    assert!(!der.windows(8).any(|window| seed.windows(8).any(|part| part == window)));
    assert_eq!(KeyFile::parse(text.as_bytes()).unwrap().open(&passphrase).unwrap().id(), key.id());
}

fn openssl(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write;
    let started = Command::new("openssl")
        .args(arguments)
        .env("TRUST_TEST_PASSPHRASE", "across tools")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            println!("SKIPPED: openssl is not on PATH ({error})");
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    Some(output.stdout)
}

#[test]
fn openssl_decrypts_our_file_to_the_same_key_and_we_open_the_file_it_makes() {
    for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
        let key = LocalKey::generate(algorithm).unwrap();
        let passphrase = pass("across tools");
        for cost in [ScryptCost::PORTABLE, ScryptCost::DEV] {
            let ours = private_pem(&key, Protection::Passphrase { passphrase: &passphrase, cost }).unwrap();
            let Some(plain) = openssl(&["pkcs8", "-passin", "env:TRUST_TEST_PASSPHRASE"], ours.as_bytes()) else {
                return;
            };
            assert_eq!(KeyFile::parse(&plain).unwrap().open_unencrypted().unwrap().id(), key.id());
        }
        let plain = private_pem(&key, Protection::Unencrypted).unwrap();
        for form in [&["-scrypt"][..], &["-v2", "aes256"], &["-v2", "aes128"]] {
            let arguments = [&["pkcs8", "-topk8", "-passout", "env:TRUST_TEST_PASSPHRASE"], form].concat();
            let Some(theirs) = openssl(&arguments, plain.as_bytes()) else {
                return;
            };
            let file = KeyFile::parse(&theirs).unwrap();
            assert!(file.is_encrypted());
            assert_eq!(file.open(&passphrase).unwrap().id(), key.id(), "{form:?}");
        }
    }
}

#[test]
fn debug_output_shows_no_key_material() {
    let file = KeyFile::parse(&fixture("ed25519-plain.pem")).unwrap();
    assert_eq!(format!("{file:?}"), "KeyFile { is_encrypted: false, .. }");
}
