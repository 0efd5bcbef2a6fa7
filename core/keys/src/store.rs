//! The folder of private keys, and one way to a key wherever its URI says it is.
//!
//! A key NAME is two files: `NAME.pem` (private, PKCS#8) and `NAME.pub` (public, PEM). The public file is written first, so
//! a key exists exactly if its private file does, and then both are whole. Invariants: nothing is ever overwritten; a key
//! that does not match its public file is not handed out, because key files are not authenticated; a key without encryption
//! or a published example key is handed out only where the caller's user said so. Deliberately absent: deleting keys and
//! changing passphrases (a new file by `import`, then the owner removes the old one), hardware tokens.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use trust_tuf::PublicKey;
use zeroize::Zeroizing;

use crate::example::ExampleKeys;
use crate::key_file::{KeyFile, KeyFileError, MAX_KEY_FILE_BYTES, Protection, private_pem};
use crate::passphrase::{Ask, Passphrase, PassphraseError, PassphraseSource, PromptInfo, PromptPurpose};
use crate::pem;
use crate::private_file::{FileError, PrivateDirectory, read_private_file, read_public_file};
use crate::signing::{Algorithm, LocalKey, PrivateKeyError, SigningKey};
use crate::uri::KeyUri;

const PRIVATE_SUFFIX: &str = ".pem";
const PUBLIC_SUFFIX: &str = ".pub";

