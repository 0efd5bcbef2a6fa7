//! The command line of `trust-server`.

use std::fs::OpenOptions;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::net::{TcpListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use trust_listen::TlsError;

use crate::app::auth::{AccessRules, Scope, new_token};
use crate::app::{App, Options, system_clock};
use crate::config::{Config, ConfigError, File};
use crate::signer_link::{SignerLink, SocketLink};
use crate::store::{Event, SqliteStore, Store, StoreError, TokenRow};
use crate::{api, dev};

/// How long the start waits for the comparison with the signer.
const FIRST_ROUND: Duration = Duration::from_secs(2);

/// What the exit codes mean, for `--help`.
const EXIT_CODES: &str = "Exit codes:
  0   done
  1   another reason: no such token, the signer ended
  2   wrong usage, or a setting that is missing
  3   the configuration, or the certificate or key that it names, is no good
  35  this machine: port in use, a file or folder that cannot be used or has
      the wrong mode, a full disk";

/// What `token create --help` says after the flags.
const TOKEN_HELP: &str = "What the actions allow, for the collections that PATTERN names:
  read     read metadata and the log, and see the name in the list of
           collections. Where the server lets everybody read
           (anonymous_read, the default), only that list needs it
  publish  publish, and ask for online keys
  admin    set up new collections
None includes another: setting up a collection needs admin and publish.

Which command of `trust` needs what:
  init                                   admin, publish
  sign, unsign, revoke, rotate, signer   publish
  log, list, verify                      nothing
Where the server does not let everybody read, each needs read as well.

A token only says who may knock: what is published must be signed with
the keys of its roles all the same.

Example, a pipeline that signs in one collection and in all below pay/:
  trust-server token create --data /var/lib/trust-server --name ci-pay \\
    --scope 'registry.example.com/shop=read,publish' \\
    --scope 'registry.example.com/pay/*=read,publish' \\
    --expires 90d --out ci-pay.token
Its user sets TRUST_TOKEN_FILE to that file.";

/// What ends a command: one sentence for people, and by its kind the exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A value on the command line, or one that is missing there.
    #[error("{0}")]
    Usage(String),
    /// The configuration, or what it names.
    #[error("{0}")]
    Configuration(String),
    /// Files, folders, ports, the disk.
    #[error("{0}")]
    Local(String),
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    pub(crate) fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    pub(crate) fn local(error: impl std::fmt::Display) -> Self {
        Self::Local(error.to_string())
    }

    pub(crate) fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    /// 2, 3, 35 or 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Configuration(_) => 3,
            Self::Local(_) => 35,
            Self::Other(_) => 1,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Missing(_) => Self::usage(error),
            ConfigError::Read { .. } | ConfigError::Value(_) => Self::Configuration(error.to_string()),
        }
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::local(error)
    }
}

/// The metadata server of trust: keeps and serves signed metadata, and cannot sign.
#[derive(Debug, Parser)]
#[command(name = "trust-server", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve metadata and take publications.
    #[command(after_help = EXIT_CODES)]
    Serve(Serve),
    /// Server and signer for trying out, on this machine only.
    #[command(after_help = EXIT_CODES)]
    Dev(Dev),
    /// Tokens for publishing.
    #[command(subcommand)]
    Token(Token),
}

#[derive(Debug, Args)]
struct Serve {
    /// Folder of the database (made with mode 0700).
    #[arg(long)]
    data: Option<PathBuf>,
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Certificate chain, PEM.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key, PEM.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The signer's Unix socket.
    #[arg(long, value_name = "PATH")]
    signer_socket: Option<PathBuf>,
    /// Configuration file, TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only say whether the configuration is good.
    #[arg(long)]
    check_config: bool,
    /// Write the address into this file once it listens.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Dev {
    /// Folder for everything (made with mode 0700).
    #[arg(long)]
    data: PathBuf,
    /// Address and port, loopback only; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4480")]
    listen: SocketAddr,
    /// Write the address into this file once it listens.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Make a token. It is shown once.
    #[command(after_help = TOKEN_HELP)]
    Create {
        /// Folder of the database.
        #[arg(long)]
        data: PathBuf,
        /// Its name, for the log and for revoking.
        #[arg(long)]
        name: String,
        /// What it allows: a collection, PREFIX/* or *, then =read,publish,admin. May be given several times.
        #[arg(long, value_name = "PATTERN=ACTIONS", required = true)]
        scope: Vec<String>,
        /// How long it is good, as 90d, 12h, 30m; 365d at most.
        #[arg(long, default_value = "90d")]
        expires: String,
        /// Write it into this new file (mode 0600) instead of printing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List the tokens, without their secrets.
    List {
        /// Folder of the database.
        #[arg(long)]
        data: PathBuf,
    },
    /// Revoke a token, at once.
    Revoke {
        /// Folder of the database.
        #[arg(long)]
        data: PathBuf,
        /// Its name.
        #[arg(long)]
        name: String,
    },
}

/// Runs a command.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(serve) => run_serve(serve).await,
        Command::Dev(dev) => dev::run(&dev.data, dev.listen, dev.ready_file.as_deref()).await,
        Command::Token(token) => run_token(token).await,
    }
}

