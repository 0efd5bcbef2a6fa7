//! Commands about signers.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use trust_tuf::{CollectionName, RoleName};

use super::globals::Change;
use super::keys::KeyOptions;
use super::values;
use crate::entries::Layout;

/// `trust signer …`
#[derive(Debug, Subcommand)]
pub enum SignerCommand {
    /// Let somebody sign in a collection, or give the policy a key of its own
    #[command(
        long_about = "Lets somebody sign in a collection: delegates to a role of this name.\n\n\
            The signer's own first file (it is empty) must be signed with the signer's key. If that private key is on this \
            machine, this happens at once. Else the signer runs `trust signer accept NAME COLLECTION --key URI --out FILE` on \
            their machine and sends FILE, which is given here with --accept.\n\n\
            --bins N spreads what they sign over N files by the hash of its path: for signers of many tags, whose \
            one file would be long to download after each change. `trust help signer bins` says when, and who can read it. \
            Bins are made with the signer's key: where that is on another machine, they run `trust signer bins` there.\n\n\
            _policy, _labels, _exceptions and _revoked are no people but roles for rules, the label dictionary, exceptions and \
            revocations: with one of these names this gives it keys and a threshold of its own. From then on nobody else can sign \
            it, the key of `targets` neither. What is in force of it moves into the new role in the same publication. Where the \
            role's key is on another machine, its holder runs `trust signer accept` there, which takes over what is in force.",
        after_help = "Examples:\n  \
            trust signer add alice registry.example.com/pay --public-key alice.pub --accept alice.json\n  \
            trust signer add qa registry.example.com/pay --signer-key qa\n  \
            trust signer add web registry.example.com/pay --signer-key web --paths 'web/*'\n  \
            trust signer add ci registry.example.com/pay --signer-key ci --bins 256\n  \
            trust signer add _policy registry.example.com/policy --signer-key secops\n  \
            trust signer add _exceptions registry.example.com/policy --signer-key lead --signer-key deputy --threshold 2"
    )]
    Add(SignerAdd),
    /// On the signer's machine: sign the first file of my role
    #[command(
        long_about = "Signs the first file of my role: an empty one for a signer. For _policy, _labels, _exceptions and _revoked it \
            holds what is in force of that kind, so that nothing is lost when the role gets a key of its own; for that the \
            collection must be pinned on this machine.",
        after_help = "Examples:\n  \
        trust signer accept alice registry.example.com/pay --key alice --out alice.json\n  \
        trust signer accept alice registry.example.com/pay --key file:/media/usb/alice.pem --out alice.json\n  \
        trust signer accept _policy registry.example.com/policy --key secops --out policy.json"
    )]
    Accept(SignerAccept),
    /// Take the right to sign away; what they signed no longer counts
    #[command(
        long_about = "Takes the right to sign away; what was signed in the role no longer counts.\n\n\
            Of _policy, _labels, _exceptions and _revoked that means: what stands there is no longer in force, and the key of \
            `targets` signs that kind again. What ends by it is said in the question.",
        after_help = "Examples:\n  \
        trust signer remove alice registry.example.com/pay\n  \
        trust signer remove alice registry.example.com/pay --confirm registry.example.com/pay\n  \
        trust signer remove _exceptions registry.example.com/policy --confirm registry.example.com/policy"
    )]
    Remove(SignerRemove),
    /// Spread what a signer signed over hash bins, or back into one file
    #[command(
        long_about = "Moves everything that a signer signed into N files (hash bins, TAP 15), by the hash of its path, or \
            back into one file (`none`), in one publication. With the number that there is, all files are signed again.\n\n\
            Without bins a signer has one file: every change makes every reader download all of it, and it may have 8 MB \
            (some thousand tags). With bins a reader needs one of them for an image, and a change makes one or two new. \
            Choose N so that a bin holds some tens of tags: 16 for a thousand, 256 for ten thousand.\n\n\
            Readers: trust, python-tuf and go-tuf look into bins. sigstore-tuf does not, and finds nothing that this \
            signer signed. tough cannot load a collection that has bins at all.\n\n\
            The new files have new names, so that whoever reads meanwhile goes on with the old ones. The old ones stay in \
            the list of files (the snapshot) until the snapshot key is rotated with --emergency.",
        after_help = "Examples:\n  \
            trust signer bins ci registry.example.com/pay 256\n  \
            trust signer bins ci registry.example.com/pay 2^10\n  \
            trust signer bins ci registry.example.com/pay none"
    )]
    Bins(SignerBins),
    /// Put a signer behind all others, as bins need it
    #[command(
        long_about = "Puts a signer behind all others in the order of the collection's signers. The order decides whose word \
            counts first where several signed a tag.\n\n\
            A signer with bins stands behind everybody who may sign the same images: some readers (python-tuf, go-tuf) \
            look no further than into the bins. The key of `targets` signs this.",
        after_help = "Examples:\n  trust signer last ci registry.example.com/pay"
    )]
    Last(SignerLast),
    /// List the signers of a collection, with their keys and paths
    #[command(
        after_help = "Examples:\n  trust signer list registry.example.com/pay\n  trust signer list registry.example.com/pay -o json"
    )]
    List(SignerList),
}

/// `trust signer add`
#[derive(Debug, Args)]
pub struct SignerAdd {
    /// Name of the signer, or _policy, _labels, _exceptions, _revoked
    #[arg(value_name = "NAME", value_parser = values::signer_or_reserved)]
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
    /// Spread what they sign over N files: a power of two, 2 to 1024, also as 2^8
    #[arg(long, value_name = "N", value_parser = values::bins, conflicts_with = "accept")]
    pub bins: Option<Layout>,
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
    #[arg(value_name = "NAME", value_parser = values::signer_or_reserved)]
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
    /// Name of the signer, or _policy, _labels, _exceptions, _revoked
    #[arg(value_name = "NAME", value_parser = values::signer_or_reserved)]
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

/// `trust signer bins`
#[derive(Debug, Args)]
pub struct SignerBins {
    /// Name of the signer
    #[arg(value_name = "NAME", value_parser = values::signer)]
    pub name: RoleName,
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// How many: a power of two, 2 to 1024, also as 2^8; or `none`
    #[arg(value_name = "N", value_parser = values::bins_or_none)]
    pub layout: Layout,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust signer last`
#[derive(Debug, Args)]
pub struct SignerLast {
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
