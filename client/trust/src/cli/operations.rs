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
                  policy, variables that no longer do anything, and container tools that go around a gate. Nothing is changed. \
                  Exit code 60 if there are problems.\n\n\
                  A mirror is no gate: a client that a mirror refuses goes on to the registry itself. The files of podman, \
                  skopeo, buildah and CRI-O (registries.conf), containerd (config.toml, hosts.toml) and Docker (daemon.json) \
                  are read for the pinned collections, and each way around is named with what to write instead. With \
                  --node-root or --gate also what is fine is told, and a file that cannot be read is a problem.",
    after_help = "Examples:\n  \
        trust doctor\n  \
        trust doctor --node-root / --gate gate.example.com:5001 --unreachable registry.internal:5000\n  \
        trust doctor -o json"
)]
pub struct Doctor {
    /// Look at the container tools of the machine whose disk is here: / or where it is mounted
    #[arg(long, value_name = "DIR")]
    pub node_root: Option<std::path::PathBuf>,
    /// The gate: the only place from which pinned collections may be pulled
    #[arg(long, value_name = "HOST[:PORT]")]
    pub gate: Option<String>,
    /// A registry that must not be reachable from here, as it is behind a gate (may be given several times)
    #[arg(long, value_name = "HOST[:PORT]")]
    pub unreachable: Vec<String>,
}