/// Prints to standard output; a reader that went away is no fault.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::local(e)),
        _ => Ok(()),
    }
}

async fn run_serve(serve: Serve) -> Result<(), Failure> {
    let mut file = match &serve.config {
        Some(path) => File::read(path)?,
        None => File::default(),
    };
    file.data = serve.data.or(file.data);
    file.listen = serve.listen.or(file.listen);
    file.tls_cert = serve.tls_cert.or(file.tls_cert);
    file.tls_key = serve.tls_key.or(file.tls_key);
    file.signer_socket = serve.signer_socket.or(file.signer_socket);
    let config = Config::try_from(file)?;
    if serve.check_config {
        if let Some((certificate, key)) = &config.tls {
            trust_listen::tls(certificate, key)?;
        }
        return print("the configuration is good\n");
    }
    let options = Options {
        access: AccessRules { anonymous_read: config.anonymous_read },
        allow_example_keys: false,
        patience: config.patience,
    };
    let signer = Arc::new(SocketLink::new(&config.signer_socket));
    let store = open(&config.data)?;
    let listener = bind(config.listen).await?;
    let running = Running { config, options, ready_file: serve.ready_file, store, listener, signer };
    running.until(stopped()).await
}

/// A store of which this process is the only server.
pub(crate) struct Opened {
    pub(crate) store: Arc<SqliteStore>,
    // Held while the process lives.
    _lock: std::fs::File,
}

/// Opens the store, unless another server has it.
pub(crate) fn open(data: &Path) -> Result<Opened, Failure> {
    let store = SqliteStore::open(data)?;
    let path = data.join("server.lock");
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| Failure::Local(format!("{}: {e}", path.display())))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| Failure::Local(format!("{}: another trust-server uses this folder", data.display())))?;
    Ok(Opened { store: Arc::new(store), _lock: lock })
}

/// Takes the port. Whoever connects waits until it is served.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| Failure::Local(format!("{address}: {e}")))
}

/// Says so if nobody listens on the signer's socket: the server serves what it has all the same.
async fn warn_without_signer(socket: &Path) {
    let connected = tokio::time::timeout(FIRST_ROUND, UnixStream::connect(socket)).await;
    let error = match connected {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not take the connection".to_owned(),
    };
    tracing::warn!(
        "signer not reachable at {}: {error}; nothing is published or renewed until it is",
        socket.display()
    );
}

/// Everything that a serving process needs.
pub(crate) struct Running {
    pub(crate) config: Config,
    pub(crate) options: Options,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) store: Opened,
    pub(crate) listener: TcpListener,
    pub(crate) signer: Arc<dyn SignerLink>,
}

impl Running {
    /// Serves until `stop`.
    pub(crate) async fn until(self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let Self { config, options, ready_file, store, listener, signer } = self;
        let acceptor = match &config.tls {
            Some((certificate, key)) => Some(trust_listen::tls(certificate, key)?),
            None => None,
        };
        let memory: Arc<dyn Store> = Arc::clone(&store.store) as Arc<dyn Store>;
        let app = App::open(memory, signer, system_clock(), options).await?;
        let address = listener.local_addr().map_err(Failure::local)?;
        warn_without_signer(&config.signer_socket).await;
        // A store that was put back from an old copy is behind the signer, whose set is adopted in the first round: before
        // that clients would be shown versions that go back. A signer that does not answer holds reads up no longer.
        let (compared, first_round) = tokio::sync::oneshot::channel();
        let worker = Arc::clone(&app);
        let mut background = tokio::spawn(async move {
            worker.round().await;
            // Nobody waits any more if this took too long.
            let _ = compared.send(());
            worker.run().await;
        });
        let _ = tokio::time::timeout(FIRST_ROUND, first_round).await;
        if acceptor.is_none() && !address.ip().is_loopback() {
            tracing::warn!("tokens come over plain HTTP: put TLS in front, or give --tls-cert and --tls-key");
        }
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        // People and scripts wait for exactly this line; it is no log line.
        writeln!(io::stderr(), "listening on {scheme}://{address}").map_err(Failure::local)?;
        if let Some(path) = ready_file {
            write_whole(&path, &address.to_string())?;
        }
        let mut broken = false;
        let end = async {
            tokio::select! {
                () = stop => {}
                // It never ends by itself: without it nothing would be renewed, so that the process ends too.
                _ = &mut background => broken = true,
            }
        };
        trust_listen::serve(listener, acceptor, api::router(Arc::clone(&app)), end).await;
        background.abort();
        if let Err(error) = app.flush().await {
            // The candidate is open then, and goes on after the next start.
            tracing::warn!(%error, "the last publication is not made current in the store");
        }
        if broken { Err(Failure::other("the background work has ended")) } else { Ok(()) }
    }
}

