//! Commands that create a collection and change its keys.

use clap::Args;
use trust_tuf::CollectionName;

use super::globals::Change;
use super::keys::KeyOptions;
use super::values::{self, RotatedRole};

/// `trust init`
#[derive(Debug, Args)]
#[command(
    long_about = "Creates trust for a collection of images: reserves its name, has the signer make the online keys and checks \
                  their proof, signs root and targets with keys of this machine, publishes, pins the root here and verifies.\n\n\
                  The signer must have admitted the root: run this once, tell the signer's operator the fingerprint that it \
                  prints, and run it again. Keys and the signed root are kept in between.",
    after_help = "Examples:\n  \
        trust init registry.example.com/pay\n  \
        trust init registry.example.com/pay --root-key ada --root-key ben --root-key cy --root-threshold 2\n  \
        trust init registry.example.com/pay --identity 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
)]
pub struct Init {
    /// The collection: HOST/PATH, a prefix of image names
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// A root key that is there (may be given several times; default: a new one)
    #[arg(long, value_name = "URI")]
    pub root_key: Vec<String>,
    /// How many root keys must sign a new root
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub root_threshold: u64,
    /// The key of `targets`, one that is there (default: a new one)
    #[arg(long, value_name = "URI")]
    pub targets_key: Option<String>,
    /// Fingerprint of the signer's identity key, as its operator told it (default: the context's)
    #[arg(long, value_name = "FINGERPRINT", value_parser = values::fingerprint)]
    pub identity: Option<String>,
    /// A grant of the signer's operator
    #[arg(long, value_name = "FILE")]
    pub grant: Option<std::path::PathBuf>,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust rotate`
#[derive(Debug, Args)]
#[command(
    long_about = "Replaces the key of a role. Clients follow by themselves.\n\n\
                  timestamp, snapshot: in two steps. The first publishes a root in which the old and the new key are both valid; \
                  when caches have seen it (--overlap, 5 minutes), the same command with --finish removes the old key. \
                  --emergency does both at once.\n\
                  root, targets, signer:NAME: a new key is made here (or taken with --new-key), and everything that the change \
                  makes invalid is signed again in the same publication.",
    after_help = "Examples:\n  \
        trust rotate timestamp registry.example.com/pay\n  \
        trust rotate timestamp registry.example.com/pay --finish\n  \
        trust rotate root registry.example.com/pay --new-key root-2027\n  \
        trust rotate signer:alice registry.example.com/pay\n  \
        trust rotate snapshot registry.example.com/pay --emergency"
)]
pub struct Rotate {
    /// root, targets, snapshot, timestamp or signer:NAME
    #[arg(value_name = "ROLE", value_parser = values::rotated_role)]
    pub role: RotatedRole,
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// The new key: an existing one, or the name of the one to make
    #[arg(long, value_name = "URI")]
    pub new_key: Option<String>,
    /// Skip the time in which old and new key are both valid
    #[arg(long)]
    pub emergency: bool,
    /// The second step: remove the old online key
    #[arg(long, conflicts_with = "emergency")]
    pub finish: bool,
    /// First step: how long both online keys stay valid at least, before --finish (default: 5m)
    #[arg(long, value_name = "TIME", conflicts_with_all = ["finish", "emergency"], value_parser = values::overlap)]
    pub overlap: Option<std::time::Duration>,
    /// Fingerprint of the signer's identity key (default: the context's)
    #[arg(long, value_name = "FINGERPRINT", value_parser = values::fingerprint)]
    pub identity: Option<String>,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}
