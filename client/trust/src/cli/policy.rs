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
                      examples of environments in environments/, cases in tests/, and a README.md. Nothing is overwritten.",
        after_help = "Examples:\n  trust policy init\n  trust policy init ./policy"
    )]
    Init(PolicyInit),
    /// Load the policy of a folder strictly, and list its rules
    #[command(
        long_about = "Loads a folder strictly, as a gate would, and lists its rules and labels. Then it looks for what loads and is \
                      probably not meant: rules that can never match, rules that permit nothing or add nothing because another \
                      one forbids all of it, and labels of the dictionary that no rule reads. Each is told with file, line and \
                      column. The exit code is 0 if the folder loads; with --strict it is 60 if there is a warning (a note is \
                      none).",
        after_help = "Examples:\n  trust policy check\n  trust policy check ./policy\n  trust policy check ./policy --strict\n  \
            trust policy check -o json"
    )]
    Check(PolicyCheck),
    /// Write rules and dictionary the one way
    #[command(
        long_about = "Formats policy/*.cedar and labels/*.json of a folder. Meaning, comments and order stay; a file that does not \
                      parse, or could not be formatted without a change of what it says, stays as it is. With --check nothing is \
                      written, and the exit code is 60 if something would be.",
        after_help = "Examples:\n  trust policy fmt\n  trust policy fmt ./policy\n  trust policy fmt ./policy --check"
    )]
    Fmt(PolicyFmt),
    /// Decide the cases of a folder, and compare with what they expect
    #[command(
        long_about = "Decides every case of tests/*.toml by the rules of the folder, shows what differs from what the case \
                      expects, and names the rules that no case touches. Exit code 0 if all cases hold, 60 if one does not.\n\n\
                      A case gives the facts of an image and an environment; nothing is fetched or verified. The folder that \
                      `trust policy init` writes has cases to begin with.",
        after_help = "Examples:\n  trust policy test\n  trust policy test ./policy\n  trust policy test ./policy -o json"
    )]
    Test(PolicyFolder),
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
                      role `targets` or, where it delegates them, for the roles `_policy` and `_labels`.\n\nThe cases of tests/*.toml are run \
                      first, as by `trust policy test`; one that fails refuses with exit code 60, unless --skip-tests is given.\n\n\
                      A collection that carries images is refused. A change of what is allowed or denied wants --confirm \
                      COLLECTION: a rule that forbids changes or leaves, a rule that permits comes, changes or leaves, a governed \
                      label or the meaning of one of its values changes or leaves. What is said of a rule (title, reason, \
                      contact) is free, and so is a new rule that forbids.",
        after_help = "Examples:\n  \
            trust policy publish ./policy --dry-run\n  \
            trust policy publish ./policy registry.example.com/policy\n  \
            trust policy publish ./policy registry.example.com/policy --key secops\n  \
            trust policy publish ./policy registry.example.com/policy --confirm registry.example.com/policy\n  \
            trust policy publish ./policy registry.example.com/policy --skip-tests"
    )]
    Publish(PolicyPublish),
    /// Show the policy that is in force: version, keys, expiry, rules, dictionary
    #[command(after_help = "Examples:\n  \
        trust policy show\n  \
        trust policy show registry.example.com/policy -o json\n  \
        trust policy show registry.example.com/policy --raw _policy/main.cedar")]
    Show(PolicyShow),
    /// Write the policy that is in force into a folder
    #[command(
        long_about = "Writes the files that are in force into a folder (policy/, labels/), as they were signed, so that `policy \
                      publish` would publish the same. Nothing is overwritten without --force, and nothing is removed: a file \
                      beside them that would be published too is an error.",
        after_help = "Examples:\n  \
            trust policy pull ./policy\n  \
            trust policy pull ./policy registry.example.com/policy\n  \
            trust policy pull ./policy registry.example.com/policy --force"
    )]
    Pull(PolicyPull),
    /// Compare a folder with what is in force, or two published versions
    #[command(
        long_about = "Shows what publishing a folder would change: rules by id, the lines of files, and what of it is to be confirmed. Exit \
                      code 0 if nothing differs, 60 if something does.\n\nWith --from (and --to): which files differ between \
                      two published versions. The server keeps no contents that are not in force, so that lines are not shown.",
        after_help = "Examples:\n  \
            trust policy diff ./policy\n  \
            trust policy diff ./policy registry.example.com/policy\n  \
            trust policy diff registry.example.com/policy --from 3 --to 5"
    )]
    Diff(PolicyDiff),
    /// Show the versions of rules, labels and exceptions: when, who signed, what changed
    #[command(
        long_about = "Shows the published versions of the roles that hold rules, labels and exceptions: when they were published \
                      and with which token (the server's word), which keys signed them, which files came, changed and left, and \
                      which exceptions were granted.",
        after_help = "Examples:\n  \
            trust policy log\n  \
            trust policy log registry.example.com/policy --limit 100\n  \
            trust policy log registry.example.com/policy -o json"
    )]
    Log(PolicyLogArgs),
    /// Decide by the policy of this collection from now on
    #[command(
        long_about = "Writes into the configuration which collection's policy decides: into the context in use, or above all \
                      contexts if none is. The collection must be pinned, and carry no images.",
        after_help = "Examples:\n  trust policy use registry.example.com/policy"
    )]
    Use(PolicyUse),
}

/// `trust policy pull`
#[derive(Debug, Args)]
pub struct PolicyPull {
    /// The folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The policy collection (default: the one of the configuration)
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: Option<CollectionName>,
    /// Overwrite files that are there with another content
    #[arg(long)]
    pub force: bool,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust policy diff`
#[derive(Debug, Args)]
pub struct PolicyDiff {
    /// The folder, and the policy collection; with --from the collection alone (default: the one of the configuration)
    #[arg(value_name = "DIR|COLLECTION", num_args = 0..=2)]
    pub names: Vec<String>,
    /// Compare published versions: the older one
    #[arg(long, value_name = "N")]
    pub from: Option<u64>,
    /// The newer one (default: the version in force)
    #[arg(long, value_name = "N", requires = "from")]
    pub to: Option<u64>,
    /// With --from: versions of the dictionary, where it has a role of its own
    #[arg(long, requires = "from")]
    pub labels: bool,
}

/// `trust policy log`
#[derive(Debug, Args)]
pub struct PolicyLogArgs {
    /// The policy collection (default: the one of the configuration)
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: Option<CollectionName>,
    /// How many versions of each role are looked at
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
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
pub struct PolicyCheck {
    /// The folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
    /// Exit with 60 if there is a warning
    #[arg(long)]
    pub strict: bool,
}

/// `trust policy test`
#[derive(Debug, Args)]
pub struct PolicyFolder {
    /// The folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
}

/// `trust policy fmt`
#[derive(Debug, Args)]
pub struct PolicyFmt {
    /// The folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
    /// Write nothing; exit with 60 if a file would change
    #[arg(long)]
    pub check: bool,
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
    /// Publish without running the cases of tests/
    #[arg(long)]
    pub skip_tests: bool,
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
