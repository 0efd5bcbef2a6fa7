//! Commands about policies.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use trust_image::Reference;
use trust_policy::Action;
use trust_tuf::CollectionName;

use super::globals::Change;
use super::keys::KeyOptions;
use super::values;

/// `trust policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Write a policy to begin with: rules, dictionary and examples
    #[command(
        long_about = "Writes a policy that works at once into a folder: rules in policy/, the dictionary of labels in labels/, \
                      examples of environments in environments/, and a README.md. Nothing is overwritten.",
        after_help = "Examples:\n  trust policy init\n  trust policy init ./policy"
    )]
    Init(PolicyInit),
    /// Load the policy of a folder strictly, and list its rules
    #[command(
        after_help = "Examples:\n  trust policy check\n  trust policy check ./policy\n  trust policy check -o json"
    )]
    Check(PolicyFolder),
    /// Decide about one image, and show the whole evaluation
    #[command(
        long_about = "Verifies one image, decides about it, and shows the evaluator's own trace: the rules, the facts that they \
                      read, and where each fact comes from. Exit code 0 if it is allowed, 20 if it is denied, 21 if the policy \
                      could not be evaluated.\n\n--facts tries the rules on the answer of an earlier `trust verify -o json`, \
                      which may have been edited: nothing is verified then, and the answer says so.",
        after_help = "Examples:\n  \
            trust policy explain --image registry.example.com/hr/payroll:7 --env public-eu.toml\n  \
            trust policy explain --image registry.example.com/hr/payroll:7 --env public-eu.toml --policy ./policy\n  \
            trust policy explain --facts payroll.json --env public-eu.toml --policy ./policy --action pull"
    )]
    Explain(PolicyExplain),
    /// Sign and publish the policy of a folder
    #[command(
        long_about = "Publishes the files of a folder as the policy of a collection, all at once: rules as _policy/…, labels as \
                      _labels/…. What is no longer in the folder is removed. What does not load is refused, and the changes are \
                      shown. Every gate of this collection decides by it from its next refresh.\n\nThe files are signed for the \
                      role `targets` or, where it delegates them, for the roles `_policy` and `_labels`.\n\nA collection that carries \
                      images is refused. Where a rule that forbids, a governed label, or the meaning of one of its values \
                      changes or leaves, --confirm COLLECTION is needed.",
        after_help = "Examples:\n  \
            trust policy publish ./policy --dry-run\n  \
            trust policy publish ./policy registry.example.com/policy\n  \
            trust policy publish ./policy registry.example.com/policy --key secops\n  \
            trust policy publish ./policy registry.example.com/policy --confirm registry.example.com/policy"
    )]
    Publish(PolicyPublish),
    /// Show the policy that is in force: version, keys, expiry, rules, dictionary
    #[command(after_help = "Examples:\n  \
        trust policy show\n  \
        trust policy show registry.example.com/policy -o json\n  \
        trust policy show registry.example.com/policy --raw _policy/main.cedar")]
    Show(PolicyShow),
    /// Decide by the policy of this collection from now on
    #[command(
        long_about = "Writes into the configuration which collection's policy decides: into the context in use, or above all \
                      contexts if none is. The collection must be pinned, and carry no images.",
        after_help = "Examples:\n  trust policy use registry.example.com/policy"
    )]
    Use(PolicyUse),
}

/// `trust policy init`
#[derive(Debug, Args)]
pub struct PolicyInit {
    /// The folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust policy check`
#[derive(Debug, Args)]
pub struct PolicyFolder {
    /// The folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
}

/// What is decided by: the group of `verify` and `policy explain`.
#[derive(Debug, Clone, Args)]
pub struct Deciding {
    /// Decide by the rules of this folder, which nobody signed (default: those of the policy collection)
    #[arg(long, value_name = "DIR", requires = "env")]
    pub policy: Option<PathBuf>,
    /// What is to be done with the image: deploy, pull or promote
    #[arg(long, value_name = "ACTION", default_value = "deploy", requires = "env", value_parser = values::action)]
    pub action: Action,
}

/// `trust policy explain`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true)))]
pub struct PolicyExplain {
    /// The image, which is verified first
    #[arg(long, value_name = "REF", group = "what", value_parser = values::image)]
    pub image: Option<Reference>,
    /// Facts from an answer of `trust verify -o json`; nothing is verified
    #[arg(long, value_name = "FILE", group = "what")]
    pub facts: Option<PathBuf>,
    /// Where it is to run
    #[arg(long, value_name = "FILE")]
    pub env: PathBuf,
    /// What decides.
    #[command(flatten)]
    pub deciding: Deciding,
}

/// `trust policy publish`
#[derive(Debug, Args)]
pub struct PolicyPublish {
    /// The folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The policy collection (default: the one of the configuration)
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: Option<CollectionName>,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust policy show`
#[derive(Debug, Args)]
pub struct PolicyShow {
    /// The policy collection (default: the one of the configuration)
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: Option<CollectionName>,
    /// Print this file as it was signed: _policy/main.cedar
    #[arg(long, value_name = "NAME")]
    pub raw: Option<String>,
}

/// `trust policy use`
#[derive(Debug, Args)]
pub struct PolicyUse {
    /// The policy collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
}
