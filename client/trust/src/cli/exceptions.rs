//! Commands about exceptions ("break glass").

use std::time::Duration;

use clap::{Args, Subcommand};
use trust_image::Reference;
use trust_tuf::CollectionName;

use super::globals::Change;
use super::keys::KeyOptions;
use super::values;

/// `trust exception …`
#[derive(Debug, Subcommand)]
pub enum ExceptionCommand {
    /// Let one image run where rules deny it, for some hours or days
    #[command(
        long_about = "Grants an exception: for one image (by its digest), in one environment, the named rules do not deny for the \
                      given time, 7 days at most. Every rule that denies must be named; `trust policy explain` names them. What is \
                      not signed, expired or revoked, a label outside the dictionary and a rule that fails are never lifted. Each \
                      use is logged by the gates with who signed it.\n\n\
                      It is signed for the role `_exceptions` where that is delegated (trust signer add _exceptions), else for \
                      `targets`. Exceptions that have expired are removed in the same publication.",
        after_help = "Examples:\n  \
            trust exception grant --image registry.example.com/hr/payroll@sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d --env public-eu --rule pii-not-in-public --reason 'Incident 4711' --for 4h\n  \
            trust exception grant registry.example.com/policy --image registry.example.com/hr/payroll@sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d --env public-eu.toml --rule pii-not-in-public --rule tag-pii-not-in-public --reason 'Move of 2026-11' --for 2d --key lead\n  \
            trust exception grant --image registry.example.com/web@sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d --env production --rule no-latest --reason test --for 30m --dry-run"
    )]
    Grant(Box<ExceptionGrant>),
    /// List the exceptions in force: who signed them, until when, for what
    #[command(after_help = "Examples:\n  \
        trust exception list\n  \
        trust exception list registry.example.com/policy --all\n  \
        trust exception list -o json")]
    List(ExceptionList),
    /// End an exception now
    #[command(after_help = "Examples:\n  \
        trust exception revoke 20261121-1c8f0e5d\n  \
        trust exception revoke 20261121-1c8f0e5d registry.example.com/policy\n  \
        trust exception revoke 20261121-1c8f0e5d registry.example.com/policy --key lead")]
    Revoke(ExceptionRevoke),
    /// Remove exceptions that have expired, and sign the role again
    #[command(
        long_about = "Removes the exceptions that do not hold any more, and signs the file of their role again, which gives it \
                      a new expiry: also if there is nothing to remove. (`grant` removes them too.)",
        after_help = "Examples:\n  \
            trust exception prune\n  \
            trust exception prune registry.example.com/policy\n  \
            trust exception prune registry.example.com/policy --key lead --dry-run"
    )]
    Prune(ExceptionPrune),
}

/// `trust exception grant`
#[derive(Debug, Args)]
pub struct ExceptionGrant {
    /// The policy collection (default: the one of the configuration)
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: Option<CollectionName>,
    /// The image by its digest: NAME@sha256:…
    #[arg(long, value_name = "REF", value_parser = values::image)]
    pub image: Reference,
    /// The environment: its name, or the file that describes it
    #[arg(long, value_name = "NAME|FILE")]
    pub env: String,
    /// A rule that does not deny for that time (may be given several times)
    #[arg(long, value_name = "ID", required = true)]
    pub rule: Vec<String>,
    /// Why; everybody who sees that it is used sees this
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// For how long: 30m, 4h, 2d; at most 7d
    #[arg(long = "for", value_name = "TIME", value_parser = values::exception_life)]
    pub life: Duration,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust exception list`
#[derive(Debug, Args)]
pub struct ExceptionList {
    /// The policy collection (default: the one of the configuration)
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: Option<CollectionName>,
    /// Also those that do not hold any more
    #[arg(long)]
    pub all: bool,
}

/// `trust exception revoke`
#[derive(Debug, Args)]
pub struct ExceptionRevoke {
    /// Its id, as `grant` and `list` print it
    #[arg(value_name = "ID")]
    pub id: String,
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

/// `trust exception prune`
#[derive(Debug, Args)]
pub struct ExceptionPrune {
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
