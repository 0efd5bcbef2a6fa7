//! The command line of `trust-gate`.

use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use trust_decide::{Decider, Hold, StartError, SystemClock};
use trust_listen::{Certificate, TlsError};
use trust_tuf::UtcTime;
use trust_tuf::trusted::RootStage;

use crate::config::{Config, ConfigError};
use crate::decides::Decides;
use crate::registry::RegistryError;
use crate::{admission, registry, start};

/// What the exit codes mean, for `--help`.
const EXIT_CODES: &str = "Exit codes:
  0   done: stopped by SIGTERM or SIGINT, or the configuration is good
  1   another reason
  2   wrong usage
  3   the configuration, or a certificate, key or root that it names, is no good
  21  no verified policy: a gate does not start without one, unless the
      configuration says policy = \"signatures-alone\"
  35  this machine: port in use, a file or folder that cannot be used";

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
    /// Everything else.
    #[error("{0}")]
    Other(&'static str),
}

impl Failure {
    fn local(error: impl std::fmt::Display) -> Self {
        Self::Local(error.to_string())
    }

    /// As `--help` says.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 3,
            Self::Local(_) => 35,
            Self::Start { code, .. } => *code,
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

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Configuration(text) => Self::Configuration(text),
            RegistryError::Local(text) => Self::Local(text),
        }
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
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer Kubernetes: a validating and mutating admission webhook.
    #[command(after_help = EXIT_CODES)]
    Admission(Serve),
    /// Stand in front of a registry: what is pulled through it is verified and allowed.
    #[command(after_help = EXIT_CODES)]
    Registry(Serve),
}

#[derive(Debug, Args)]
struct Serve {
    /// Configuration file, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only say whether the configuration, and the files that it names, are good.
    #[arg(long)]
    check_config: bool,
    /// Write the address into this file once it listens.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Runs a command.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Admission(serve) => run_admission(serve).await,
        Command::Registry(serve) => run_registry(serve).await,
    }
}

async fn run_admission(serve: Serve) -> Result<(), Failure> {
    let config = Config::read(&serve.config)?;
    let door = config.admission()?;
    Certificate::load(&door.certificate, &door.key)?;
    check(&config)?;
    if serve.check_config {
        return good();
    }
    let _hold = Hold::take(&config.state, "admission")?;
    let listener = bind(door.listen).await?;
    let opened = Opened::start(&config, &listener, "https", serve.ready_file.as_deref()).await?;
    let decider: Arc<dyn Decides> = Arc::clone(&opened.decider) as Arc<dyn Decides>;
    opened.until_stopped(|stop| admission::run(door, listener, decider, stop)).await
}

async fn run_registry(serve: Serve) -> Result<(), Failure> {
    let config = Config::read(&serve.config)?;
    let door = config.registry()?;
    registry::check(door)?;
    let scheme = match (&door.certificate, &door.key) {
        (Some(certificate), Some(key)) => {
            Certificate::load(certificate, key)?;
            "https"
        }
        _ => "http",
    };
    check(&config)?;
    if serve.check_config {
        return good();
    }
    let _hold = Hold::take(&config.state, "registry")?;
    let listener = bind(door.listen).await?;
    let opened = Opened::start(&config, &listener, scheme, serve.ready_file.as_deref()).await?;
    let decider = Arc::clone(&opened.decider);
    opened.until_stopped(|stop| registry::run(door, listener, decider, stop)).await
}

/// Finds what a start would find, without asking anybody.
fn check(config: &Config) -> Result<(), Failure> {
    for collection in &config.collections {
        // Its own signatures, whatever its expiry: a newer root may follow.
        RootStage::pinned(collection.root.clone(), UtcTime::EPOCH).map_err(|error| {
            let path = collection.root_file.display();
            Failure::Configuration(format!("{path} is no root file of {}: {error}", collection.name))
        })?;
    }
    Ok(Decider::check(&start::settings(config))?)
}

/// A decider that has started, for a port that is taken.
struct Opened {
    decider: Arc<Decider>,
}

impl Opened {
    async fn start(
        config: &Config,
        listener: &TcpListener,
        scheme: &str,
        ready_file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let decider = Decider::start(start::settings(config), Arc::new(SystemClock::new())).await?;
        let address = listener.local_addr().map_err(Failure::local)?;
        // People and scripts wait for exactly this line; it is no log line. Who connects now waits until it is served.
        writeln!(io::stderr(), "listening on {scheme}://{address}").map_err(Failure::local)?;
        if let Some(path) = ready_file {
            write_whole(path, &address.to_string())?;
        }
        Ok(Self { decider })
    }

    /// Serves with the decider's refresh beside it, until SIGTERM or SIGINT.
    async fn until_stopped<S, F, E>(self, serve: S) -> Result<(), Failure>
    where
        S: FnOnce(Stop) -> F,
        F: Future<Output = Result<(), E>>,
        Failure: From<E>,
    {
        let (tell, told) = watch::channel(false);
        let decider = Arc::clone(&self.decider);
        // It goes on while running requests end.
        let mut refresh = tokio::spawn(async move { decider.run(std::future::pending::<()>()).await });
        tokio::spawn(async move {
            stopped().await;
            let _ = tell.send(true);
        });
        let served = tokio::select! {
            served = serve(Box::pin(told_to_stop(told))) => served.map_err(Failure::from),
            // It never ends by itself: without it nothing would be followed, so that the process ends too.
            _ = &mut refresh => Err(Failure::Other("the background refresh has ended")),
        };
        refresh.abort();
        served
    }
}

/// Done when the program is to stop.
type Stop = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn told_to_stop(mut told: watch::Receiver<bool>) {
    // An error means that nobody can tell any more, and then it is as if told.
    let _ = told.wait_for(|stop| *stop).await;
}

/// Ends with SIGTERM or SIGINT; a second one ends the process at once.
async fn stopped() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(1);
    });
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| Failure::Local(format!("{address}: {e}")))
}

/// Writes a small file that a reader sees whole or not at all.
fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let problem = |e: io::Error| Failure::Local(format!("{}: {e}", path.display()));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)).map_err(problem)
}

fn good() -> Result<(), Failure> {
    match io::stdout().write_all(b"the configuration is good\n") {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::local(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_file_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pay.root.json"), "{}").unwrap();
        let text = format!(
            "state = 'state'\npolicy = 'signatures-alone'\n[[collections]]\nname = 'registry.example.com/pay'\n\
             root = 'pay.root.json'\nfingerprint = '{}'\nserver = 'https://trust.example.com'\n\
             [environment]\nname = 'public-eu'\ncloud = 'public'\n",
            trust_reader::anchor::fingerprint(b"{}")
        );
        let file = dir.path().join("gate.toml");
        std::fs::write(&file, text).unwrap();
        let failure = check(&Config::read(&file).unwrap()).unwrap_err();
        assert_eq!(failure.exit_code(), 3);
        assert!(failure.to_string().contains("pay.root.json is no root file of registry.example.com/pay"), "{failure}");
        assert!(!dir.path().join("state").exists());
    }
}
