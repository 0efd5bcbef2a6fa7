//! The command line of `trust-gate`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use trust_decide::StartError;
use trust_listen::TlsError;

use crate::audit::{self, Audit};
use crate::certificates::CertificateError;
use crate::certificates::command::{Certificates, run as run_certificates};
use crate::config::ConfigError;
use crate::containerd::doctor::{self, Doctor};
use crate::doors::{ContainerdDoor, DockerDoor, KubernetesDoor, RegistryDoor};
use crate::registry::RegistryError;
use crate::serve;

/// What the exit codes mean, for `--help`.
const EXIT_CODES: &str = "Exit codes:
  0   done: stopped by SIGTERM or SIGINT, or the configuration is good
  1   another reason
  2   wrong usage
  3   the configuration, or a certificate, key or root that it names, is no good
  21  no verified policy: a gate does not start without one, unless the
      configuration says policy = \"signatures-alone\"
  35  this machine: port in use, a file or folder that cannot be used
  60  something was found: audit verify, containerd-doctor";

/// What ends the program: one sentence for people, and its exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration, or what it names.
    #[error("{0}")]
    Configuration(String),
    /// Files, folders, ports, the disk.
    #[error("{0}")]
    Local(String),
    /// The decider did not start.
    #[error("{text}")]
    Start {
        /// Why.
        text: String,
        /// The exit code of the problem.
        code: u8,
    },
    /// What was looked at is not as it should be: a log, a node.
    #[error("{0}")]
    Found(String),
    /// Everything else.
    #[error("{0}")]
    Other(&'static str),
}

impl Failure {
    pub(crate) fn local(error: impl std::fmt::Display) -> Self {
        Self::Local(error.to_string())
    }

    /// As `--help` says.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 3,
            Self::Local(_) => 35,
            Self::Start { code, .. } => *code,
            Self::Found(_) => 60,
            Self::Other(_) => 1,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::File { .. } => Self::Local(error.to_string()),
            _ => Self::Configuration(error.to_string()),
        }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let RegistryError::Configuration(text) = error;
        Self::Configuration(text)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let problem = error.problem();
        // Text for people ends with a line break of its own.
        Self::Start { text: problem.text().trim_end().to_owned(), code: problem.exit() }
    }
}

/// The gates of trust: an image passes only if it is verified and allowed, and only as the verified digest.
#[derive(Debug, Parser)]
#[command(name = "trust-gate", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How standard error is written; TRUST_LOG says how much (error, warn, info, debug).
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer Kubernetes: a validating and mutating admission webhook.
    #[command(after_help = EXIT_CODES)]
    Admission(Serve),
    /// Stand in front of a registry: what is pulled through it is verified and allowed.
    #[command(after_help = EXIT_CODES)]
    Registry(Serve),
    /// Answer a Docker Engine: an authorization plugin.
    #[command(after_help = EXIT_CODES)]
    Docker(Serve),
    /// Answer the image verifier of containerd.
    #[command(after_help = EXIT_CODES)]
    Containerd(Serve),
    /// Look whether containerd on this machine asks the verifier about every pull.
    #[command(after_help = EXIT_CODES)]
    ContainerdDoctor(Doctor),
    /// Check the audit log.
    #[command(subcommand, after_help = EXIT_CODES)]
    Audit(Audit),
    /// Make and rotate the certificate of the admission webhook.
    #[command(after_help = EXIT_CODES)]
    Certificates(Certificates),
}

/// What a door is run with.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Configuration file, TOML; SIGHUP reads it again.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Only say whether the configuration, and the files that it names, are good.
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Write the address into this file once it listens.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

/// How the program tells what it does, on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Runs a command.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Admission(serve) => serve::run::<KubernetesDoor>(serve, cli.log_format).await,
        Command::Registry(serve) => serve::run::<RegistryDoor>(serve, cli.log_format).await,
        Command::Docker(serve) => serve::run::<DockerDoor>(serve, cli.log_format).await,
        Command::Containerd(serve) => serve::run::<ContainerdDoor>(serve, cli.log_format).await,
        Command::ContainerdDoctor(command) => doctor::run(&command),
        Command::Audit(command) => audit::run(command),
        Command::Certificates(command) => Ok(run_certificates(&command)?),
    }
}
