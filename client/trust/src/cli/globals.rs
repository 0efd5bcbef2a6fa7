//! Flags that every command takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values;

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Globals {
    /// How the answer is written
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Write the answer into this file
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub out: Option<PathBuf>,
    /// No report on stderr but errors
    #[arg(short, long, global = true, hide_short_help = true)]
    pub quiet: bool,
    /// More detail (twice: even more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet", hide_short_help = true)]
    pub verbose: u8,
    /// Colour of the text
    #[arg(long, global = true, value_enum, value_name = "WHEN", hide_short_help = true)]
    pub color: Option<ColorWhen>,
    /// No progress line
    #[arg(long, global = true, hide_short_help = true)]
    pub no_progress: bool,
    /// Answer ordinary confirmations with yes
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Answer a destructive confirmation: NAME is the collection's or image's name
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub confirm: Option<String>,
    /// Never ask
    #[arg(long, global = true, hide_short_help = true)]
    pub non_interactive: bool,
    /// The context (server and its settings) to use
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub context: Option<String>,
    /// The server's address
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// A further address to read signed metadata from, beside the server (again for each; never for writing)
    #[arg(long, global = true, value_name = "URL", hide_short_help = true)]
    pub mirror: Vec<String>,
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub config: Option<PathBuf>,
    /// Certificate authorities of server and mirrors (PEM), in place of the machine's own
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub ca: Option<PathBuf>,
    /// Certificate authorities of registries (PEM), in place of the machine's own
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub registry_ca: Option<PathBuf>,
    /// A host that may be reached by plain HTTP (loopback always may)
    #[arg(long, global = true, value_name = "HOST[:PORT]", hide_short_help = true)]
    pub plain_http: Vec<String>,
    /// No network at all
    #[arg(long, global = true)]
    pub offline: bool,
    /// Deadline of the whole command, for example 60s or 2m
    #[arg(long, global = true, value_name = "TIME", value_parser = values::duration, hide_short_help = true)]
    pub timeout: Option<std::time::Duration>,
    /// Accept the published example keys (only with a development server)
    #[arg(long, global = true, hide = true)]
    pub dev: bool,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// Exactly one JSON document, also on failure
    Json,
    /// One JSON document a line (list and log)
    Jsonl,
}

/// When text is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Of every command that changes something.
#[derive(Debug, Clone, Default, Args)]
pub struct Change {
    /// Do everything but the change itself, and say what it would be
    #[arg(long, help_heading = None::<&'static str>)]
    pub dry_run: bool,
}
