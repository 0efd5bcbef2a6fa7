//! Commands for people who keep things running.

use clap::Args;
use trust_tuf::CollectionName;

use super::values;

/// `trust status`
#[derive(Debug, Args)]
#[command(
    long_about = "Shows everything in the pinned collections that will expire: each role with its version, when it expires, and \
                  who renews it. Exit code 60 if something has expired, or will within 7 days and only people can renew it.",
    after_help = "Examples:\n  trust status\n  trust status registry.example.com/pay\n  trust status -o json"
)]
pub struct Status {
    /// The collections (default: all that are pinned)
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collections: Vec<CollectionName>,
}

/// `trust doctor`
#[derive(Debug, Args)]
#[command(
    long_about = "Looks for what is wrong on this machine: configuration, key files, pins, servers, the clock, registries, the \
                  policy, and variables that no longer do anything. Nothing is changed. Exit code 60 if there are problems.",
    after_help = "Examples:\n  trust doctor\n  trust doctor -o json"
)]
pub struct Doctor {}
