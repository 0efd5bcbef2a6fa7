//! What can be typed: one definition from which parser, short and long help, man pages and completions are made.
//!
//! Invariants: no secret is ever the value of an argument (a test walks this tree); global flags are the same on every
//! command; whatever can need a key takes the one group [`keys::KeyOptions`]. Deliberately absent: defaults that come from
//! variables or files (`crate::settings`), and any effect.

pub mod collections;
pub mod exceptions;
pub mod globals;
pub mod images;
pub mod keys;
pub mod labels;
pub mod operations;
pub mod people;
pub mod policy;
pub mod setup;
#[cfg(test)]
mod tests;
pub mod values;

use clap::{Parser, Subcommand};

pub use globals::Globals;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "trust",
    version,
    about = "Sign container images, and run only what your people signed",
    long_about = "Sign container images, and run only what your people signed: the current image for each tag, proved by The \
                  Update Framework from a root that this machine has pinned.",
    after_help = "Examples:\n  \
        trust init registry.example.com/pay\n  \
        trust sign registry.example.com/pay/api:v1@sha256:1c8f0e8b2f5b0e1a7e43a2ad6c1f7f6a2f6d2a9f4b0c8d7e6f5a4b3c2d1e0f9a\n  \
        trust verify registry.example.com/pay/api:v1\n  \
        trust exec -- docker run registry.example.com/pay/api:v1\n\n\
        Exit code 0 only after a positive verdict; `trust help exit-codes` lists all.",
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    propagate_version = false,
    max_term_width = 100
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create trust for a collection of images
    Init(collections::Init),
    /// Add my signature: this tag means this digest
    Sign(images::Sign),
    /// Check images, and print what was verified
    Verify(images::Verify),
    /// Verify one image, and print only NAME@sha256:…
    Resolve(images::Resolve),
    /// Show signers, keys, roles and expiry of a collection, or everything about one tag
    Inspect(images::Inspect),
    /// List collections, or the tags of one with digest and signers
    List(images::List),
    /// Show who published what and when (the server's word)
    Log(images::Log),
    /// Show what changed between two versions of a role
    Diff(images::Diff),
    /// Remove my signature
    Unsign(images::Unsign),
    /// Declare a digest or tag bad, whoever signed it
    Revoke(images::Revoke),
    /// Replace the key of a role
    Rotate(collections::Rotate),
    /// Run a container tool with each image verified and replaced by its digest
    Exec(images::Exec),
    /// Make, list and move private keys
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Who may sign in a collection
    #[command(subcommand)]
    Signer(people::SignerCommand),
    /// Which root this machine trusts for which collection
    #[command(subcommand)]
    Pin(setup::PinCommand),
    /// Rules on signed facts: write, try, publish
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Which labels carry meaning: check, show, publish the dictionary
    #[command(subcommand)]
    Labels(labels::LabelsCommand),
    /// Let one image run where rules deny it, for a short time
    #[command(subcommand)]
    Exception(exceptions::ExceptionCommand),
    /// Which server to talk to
    #[command(subcommand)]
    Context(setup::ContextCommand),
    /// Show the settings in force
    #[command(subcommand)]
    Config(setup::ConfigCommand),
    /// Show what will expire in the pinned collections, and who renews it
    Status(operations::Status),
    /// Look for what is wrong on this machine
    Doctor(operations::Doctor),
    /// Print every variable that counts, with its origin
    Env(setup::Env),
    /// Print the version
    Version(setup::Version),
    /// Print a completion script
    Completion(setup::Completion),
    /// Write the manual pages
    Man(setup::Man),
    /// Explain a command, an error (E1403) or a topic
    Help(setup::Help),
}
