//! The command line of `trust-signer`. No secret is an argument.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use trust_keys::{ExampleKeys, LockedKey, PromptInfo, PromptPurpose};
use trust_keys::{Passphrase, PassphraseError, PassphraseInputs, PassphraseSource, PassphraseVariable};
use trust_tuf::{CollectionName, KeyId};

use crate::admission::{GrantError, make_grant};
use crate::config::{Config, ConfigError, seconds};
use crate::core::SignerCore;
use crate::socket::{self, Endpoint, SocketError};
use crate::store::{Admission, FILE, Store, StoreError};
use crate::vault::{self, OsEntropy, Vault, VaultError};

/// What the exit codes mean, for `--help`.
const EXIT_CODES: &str = "Exit codes:
  0   done
  1   another reason: the passphrase does not open the keys
  2   wrong usage, or a setting that is missing
  3   the configuration cannot be used
  35  this machine: store, socket or file cannot be used or has the wrong
      mode, another signer runs, a full disk
  40  a passphrase is needed and there is nobody to ask";

/// Name of the passphrase file that `--dev` makes.
const DEV_PASSPHRASE: &str = "passphrase";

/// The isolated signer: holds the online keys and does not believe the server.
#[derive(Debug, Parser)]
#[command(name = "trust-signer", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sign for the server on a Unix socket.
    #[command(after_help = EXIT_CODES)]
    Serve(Serve),
    /// Make the store and the identity key, and print its fingerprint.
    Init {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        passphrase: PassphraseFlags,
    },
    /// Print the fingerprint of the identity key.
    Identity {
        #[command(flatten)]
        data: Data,
    },
    /// Admit the first root of a collection by its fingerprint.
    Admit {
        /// The collection.
        name: String,
        /// SHA-256 of the first root file, 64 hex digits.
        fingerprint: String,
        #[command(flatten)]
        data: Data,
    },
    /// Make a grant: with it, `trust init --grant FILE` sets up collections without a command here for each.
    Grant(Grant),
    /// What was signed.
    Audit {
        #[command(subcommand)]
        command: Audit,
    },
}

