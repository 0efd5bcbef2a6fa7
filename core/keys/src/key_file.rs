//! The form of a private key on disk: PEM with PKCS#8, encrypted with PBES2 (scrypt, AES-256-CBC), RFC 5958, 8018, 7914.
//!
//! Invariants: whether a file is encrypted, and that it is whole, is known before anybody is asked for a passphrase; a file
//! cannot ask for more memory or work than [`crate::cost`] allows; an unencrypted key is opened only through the function
//! that says so. CBC is not authenticated, so a wrong passphrase and damage look alike here, and damage can even yield
//! another key: [`crate::store`] therefore compares with the public key that stands beside the file.
//! Deliberately absent: OpenSSH, Notary and cosign files, PEM encryption of the old kind (`Proc-Type: 4,ENCRYPTED`), and
//! PKCS#8 under SHA-1 or DES.

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{Decode, Encode};
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use crate::cost::{MAX_PBKDF2_ROUNDS, ScryptCost, scrypt_is_affordable};
use crate::passphrase::Passphrase;
use crate::pem;
use crate::signing::{LocalKey, PrivateKeyError};

/// Largest key file that is read, in bytes.
pub const MAX_KEY_FILE_BYTES: usize = 64 * 1024;

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const PLAIN: &str = "PRIVATE KEY";
const SEC1: &str = "EC PRIVATE KEY";

enum Form {
    Encrypted,
    Pkcs8,
    Sec1,
}

/// A private key file that was read and is whole, not opened yet.
pub struct KeyFile {
    form: Form,
    der: Zeroizing<Vec<u8>>,
}

impl KeyFile {
    /// Reads PEM with exactly one private key: PKCS#8 (encrypted or not) or SEC1 `EC PRIVATE KEY`.
    ///
    /// At most [`MAX_KEY_FILE_BYTES`]. A preceding `EC PARAMETERS` block and a `PUBLIC KEY` block are ignored.
    pub fn parse(bytes: &[u8]) -> Result<KeyFile, KeyFileError> {
        if bytes.len() > MAX_KEY_FILE_BYTES {
            return Err(KeyFileError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| KeyFileError::NotPem)?;
        let blocks = pem::blocks(text).map_err(|_| KeyFileError::Truncated)?;
        let mut found: Option<KeyFile> = None;
        let mut has_public = false;
        for block in &blocks {
            let form = match block.label {
                ENCRYPTED => Form::Encrypted,
                PLAIN => Form::Pkcs8,
                SEC1 if block.legacy_encrypted => return Err(KeyFileError::LegacyEncryption),
                SEC1 => Form::Sec1,
                "PUBLIC KEY" => {
                    has_public = true;
                    continue;
                }
                "EC PARAMETERS" => continue,
                "OPENSSH PRIVATE KEY" => return Err(KeyFileError::OpenSsh),
                label if label.ends_with(PLAIN) => return Err(KeyFileError::OtherKind),
                _ => continue,
            };
            if found.is_some() {
                return Err(KeyFileError::SeveralKeys);
            }
            let der = block.decode().map_err(|_| KeyFileError::Truncated)?;
            found = Some(KeyFile { form, der });
        }
        let Some(file) = found else {
            return Err(if has_public { KeyFileError::PublicOnly } else { KeyFileError::NotPem });
        };
        if file.is_encrypted() {
            file.encrypted()?;
        }
        Ok(file)
    }

    /// Whether a passphrase is needed.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.form, Form::Encrypted)
    }

    /// Opens an encrypted file. A file that is not encrypted is refused: see [`KeyFile::open_unencrypted`].
    pub fn open(&self, passphrase: &Passphrase) -> Result<LocalKey, KeyFileError> {
        if !self.is_encrypted() {
            return Err(KeyFileError::NotEncrypted);
        }
        let info = self.encrypted()?;
        let parameters = affordable(&info)?;
        let mut buffer = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
        let plain = parameters.decrypt_in_place(passphrase.expose(), &mut buffer).map_err(|error| match error {
            pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. } | pkcs8::pkcs5::Error::NoPbes1CryptSupport => {
                KeyFileError::UnsupportedEncryption
            }
            pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. } => KeyFileError::Truncated,
            _ => KeyFileError::WrongPassphrase,
        })?;
        match LocalKey::from_pkcs8_der(plain) {
            // The padding of a wrong decryption fits once in 256 times; what comes out then is no PKCS#8.
            Err(PrivateKeyError::Malformed) => Err(KeyFileError::WrongPassphrase),
            other => Ok(other?),
        }
    }

    /// Opens a file that is not encrypted; only for callers whose user said so (`--no-passphrase`).
    pub fn open_unencrypted(&self) -> Result<LocalKey, KeyFileError> {
        match self.form {
            Form::Encrypted => Err(KeyFileError::Encrypted),
            Form::Pkcs8 => Ok(LocalKey::from_pkcs8_der(&self.der)?),
            Form::Sec1 => Ok(LocalKey::from_sec1_der(&self.der)?),
        }
    }

    fn encrypted(&self) -> Result<EncryptedPrivateKeyInfoRef<'_>, KeyFileError> {
        let info = EncryptedPrivateKeyInfoRef::from_der(&self.der).map_err(|_| {
            if is_whole(&self.der) { KeyFileError::UnsupportedEncryption } else { KeyFileError::Truncated }
        })?;
        affordable(&info)?;
        Ok(info)
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("is_encrypted", &self.is_encrypted()).finish_non_exhaustive()
    }
}

