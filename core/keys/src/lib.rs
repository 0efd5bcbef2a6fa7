//! Everything private: the signing trait, encrypted key files and their store, passphrases, the sealing of online keys.
//!
//! Only programs that sign link this crate; server, reader and gate never do. It knows files and memory, no network, no
//! terminal, no environment and no clock: values from there are handed in.
//!
//! - [`SigningKey`] is what everything signs through; [`LocalKey`] is a key in memory.
//! - [`KeyStore`] and [`locate`] find a key, [`LockedKey`] opens it with what a [`PassphraseSource`] gives.
//! - [`sealing`] protects the online keys in the signer's own store.

pub mod cost;
pub mod example;
pub mod key_file;
pub mod passphrase;
mod pem;
pub mod private_file;
pub mod sealing;
pub mod signing;
pub mod store;
pub mod uri;

pub use cost::ScryptCost;
pub use example::ExampleKeys;
pub use key_file::{KeyFile, KeyFileError, Protection, private_pem};
pub use passphrase::{
    Ask, Passphrase, PassphraseError, PassphraseInputs, PassphraseSource, PassphraseVariable, PromptInfo, PromptPurpose,
};
pub use private_file::{FileError, read_private_file, read_public_file, write_private_file};
pub use sealing::{SealError, SealingKey};
pub use signing::{Algorithm, LocalKey, PrivateKeyError, SignError, SigningKey};
pub use store::{KeyEntry, KeyName, KeyPlaces, KeyStore, KeySummary, LockedKey, StoreError, locate, public_key};
pub use uri::{KeyUri, KeyUriError};