/// Writes a small file that a reader sees whole or not at all.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let problem = |e: io::Error| Failure::Local(format!("{}: {e}", path.display()));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)).map_err(problem)
}

/// Ends with SIGTERM or SIGINT; a second one ends the process at once.
pub(crate) async fn stopped() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(1);
    });
}

/// Writes a secret into a new file of mode 0600.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), Failure> {
    let problem = |e: io::Error| Failure::Local(format!("{}: {e}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(problem)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(problem)
}

fn seconds(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = i64::from(number.parse::<u32>().ok()?).checked_mul(factor)?;
    (1..=365 * 86_400).contains(&seconds).then_some(seconds)
}

/// Makes a token and gives its text; `None` if the name is taken.
pub(crate) async fn create_token(
    store: &dyn Store,
    name: &str,
    scope: &Scope,
    life: i64,
) -> Result<Option<String>, Failure> {
    let now = system_clock()().unix();
    let (text, sha256) = new_token().map_err(Failure::other)?;
    let (name, scope) = (name.to_owned(), scope.to_string());
    let event = token_event("token created", &name);
    let row = TokenRow { name, sha256, scope, created: now, expires: now.checked_add(life), revoked: None };
    Ok(store.add_token(row, event).await?.then_some(text))
}

pub(crate) fn token_event(action: &'static str, name: &str) -> Event {
    let (actor, detail) = ("command line".to_owned(), name.to_owned());
    Event { time: system_clock()().unix(), actor, action, collection: None, detail }
}

async fn run_token(token: Token) -> Result<(), Failure> {
    match token {
        Token::Create { data, name, scope, expires, out } => {
            let scope = Scope::parse(&scope.join("\n")).map_err(Failure::usage)?;
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@');
            if !(1..=64).contains(&name.len()) || !name.bytes().all(fits) {
                return Err(Failure::usage("--name is 1 to 64 of [A-Za-z0-9._@-]"));
            }
            let life = seconds(&expires)
                .ok_or_else(|| Failure::usage("--expires is a number with s, m, h or d, 365d at most"))?;
            if let Some(path) = &out
                && path.symlink_metadata().is_ok()
            {
                return Err(Failure::Local(format!("{}: exists", path.display())));
            }
            let store = SqliteStore::open(&data)?;
            let text = create_token(&store, &name, &scope, life)
                .await?
                .ok_or_else(|| Failure::Other(format!("there is a token `{name}`, or was one")))?;
            match out {
                Some(path) => write_secret(&path, &text),
                None => print(&format!("{text}\n")),
            }
        }
        Token::List { data } => {
            let store = SqliteStore::open(&data)?;
            let now = system_clock()().unix();
            let mut out = String::new();
            for row in store.tokens().await? {
                let state = match (row.revoked, row.expires) {
                    (Some(_), _) => "revoked",
                    (None, Some(at)) if at <= now => "expired",
                    _ => "valid",
                };
                let expires = row.expires.and_then(trust_tuf::UtcTime::from_unix);
                let expires = expires.map_or_else(|| "never".to_owned(), |t| t.to_string());
                out.push_str(&format!("{}  {state}  until {expires}  {}\n", row.name, row.scope.replace('\n', "  ")));
            }
            print(&out)
        }
        Token::Revoke { data, name } => {
            let store = SqliteStore::open(&data)?;
            let event = token_event("token revoked", &name);
            if store.revoke_token(&name, event).await? {
                print(&format!("revoked {name}\n"))
            } else {
                Err(Failure::Other(format!("there is no token `{name}`")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn lives_of_tokens_are_bounded() {
        for text in ["", "d", "0d", "-1d", "366d", "1w", "1", "99999999999d", "1.5h", "１d"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(seconds("90d"), Some(90 * 86_400));
        assert_eq!(seconds("1s"), Some(1));
    }
}