/// Name of a key in the store: `^[a-z0-9][a-z0-9_-]{0,63}$`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Reads a name.
    pub fn parse(text: &str) -> Result<KeyName, StoreError> {
        let mut bytes = text.bytes();
        let fits = text.len() <= KeyName::MAX_BYTES
            && bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
            && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-');
        if fits { Ok(KeyName(text.to_owned())) } else { Err(StoreError::Name) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder of private keys: mode 0700, its files 0600.
pub struct KeyStore {
    directory: PrivateDirectory,
    examples: ExampleKeys,
}

impl KeyStore {
    /// Opens an existing store. A folder that others may use is refused.
    pub fn open(path: &Path) -> Result<KeyStore, StoreError> {
        Ok(KeyStore { directory: PrivateDirectory::open(path)?, examples: ExampleKeys::Refuse })
    }

    /// Opens a store, or makes its folder.
    pub fn open_or_create(path: &Path) -> Result<KeyStore, StoreError> {
        Ok(KeyStore { directory: PrivateDirectory::open_or_create(path)?, examples: ExampleKeys::Refuse })
    }

    /// The same store with another rule for the published example keys (`--dev`).
    #[must_use]
    pub fn with_examples(self, examples: ExampleKeys) -> KeyStore {
        KeyStore { examples, ..self }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Fails if the name is taken: to be asked before a person has to think of a passphrase.
    pub fn ensure_free(&self, name: &KeyName) -> Result<(), StoreError> {
        for suffix in [PRIVATE_SUFFIX, PUBLIC_SUFFIX] {
            let file = format!("{name}{suffix}");
            if self.directory.exists(&file)? {
                return Err(FileError::Exists { path: self.directory.path_of(&file) }.into());
            }
        }
        Ok(())
    }

    /// Makes a new key and stores it. Nothing is overwritten.
    pub fn generate(
        &self,
        name: &KeyName,
        algorithm: Algorithm,
        protection: Protection<'_>,
    ) -> Result<LocalKey, StoreError> {
        self.ensure_free(name)?;
        let key = LocalKey::generate(algorithm)?;
        self.import(name, &key, protection)?;
        Ok(key)
    }

    /// Stores a key that was opened from elsewhere. Nothing is overwritten.
    pub fn import(&self, name: &KeyName, key: &LocalKey, protection: Protection<'_>) -> Result<(), StoreError> {
        if !self.examples.permit(key.public()) {
            return Err(StoreError::Example { key: name.to_string() });
        }
        self.ensure_free(name)?;
        let private = private_pem(key, protection)?;
        let public_file = format!("{name}{PUBLIC_SUFFIX}");
        self.directory.write_new(&public_file, key.public().to_pem().as_bytes())?;
        if let Err(error) = self.directory.write_new(&format!("{name}{PRIVATE_SUFFIX}"), private.as_bytes()) {
            // If the folder could not be synced the private file may stand: then its public half must stay.
            if !self.directory.exists(&format!("{name}{PRIVATE_SUFFIX}")).unwrap_or(true) {
                self.directory.withdraw(&public_file);
            }
            return Err(error.into());
        }
        Ok(())
    }

    /// Reads a key without opening it: both files are whole and private, and it is known whether a passphrase is needed.
    pub fn locate(&self, name: &KeyName) -> Result<LockedKey, StoreError> {
        let private = match self.directory.read_private(&format!("{name}{PRIVATE_SUFFIX}")) {
            Err(FileError::NotFound { .. }) => {
                return Err(StoreError::Unknown { key: name.to_string(), folder: self.path().to_owned() });
            }
            other => other?,
        };
        let public_path = self.directory.path_of(&format!("{name}{PUBLIC_SUFFIX}"));
        let public = self.public(name)?;
        LockedKey::new(name.to_string(), &private, Some((public, public_path)), self.examples)
    }

    /// The public half of a stored key.
    pub fn public(&self, name: &KeyName) -> Result<PublicKey, StoreError> {
        let file = format!("{name}{PUBLIC_SUFFIX}");
        let path = self.directory.path_of(&file);
        match self.directory.read_public(&file) {
            Err(FileError::NotFound { .. }) => Err(StoreError::PublicMissing { path }),
            other => public_key(&other?, &path),
        }
    }

    /// Every key in the store, by name. A damaged one is listed with its reason; it does not hide the others.
    pub fn list(&self) -> Result<Vec<KeyEntry>, StoreError> {
        let names = self.directory.names()?;
        let names = names
            .iter()
            .filter_map(|file| file.strip_suffix(PRIVATE_SUFFIX))
            .filter_map(|name| KeyName::parse(name).ok());
        Ok(names
            .map(|name| {
                let summary = self.locate(&name).and_then(|key| key.summary());
                KeyEntry { name, summary }
            })
            .collect())
    }

    /// The public half of a stored key as PEM `PUBLIC KEY`.
    pub fn export_public(&self, name: &KeyName) -> Result<String, StoreError> {
        Ok(self.public(name)?.to_pem())
    }
}

impl std::fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyStore").field("path", &self.path()).field("examples", &self.examples).finish()
    }
}

/// One line of a listing.
#[derive(Debug)]
pub struct KeyEntry {
    /// Name of the key.
    pub name: KeyName,
    /// What is known without opening it, or why it cannot be used.
    pub summary: Result<KeySummary, StoreError>,
}

/// What is known of a key without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySummary {
    /// Its kind.
    pub algorithm: Algorithm,
    /// The id that its signatures carry.
    pub key_id: trust_tuf::KeyId,
    /// Whether a passphrase opens it.
    pub is_encrypted: bool,
}

/// A private key that was found and read, and not opened yet.
pub struct LockedKey {
    origin: String,
    file: KeyFile,
    expected: Option<(PublicKey, PathBuf)>,
    examples: ExampleKeys,
}

impl LockedKey {
    fn new(
        origin: String,
        private: &[u8],
        expected: Option<(PublicKey, PathBuf)>,
        examples: ExampleKeys,
    ) -> Result<LockedKey, StoreError> {
        let file = KeyFile::parse(private)?;
        if expected.as_ref().is_some_and(|(public, _)| !examples.permit(public)) {
            return Err(StoreError::Example { key: origin });
        }
        Ok(LockedKey { origin, file, expected, examples })
    }

    /// Takes PEM text that the caller has read, for example a file to import. `origin` names it in messages.
    pub fn from_pem(origin: &str, pem: &[u8], examples: ExampleKeys) -> Result<LockedKey, StoreError> {
        LockedKey::new(origin.to_owned(), pem, None, examples)
    }

    /// Whether a passphrase is needed: to be looked at before anybody is asked.
    pub fn is_encrypted(&self) -> bool {
        self.file.is_encrypted()
    }

    /// The public half, where a public file stands beside the private one.
    pub fn public(&self) -> Option<&PublicKey> {
        self.expected.as_ref().map(|(public, _)| public)
    }