#[derive(Debug, Args)]
struct Grant {
    /// For which collections: a name, PREFIX/* or *.
    pattern: String,
    /// The operator's private key (PEM). `operators` in the signer's configuration must name its public half.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How long the grant is good, as 30d, 12h, 30m; 365d at most.
    #[arg(long, default_value = "30d")]
    expires: String,
    /// Only for the first root with this SHA-256, 64 hex digits.
    #[arg(long, value_name = "FINGERPRINT")]
    root: Option<String>,
    /// The new file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File with the passphrase of the operator's key, mode 0600.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Open descriptor to read the passphrase of the operator's key from.
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// Check the audit chain against itself and against everything that was signed.
    Verify {
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Debug, Args)]
struct Data {
    /// Folder of the store; its mode must be 0700.
    #[arg(long = "data", value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct PassphraseFlags {
    /// File with the passphrase, mode 0600 (or TRUST_SIGNER_PASSPHRASE_FILE, TRUST_SIGNER_PASSPHRASE).
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Open descriptor to read the passphrase from.
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    data: Data,
    /// The Unix socket.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// User that may speak to the signer; may be repeated. Default: the signer's own.
    #[arg(long, value_name = "UID")]
    allow_uid: Vec<u32>,
    #[command(flatten)]
    passphrase: PassphraseFlags,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Development: makes store and passphrase by itself, admits every first root, takes example keys.
    #[arg(long)]
    dev: bool,
    /// End when the process with this id ends, which must be the one that starts this one. For `trust-server dev`.
    #[arg(long, value_name = "PID", hide = true)]
    end_with_parent: Option<i32>,
    /// File to write once the socket listens.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Why a command ended.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The configuration.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A value on the command line.
    #[error("{0}")]
    Value(String),
    /// A file that `--dev` or `--ready-file` writes.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The operator's key file.
    #[error(transparent)]
    KeyFile(#[from] trust_keys::FileError),
    /// The operator's key.
    #[error(transparent)]
    Key(#[from] trust_keys::StoreError),
    /// No grant was made.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The clock.
    #[error("the clock is out of range")]
    Clock,
    /// Whoever started this process has ended.
    #[error("whoever started this signer has ended")]
    Alone,
}

impl CliError {
    /// The exit code, as [`EXIT_CODES`] says.
    pub fn exit_code(&self) -> u8 {
        use PassphraseError as P;
        match self {
            Self::Passphrase(P::NotInteractive { .. }) => 40,
            Self::Key(trust_keys::StoreError::Passphrase(P::NotInteractive { .. })) => 40,
            Self::Value(_)
            | Self::Grant(GrantError::Pattern)
            | Self::Passphrase(P::TwoFlags | P::TwoVariables { .. } | P::EmptyFileVariable { .. }) => 2,
            Self::Config(_) => 3,
            Self::Passphrase(P::TooOpen { .. } | P::NotAFile { .. } | P::Unreadable { .. })
            | Self::Store(_)
            | Self::Vault(VaultError::Store(_))
            | Self::Socket(_)
            | Self::KeyFile(_)
            | Self::Io { .. } => 35,
            Self::Vault(_) | Self::Passphrase(_) | Self::Key(_) | Self::Grant(_) | Self::Clock | Self::Alone => 1,
        }
    }
}

/// What the environment holds for this program.
#[derive(Debug, Default)]
pub struct Environment {
    /// `TRUST_SIGNER_PASSPHRASE` and its `_FILE` twin.
    pub passphrase: Vec<PassphraseVariable>,
}

/// Runs a command; what it prints goes to `out`.
pub fn run(cli: Cli, environment: Environment, out: &mut dyn Write) -> Result<(), CliError> {
    // Everything that this process makes is its own.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let print = |out: &mut dyn Write, line: String| {
        writeln!(out, "{line}").map_err(|source| CliError::Io { path: "standard output".into(), source })
    };
    match cli.command {
        Command::Init { data, passphrase } => {
            let passphrase = obtain(passphrase, environment)?;
            let id = init(&data.dir, &passphrase, vault::COST)?;
            print(out, format!("identity {id}"))
        }
        Command::Identity { data } => print(out, Store::open(&data.dir)?.identity()?.public.id().to_string()),
        Command::Admit { name, fingerprint, data } => {
            let name = CollectionName::parse(&name).map_err(|error| CliError::Value(error.to_string()))?;
            let root_sha256 = fingerprint_bytes(&fingerprint)?;
            let now = socket::clock().ok_or(CliError::Clock)?;
            let admission = Admission { root_sha256, by: "command".to_owned() };
            Store::open(&data.dir)?.admit(&name, &admission, now)?;
            print(out, format!("admitted {name} {}", hex::encode(root_sha256)))
        }
        Command::Grant(grant) => {
            let key = write_grant(&grant)?;
            print(out, format!("grant {} signed with {key}", grant.out.display()))
        }
        Command::Audit { command: Audit::Verify { data } } => {
            let report = Store::open(&data.dir)?.verify_audit()?;
            let (entries, head) = (report.head.seq, hex::encode(report.head.hash));
            print(out, format!("ok: {entries} entries, {} signatures, head {head}", report.signatures))
        }
        Command::Serve(flags) => serve(flags, environment),
    }
}

fn init(dir: &Path, passphrase: &Passphrase, cost: u8) -> Result<KeyId, CliError> {
    let identity = vault::new_identity(passphrase, cost)?;
    Store::create(dir, &identity)?;
    Ok(identity.public.id())
}

fn fingerprint_bytes(text: &str) -> Result<[u8; 32], CliError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| CliError::Value("the fingerprint is not 64 hex digits".to_owned()))?;
    Ok(bytes)
}

/// Makes the file of a grant. Gives the id of the key.
fn write_grant(grant: &Grant) -> Result<KeyId, CliError> {
    const LONGEST: i64 = 365 * 86_400;
    let life = seconds(&grant.expires).filter(|life| (1..=LONGEST).contains(life));
    let life =
        life.ok_or_else(|| CliError::Value("--expires is a number with s, m, h or d, 365d at most".to_owned()))?;
    let expires = socket::clock().and_then(|now| now.plus_secs(life)).ok_or(CliError::Clock)?;
    let root = grant.root.as_deref().map(fingerprint_bytes).transpose()?;
    let pem = trust_keys::read_private_file(&grant.key)?;
    let origin = grant.key.display().to_string();
    let locked = LockedKey::from_pem(&origin, &pem, ExampleKeys::Refuse)?;
    // The variables of the signer hold the passphrase of its store, which is another one.
    let inputs = PassphraseInputs {
        file: grant.passphrase_file.clone(),
        descriptor: grant.passphrase_fd,
        variables: Vec::new(),
    };
    let mut nobody = |_: &PromptInfo| {
        Err(PassphraseError::NotInteractive { answer: "--passphrase-file or --passphrase-fd".to_owned() })
    };
    let key = locked.unlock_from(&mut PassphraseSource::resolve(inputs)?, true, &mut nobody)?;
    let bytes = make_grant(&grant.pattern, root.as_ref(), expires, &key)?;
    // It holds no secret, and goes to whoever sets up the collection.
    let io = |source| CliError::Io { path: grant.out.clone(), source };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&grant.out).map_err(io)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io)?;
    Ok(key.id().clone())
}

