//! The one group of flags for keys and passphrases, and the commands that move keys.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::globals::Change;

/// Which key, and where its passphrase comes from: the same on every command that can need a key.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Keys")]
pub struct KeyOptions {
    /// The private key: a name in the key store, file:PATH, env:VAR or - (may be given several times)
    #[arg(long, value_name = "URI")]
    pub key: Vec<String>,
    /// Read the passphrase from this file
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Read the passphrase from this open descriptor
    #[arg(long, value_name = "N", conflicts_with = "passphrase_file")]
    pub passphrase_fd: Option<u32>,
    /// Use keys that are not encrypted; new keys are not encrypted
    #[arg(long)]
    pub no_passphrase: bool,
}

/// The kind of a new key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// Ed25519
    #[default]
    Ed25519,
    /// ECDSA on P-256
    P256,
}

/// `trust key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a new key
    #[command(after_help = "Examples:\n  \
        trust key generate alice\n  \
        trust key generate ci --type p256 --passphrase-file /run/secrets/ci\n  \
        trust key generate robot --no-passphrase")]
    Generate(Generate),
    /// List the keys of this machine
    #[command(after_help = "Examples:\n  trust key list\n  trust key list -o json")]
    List(KeyList),
    /// Show one key: kind, id, public half
    #[command(after_help = "Examples:\n  trust key show alice\n  trust key show file:/media/usb/root.pem")]
    Show(KeyShow),
    /// Print the public half, to hand out; with --private an encrypted copy of the private one
    #[command(after_help = "Examples:\n  \
        trust key export alice --out alice.pub\n  \
        trust key export alice --private --out alice-backup.pem")]
    Export(KeyExport),
    /// Take a key from a PEM file (PKCS#8 or SEC1) into the key store
    #[command(after_help = "Examples:\n  \
        trust key import file:./alice.pem alice\n  \
        trust key import - ci --passphrase-file /run/secrets/ci")]
    Import(KeyImport),
}

/// `trust key generate`
#[derive(Debug, Args)]
pub struct Generate {
    /// Name of the key: a-z, 0-9, _ and -
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Kind of the key
    #[arg(long = "type", value_enum, default_value_t)]
    pub kind: KeyKind,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
}

/// `trust key list`
#[derive(Debug, Args)]
pub struct KeyList {}

/// `trust key show`
#[derive(Debug, Args)]
pub struct KeyShow {
    /// The key: a name in the key store, file:PATH, env:VAR or -
    #[arg(value_name = "URI")]
    pub uri: String,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
}

/// `trust key export`
#[derive(Debug, Args)]
pub struct KeyExport {
    /// The key: a name in the key store, file:PATH, env:VAR or -
    #[arg(value_name = "URI")]
    pub uri: String,
    /// Export the private half, encrypted with a new passphrase (needs --out)
    #[arg(long)]
    pub private: bool,
    /// Where the passphrase of the copy comes from (with --private; else asked)
    #[arg(long, value_name = "FILE", requires = "private")]
    pub new_passphrase_file: Option<PathBuf>,
    /// With --private: a form that OpenSSL can open
    #[arg(long, requires = "private")]
    pub portable: bool,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
}

/// `trust key import`
#[derive(Debug, Args)]
pub struct KeyImport {
    /// The key to take: file:PATH, env:VAR or -
    #[arg(value_name = "URI")]
    pub uri: String,
    /// Its name in the key store
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where the new passphrase comes from (else that of the original, else asked)
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}