/// Whether this is an `EncryptedPrivateKeyInfo`, with whatever algorithm.
fn is_whole(der: &[u8]) -> bool {
    let outer = |any: AnyRef<'_>| {
        any.sequence(|reader| {
            AlgorithmIdentifierRef::decode(reader)?;
            <&OctetStringRef>::decode(reader)?;
            Ok::<(), pkcs8::der::Error>(())
        })
    };
    AnyRef::from_der(der).and_then(outer).is_ok()
}

/// The parameters, if they are of a kind that we open and ask for no more than the ceiling.
fn affordable<'a>(info: &'a EncryptedPrivateKeyInfoRef<'_>) -> Result<&'a Parameters, KeyFileError> {
    let parameters = info.encryption_algorithm.pbes2().ok_or(KeyFileError::UnsupportedEncryption)?;
    let fits = match &parameters.kdf {
        Kdf::Scrypt(scrypt) => {
            scrypt_is_affordable(scrypt.cost_parameter, scrypt.block_size.into(), scrypt.parallelization.into())
        }
        Kdf::Pbkdf2(pbkdf2) => (1..=MAX_PBKDF2_ROUNDS).contains(&pbkdf2.iteration_count),
        _ => return Err(KeyFileError::UnsupportedEncryption),
    };
    if fits { Ok(parameters) } else { Err(KeyFileError::TooCostly) }
}

/// How a new file is protected.
#[derive(Clone, Copy, Debug)]
pub enum Protection<'a> {
    /// Encrypted with this passphrase.
    Passphrase {
        /// The passphrase.
        passphrase: &'a Passphrase,
        /// What each guess shall cost.
        cost: ScryptCost,
    },
    /// Not encrypted: only where the user said so (`--no-passphrase`).
    Unencrypted,
}

/// Writes a private key as PEM: `ENCRYPTED PRIVATE KEY`, or `PRIVATE KEY` where that was asked for.
pub fn private_pem(key: &LocalKey, protection: Protection<'_>) -> Result<Zeroizing<String>, KeyFileError> {
    let der = key.to_pkcs8()?;
    match protection {
        Protection::Unencrypted => Ok(pem::encode(PLAIN, &der)),
        Protection::Passphrase { passphrase, cost } => {
            let mut salt = [0u8; 16];
            let mut iv = [0u8; 16];
            getrandom::fill(&mut salt).map_err(|_| KeyFileError::Random)?;
            getrandom::fill(&mut iv).map_err(|_| KeyFileError::Random)?;
            let scrypt = cost.parameters().ok_or(KeyFileError::TooCostly)?;
            let parameters =
                Parameters::generate_scrypt_aes256cbc(scrypt, &salt, iv).map_err(|_| KeyFileError::Encoding)?;
            // Encrypts in place in one buffer of sufficient size: no plaintext stays behind.
            let ciphertext = parameters.encrypt(passphrase.expose(), &der).map_err(|_| KeyFileError::Encoding)?;
            let info = EncryptedPrivateKeyInfoRef {
                encryption_algorithm: parameters.into(),
                encrypted_data: OctetStringRef::new(&ciphertext).map_err(|_| KeyFileError::Encoding)?,
            };
            let encoded = info.to_der().map_err(|_| KeyFileError::Encoding)?;
            Ok(pem::encode(ENCRYPTED, &encoded))
        }
    }
}

/// Why a key file was not read, opened or written. No variant holds key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Over [`MAX_KEY_FILE_BYTES`].
    #[error("a key file has at most {MAX_KEY_FILE_BYTES} bytes")]
    TooLarge,
    /// No private key in PEM.
    #[error("no private key in PEM form found")]
    NotPem,
    /// Begins like a key file and is not whole.
    #[error("the key file is cut off or damaged")]
    Truncated,
    /// Two private keys.
    #[error("the file holds several private keys; give one file for each")]
    SeveralKeys,
    /// Only a public key.
    #[error("this is a public key; the private one is needed")]
    PublicOnly,
    /// OpenSSH's own form.
    #[error("OpenSSH private keys are not read; give the key as PKCS#8 PEM")]
    OpenSsh,
    /// A private key of another form.
    #[error("this kind of private key file is not read; convert it: openssl pkcs8 -topk8 -v2 aes256")]
    OtherKind,
    /// The PEM encryption of the 1990s.
    #[error("the file has the old PEM encryption (MD5); convert it: openssl pkcs8 -topk8 -v2 aes256")]
    LegacyEncryption,
    /// PKCS#8 with an encryption that we do not open.
    #[error("the file is encrypted in a way that is not read; convert it: openssl pkcs8 -topk8 -v2 aes256")]
    UnsupportedEncryption,
    /// The file, or the caller, asks for too much memory or work.
    #[error("the file asks for more memory or work than is allowed for a passphrase")]
    TooCostly,
    /// The passphrase does not open the file (exit 41).
    #[error("wrong passphrase, or the key file is damaged")]
    WrongPassphrase,
    /// The file is not encrypted, and nobody said that this is fine.
    #[error("the key file is not encrypted; encrypt it, or say --no-passphrase")]
    NotEncrypted,
    /// The file is encrypted, and the caller said that it is not.
    #[error("the key file is encrypted; a passphrase is needed")]
    Encrypted,
    /// What is inside is not a key of ours.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The library could not write the file's form.
    #[error("the key file cannot be written")]
    Encoding,
}

#[cfg(test)]
#[path = "key_file_tests.rs"]
mod tests;