fn obtain(flags: PassphraseFlags, environment: Environment) -> Result<Passphrase, CliError> {
    let inputs = PassphraseInputs {
        file: flags.passphrase_file,
        descriptor: flags.passphrase_fd,
        variables: environment.passphrase,
    };
    let about = PromptInfo { key: "signer".to_owned(), algorithm: None, key_id: None, purpose: PromptPurpose::Open };
    let mut nobody = |_: &PromptInfo| {
        let answer = "--passphrase-file, --passphrase-fd or TRUST_SIGNER_PASSPHRASE_FILE".to_owned();
        Err(PassphraseError::NotInteractive { answer })
    };
    Ok(PassphraseSource::resolve(inputs)?.obtain(&about, &mut nobody)?)
}

/// Makes store and passphrase of a development signer, unless they are there.
fn prepare_dev(dir: &Path) -> Result<PathBuf, CliError> {
    let file = dir.join(DEV_PASSPHRASE);
    if !dir.join(FILE).exists() {
        if !dir.exists() {
            std::fs::create_dir(dir).map_err(|source| CliError::Io { path: dir.to_owned(), source })?;
        }
        let io = |source| CliError::Io { path: file.clone(), source };
        if !file.exists() {
            let mut random = [0_u8; 32];
            getrandom::fill(&mut random).map_err(|_| VaultError::NotMade)?;
            let text = hex::encode(random);
            trust_keys::write_private_file(&file, text.as_bytes()).map_err(|e| io(std::io::Error::other(e)))?;
        }
        let passphrase = trust_keys::passphrase::read_passphrase_file(&file)?;
        init(dir, &passphrase, vault::DEV_COST)?;
    }
    Ok(file)
}

fn serve(mut flags: Serve, environment: Environment) -> Result<(), CliError> {
    flags.end_with_parent.map_or(Ok(()), end_with)?;
    let dir = flags.data.dir.as_path();
    let config = flags.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    if flags.dev {
        let file = prepare_dev(dir)?;
        let given = flags.passphrase.passphrase_file.is_some()
            || flags.passphrase.passphrase_fd.is_some()
            || environment.passphrase.iter().any(|v| v.value.is_some() || v.file.is_some());
        if !given {
            flags.passphrase.passphrase_file = Some(file);
        }
        tracing::warn!("development mode: every first root is admitted, example keys are taken");
    }
    let store = Store::open(dir)?;
    let _lock = Store::lock(dir)?;
    let passphrase = obtain(flags.passphrase, environment)?;
    let identity = store.identity()?;
    let vault = Arc::new(Vault::open(&identity, &passphrase)?);
    drop(passphrase);
    harden();

    let allowed = if flags.allow_uid.is_empty() { vec![rustix::process::geteuid().as_raw()] } else { flags.allow_uid };
    let endpoint = Endpoint { path: flags.socket, allowed };
    let listener = socket::bind(&endpoint)?;
    let core = SignerCore::new(store, vault, Box::new(OsEntropy), config, flags.dev);
    tracing::info!(identity = %identity.public.id(), socket = %endpoint.path.display(), "listening");
    if let Some(path) = flags.ready_file {
        let written = socket::write_ready_file(&path, &endpoint.path);
        written.map_err(|source| CliError::Io { path, source })?;
    }
    socket::serve(&listener, core, &endpoint)
}

/// Lets the kernel end this process when its parent ends, however that ends. A parent that was gone before that is seen
/// by its id: then this process has another one already.
fn end_with(parent: i32) -> Result<(), CliError> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|_| CliError::Alone)?;
    match getppid() {
        Some(now) if now.as_raw_nonzero().get() == parent => Ok(()),
        _ => Err(CliError::Alone),
    }
}

/// No core file and no debugger of the same user sees the keys.
fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if setrlimit(Resource::Core, none).is_err() || set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        tracing::warn!("core files could not be switched off");
    }
}