    /// What a prompt for this key says.
    pub fn prompt(&self) -> PromptInfo {
        PromptInfo {
            key: self.origin.clone(),
            algorithm: self.public().and_then(Algorithm::of),
            key_id: self.public().map(|public| public.id().as_str().to_owned()),
            purpose: PromptPurpose::Open,
        }
    }

    /// Opens an encrypted key. A key that is not encrypted is refused.
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<LocalKey, StoreError> {
        if !self.is_encrypted() {
            return Err(StoreError::NotEncrypted { key: self.origin.clone() });
        }
        match self.file.open(passphrase) {
            Err(KeyFileError::WrongPassphrase) => Err(StoreError::WrongPassphrase { key: self.origin.clone() }),
            other => self.verified(other?),
        }
    }

    /// Opens a key that is not encrypted: only where the user said so (`--no-passphrase`).
    pub fn unlock_unencrypted(&self) -> Result<LocalKey, StoreError> {
        self.verified(self.file.open_unencrypted()?)
    }

    /// Opens the key with what `source` gives, asking only if the key is encrypted and nothing else answers.
    ///
    /// `unencrypted_allowed` is the user's `--no-passphrase`; an encrypted key needs its passphrase all the same.
    pub fn unlock_from(
        &self,
        source: &mut PassphraseSource,
        unencrypted_allowed: bool,
        ask: &mut Ask<'_>,
    ) -> Result<LocalKey, StoreError> {
        if self.is_encrypted() {
            self.unlock(&source.obtain(&self.prompt(), ask)?)
        } else if unencrypted_allowed {
            self.unlock_unencrypted()
        } else {
            Err(StoreError::NotEncrypted { key: self.origin.clone() })
        }
    }

    fn verified(&self, key: LocalKey) -> Result<LocalKey, StoreError> {
        if let Some((expected, path)) = &self.expected
            && expected != key.public()
        {
            return Err(StoreError::Damaged { key: self.origin.clone(), public: path.clone() });
        }
        if !self.examples.permit(key.public()) {
            return Err(StoreError::Example { key: self.origin.clone() });
        }
        Ok(key)
    }

    fn summary(&self) -> Result<KeySummary, StoreError> {
        let Some((public, path)) = &self.expected else {
            return Err(StoreError::PublicMissing { path: PathBuf::from(&self.origin) });
        };
        let algorithm = Algorithm::of(public).ok_or_else(|| StoreError::PublicUnreadable { path: path.clone() })?;
        Ok(KeySummary { algorithm, key_id: public.id(), is_encrypted: self.is_encrypted() })
    }
}

impl std::fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockedKey")
            .field("origin", &self.origin)
            .field("is_encrypted", &self.is_encrypted())
            .finish_non_exhaustive()
    }
}

/// What [`locate`] may reach.
pub struct KeyPlaces<'a> {
    /// The store for plain names.
    pub store: Option<&'a KeyStore>,
    /// Looks up an environment variable, for `env:`.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Standard input, for `-`: read to its end, at most [`MAX_KEY_FILE_BYTES`].
    pub stdin: &'a mut dyn Read,
    /// The rule for the published example keys.
    pub examples: ExampleKeys,
}

/// Finds the key that a URI names and reads it, without opening it.
///
/// A file at PATH is compared with the public file beside it (PATH with `.pem` replaced by `.pub`, or `.pub` appended), if
/// there is one.
pub fn locate(uri: &KeyUri, places: &mut KeyPlaces<'_>) -> Result<LockedKey, StoreError> {
    let origin = uri.to_string();
    match uri {
        KeyUri::Name(name) => match places.store {
            Some(store) => store.locate(name),
            None => Err(StoreError::NoStore { key: origin }),
        },
        KeyUri::File(path) => {
            let private = read_private_file(path)?;
            let public_path = public_beside(path);
            let expected = match read_public_file(&public_path) {
                Ok(bytes) => Some((public_key(&bytes, &public_path)?, public_path)),
                Err(FileError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            LockedKey::new(origin, &private, expected, places.examples)
        }
        KeyUri::Env(variable) => {
            let value = (places.variable)(variable).ok_or(StoreError::VariableUnset { variable: variable.clone() })?;
            let value = Zeroizing::new(value.into_vec());
            LockedKey::new(origin, &value, None, places.examples)
        }
        KeyUri::Stdin => {
            let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE_BYTES + 1));
            let limit = u64::try_from(MAX_KEY_FILE_BYTES + 1).unwrap_or(u64::MAX);
            places.stdin.take(limit).read_to_end(&mut text).map_err(|source| FileError::Io {
                path: PathBuf::from("standard input"),
                action: "read",
                source,
            })?;
            LockedKey::new(origin, &text, None, places.examples)
        }
    }
}

