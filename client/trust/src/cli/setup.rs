//! Commands about this machine: pins, contexts, settings, help.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use trust_tuf::CollectionName;

use super::globals::Change;
use super::values;

/// `trust pin …`
#[derive(Debug, Subcommand)]
pub enum PinCommand {
    /// Trust this root for a collection
    #[command(
        long_about = "Trusts a root for a collection. The root comes from a file, or from the server by the fingerprint that \
                      somebody told you; --first-use takes whatever the server has now.",
        after_help = "Examples:\n  \
            trust pin add registry.example.com/pay 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef\n  \
            trust pin add registry.example.com/pay --root pay.root.json\n  \
            trust pin add registry.example.com/pay --first-use"
    )]
    Add(PinAdd),
    /// List what is pinned
    #[command(after_help = "Examples:\n  trust pin list\n  trust pin list -o json")]
    List(PinList),
    /// Stop trusting a root
    #[command(after_help = "Examples:\n  \
        trust pin remove registry.example.com/pay\n  \
        trust pin remove registry.example.com/pay --confirm registry.example.com/pay")]
    Remove(PinRemove),
    /// Show a pin: fingerprint, keys, and the root file with --out
    #[command(after_help = "Examples:\n  \
        trust pin show registry.example.com/pay\n  \
        trust pin show registry.example.com/pay --root --out pay.root.json")]
    Show(PinShow),
}

/// `trust pin add`
#[derive(Debug, Args)]
#[command(
    group(clap::ArgGroup::new("anchor").required(true).multiple(true)),
    override_usage = "trust pin add [OPTIONS] <COLLECTION> <FINGERPRINT|--root <FILE>|--first-use>"
)]
pub struct PinAdd {
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// SHA-256 of the root file, as somebody told you: the server delivers the file
    #[arg(value_name = "FINGERPRINT", group = "anchor", value_parser = values::fingerprint)]
    pub fingerprint: Option<String>,
    /// The root file
    #[arg(long, value_name = "FILE", group = "anchor", conflicts_with = "first_use")]
    pub root: Option<PathBuf>,
    /// Trust the first root that the server shows; only over a connection that you trust
    #[arg(long, group = "anchor", conflicts_with = "fingerprint")]
    pub first_use: bool,
    /// Replace the pin that is there
    #[arg(long)]
    pub replace: bool,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust pin list`
#[derive(Debug, Args)]
pub struct PinList {}

/// `trust pin remove`
#[derive(Debug, Args)]
pub struct PinRemove {
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust pin show`
#[derive(Debug, Args)]
pub struct PinShow {
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// Print the root file itself
    #[arg(long)]
    pub root: bool,
}

/// `trust context …`
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Remember a server
    #[command(after_help = "Examples:\n  \
        trust context add prod --server https://trust.example.com --identity 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef\n  \
        trust context add dev --server http://127.0.0.1:4480 --token-file ./dev/admin.token\n  \
        trust context add eu --server https://eu.example.com --mirror https://mirror.example.com --ca ./ca.pem")]
    Add(ContextAdd),
    /// Use this context from now on
    #[command(after_help = "Examples:\n  trust context use prod")]
    Use(ContextName),
    /// List the contexts
    #[command(after_help = "Examples:\n  trust context list\n  trust context list -o json")]
    List(ContextList),
    /// Forget a context
    #[command(after_help = "Examples:\n  trust context remove dev")]
    Remove(ContextName),
}

/// `trust context add` (the server comes with the flag `--server`, mirrors with `--mirror`, authorities with `--ca`)
#[derive(Debug, Args)]
pub struct ContextAdd {
    /// Name of the context
    #[arg(value_name = "NAME")]
    pub name: String,
    /// File that holds the token for publishing
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Fingerprint of the signer's identity key
    #[arg(long, value_name = "FINGERPRINT", value_parser = values::fingerprint)]
    pub identity: Option<String>,
    /// Refuse to sign a tag unless its digest is given
    #[arg(long)]
    pub require_digest: bool,
    /// Replace the context that is there; what is not given anew stays if the server is the same
    #[arg(long)]
    pub replace: bool,
    /// Also use it from now on
    #[arg(long = "use")]
    pub select: bool,
}

/// The name of a context.
#[derive(Debug, Args)]
pub struct ContextName {
    /// Name of the context
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `trust context list`
#[derive(Debug, Args)]
pub struct ContextList {}

/// `trust config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show the settings in force
    #[command(after_help = "Examples:\n  trust config show\n  trust config show --origin")]
    Show(ConfigShow),
    /// Print the path of the configuration file
    #[command(after_help = "Examples:\n  trust config path")]
    Path(ConfigPath),
}

/// `trust config show`
#[derive(Debug, Args)]
pub struct ConfigShow {
    /// Where each value comes from
    #[arg(long)]
    pub origin: bool,
}

/// `trust config path`
#[derive(Debug, Args)]
pub struct ConfigPath {}

/// `trust env`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  trust env\n  trust env -o json")]
pub struct Env {}

/// `trust version`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  trust version\n  trust version -o json")]
pub struct Version {}

/// `trust completion`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  trust completion bash\n  trust completion zsh --out _trust\n  trust completion fish"
)]
pub struct Completion {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: clap_complete::Shell,
}

/// `trust man`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  trust man --dir ./man1")]
pub struct Man {
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
}

/// `trust help`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  trust help exit-codes\n  trust help E1403\n  trust help sign")]
pub struct Help {
    /// A command, an error id, or: config, environment, errors, exceptions, exit-codes, key-uris, labels, policy, references
    #[arg(value_name = "TOPIC")]
    pub topic: Vec<String>,
}
