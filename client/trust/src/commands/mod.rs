//! One file for each command: from arguments to an answer. No command prints, and none sets an exit code.

pub mod completion;
pub mod config;
pub mod context;
pub mod diff;
pub mod env;
pub mod exec;
pub mod help;
pub mod init;
pub mod inspect;
pub mod key;
pub mod list;
pub mod log;
pub mod man;
pub mod pin;
pub mod policy;
pub mod policy_explain;
pub mod policy_publish;
pub mod revoke;
pub mod rotate;
pub mod sign;
pub mod signer;
pub mod unsign;
pub mod verify;
pub mod verify_manifests;
pub mod version;