fn public_beside(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == "pem") {
        return path.with_extension("pub");
    }
    let mut name = path.as_os_str().to_owned();
    name.push(PUBLIC_SUFFIX);
    PathBuf::from(name)
}

/// Reads a public key file: one PEM `PUBLIC KEY`; headers (`role: NAME`, as other tools write) are ignored.
pub fn public_key(bytes: &[u8], path: &Path) -> Result<PublicKey, StoreError> {
    let unreadable = || StoreError::PublicUnreadable { path: path.to_owned() };
    let text = std::str::from_utf8(bytes).map_err(|_| unreadable())?;
    let blocks = pem::blocks(text).map_err(|_| unreadable())?;
    let [block] = blocks.as_slice() else {
        return Err(unreadable());
    };
    if block.label.ends_with("PRIVATE KEY") {
        return Err(StoreError::PublicIsPrivate { path: path.to_owned() });
    }
    if block.label != "PUBLIC KEY" {
        return Err(unreadable());
    }
    let der = block.decode().map_err(|_| unreadable())?;
    PublicKey::from_pem(&pem::encode("PUBLIC KEY", &der)).map_err(|_| unreadable())
}

/// Why a key was not found, opened or stored. No variant holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Outside the grammar of names.
    #[error("a key name is 1 to 64 characters of a-z, 0-9, _ and -, and begins with a letter or digit")]
    Name,
    /// No such key.
    #[error("there is no key {key} in {}; see: trust key list", folder.display())]
    Unknown {
        /// The name.
        key: String,
        /// The store.
        folder: PathBuf,
    },
    /// A plain name, and no store.
    #[error("there is no key store to look up {key} in; make a key: trust key generate {key}")]
    NoStore {
        /// The name.
        key: String,
    },
    /// `env:` of a variable that is not set.
    #[error("the variable {variable} is not set; it has to hold the private key as PEM")]
    VariableUnset {
        /// The variable.
        variable: String,
    },
    /// The public file is not there.
    #[error("{} is missing; restore it, or import the private key under a new name", path.display())]
    PublicMissing {
        /// The public file.
        path: PathBuf,
    },
    /// The public file is no public key of ours.
    #[error("{} is not a PEM public key of a kind that signs here", path.display())]
    PublicUnreadable {
        /// The public file.
        path: PathBuf,
    },
    /// A private key in the public file.
    #[error("{} holds a private key where a public one belongs", path.display())]
    PublicIsPrivate {
        /// The public file.
        path: PathBuf,
    },
    /// The key that came out is not the one whose public half stands beside the file.
    #[error("key file damaged or does not belong to {} ({key}); restore both files from a backup", public.display())]
    Damaged {
        /// The key.
        key: String,
        /// The public file.
        public: PathBuf,
    },
    /// The passphrase does not open the key (exit 41).
    #[error("wrong passphrase for key {key} (or its file is damaged)")]
    WrongPassphrase {
        /// The key.
        key: String,
    },
    /// The key is not encrypted, and nobody said that this is fine.
    #[error("key {key} is not encrypted; import it with a passphrase, or say --no-passphrase")]
    NotEncrypted {
        /// The key.
        key: String,
    },
    /// One of the published keys.
    #[error("key {key} is a published example key: anybody can sign with it; it is refused outside --dev")]
    Example {
        /// The key.
        key: String,
    },
    /// The file's form.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// Its content.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// The file system.
    #[error(transparent)]
    File(#[from] FileError),
    /// The passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
