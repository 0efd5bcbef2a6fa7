//! Commands about signers.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use trust_tuf::{CollectionName, RoleName};

use super::globals::Change;
use super::keys::KeyOptions;
use super::values;

/// `trust signer …`
#[derive(Debug, Subcommand)]
pub enum SignerCommand {
    /// Let somebody sign in a collection
    #[command(
        long_about = "Lets somebody sign in a collection: delegates to a role of this name.\n\n\
            The signer's own first file (it is empty) must be signed with the signer's key. If that private key is on this \
            machine, this happens at once. Else the signer runs `trust signer accept NAME COLLECTION --key URI --out FILE` on \
            their machine and sends FILE, which is given here with --accept.",
        after_help = "Examples:\n  \
            trust signer add alice registry.example.com/pay --public-key alice.pub --accept alice.json\n  \
            trust signer add qa registry.example.com/pay --signer-key qa\n  \
            trust signer add web registry.example.com/pay --signer-key web --paths 'web/*'"
    )]
    Add(SignerAdd),
    /// On the signer's machine: sign the empty first file of my role
    #[command(after_help = "Examples:\n  \
        trust signer accept alice registry.example.com/pay --key alice --out alice.json")]
    Accept(SignerAccept),
    /// Take the right to sign away; what they signed no longer counts
    #[command(after_help = "Examples:\n  \
        trust signer remove alice registry.example.com/pay\n  \
        trust signer remove alice registry.example.com/pay --confirm registry.example.com/pay")]
    Remove(SignerRemove),
    /// List the signers of a collection, with their keys and paths
    #[command(
        after_help = "Examples:\n  trust signer list registry.example.com/pay\n  trust signer list registry.example.com/pay -o json"
    )]
    List(SignerList),
}

/// `trust signer add`
#[derive(Debug, Args)]
pub struct SignerAdd {
    /// Name of the signer
    #[arg(value_name = "NAME", value_parser = values::signer)]
    pub name: RoleName,
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// A public key of the signer (may be given several times)
    #[arg(long, value_name = "FILE")]
    pub public_key: Vec<PathBuf>,
    /// A private key of the signer that is on this machine (may be given several times)
    #[arg(long, value_name = "URI")]
    pub signer_key: Vec<String>,
    /// The first file, as the signer made it with `trust signer accept`
    #[arg(long, value_name = "FILE")]
    pub accept: Option<PathBuf>,
    /// What they may sign, for example 'api/*' (may be given several times; default: every image)
    #[arg(long, value_name = "PATTERN", value_parser = values::pattern)]
    pub paths: Vec<String>,
    /// How many of their keys must sign
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub threshold: u64,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust signer accept`
#[derive(Debug, Args)]
pub struct SignerAccept {
    /// My name as a signer
    #[arg(value_name = "NAME", value_parser = values::signer)]
    pub name: RoleName,
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
}

/// `trust signer remove`
#[derive(Debug, Args)]
pub struct SignerRemove {
    /// Name of the signer
    #[arg(value_name = "NAME", value_parser = values::signer)]
    pub name: RoleName,
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust signer list`
#[derive(Debug, Args)]
pub struct SignerList {
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
}
