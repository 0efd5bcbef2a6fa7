//! The configuration file of the gates, TOML.
//!
//! Invariants: a value that was read is complete and consistent (each pinned root has its fingerprint, the policy's
//! collection is one of those below, each namespace has an environment), so that nothing of it fails later. An unknown
//! member is an error with the word that was probably meant: a misspelt `recheck_unchaged` must not be silently absent.
//! Deliberately absent: environment variables and flags for any of this, and secrets.

mod admission;
mod collections;
mod containerd;
mod docker;
mod duration;
mod environments;
mod metrics;
mod registry;
mod suggest;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use serde::Deserialize;
use trust_tuf::CollectionName;

use self::collections::CollectionEntry;
use self::duration::optional_duration;
use self::suggest::with_suggestion;

pub use self::admission::{AdmissionConfig, GatekeeperConfig, Mode, Pin, Recheck, Tags};
pub use self::collections::Collection;
pub use self::containerd::ContainerdConfig;
pub use self::docker::{DockerConfig, PullByTag};
pub use self::environments::Environments;
pub use self::metrics::MetricsConfig;
pub use self::registry::{Login, RegistryConfig};

/// The largest configuration file, in bytes.
pub const MAX_FILE_LEN: u64 = 1024 * 1024;
/// The largest root file, in bytes (as readers take it).
pub const MAX_ROOT_LEN: u64 = trust_tuf::limits::ROOT_BYTES;
/// Collections of one gate.
pub const MAX_COLLECTIONS: usize = 256;
/// Namespaces in the map.
pub const MAX_NAMESPACES: usize = 10_000;
/// The word instead of a policy's collection: every verified image may pass.
pub const SIGNATURES_ALONE: &str = "signatures-alone";

/// `log`, if it is not said: in the state folder.
const LOG: &str = "decisions.log";
/// `refresh`, if it is not said.
const REFRESH: Duration = Duration::from_secs(60);
/// `max_staleness`, if it is not said.
const MAX_STALENESS: Duration = Duration::from_secs(3_600);

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {why}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// Not TOML, a member that is absent, unknown or of another type.
    #[error("{path}: {why}")]
    Syntax {
        /// The file.
        path: String,
        /// Where, and what is wrong.
        why: String,
    },
    /// A value that cannot be used.
    #[error("{member}: {why}")]
    Value {
        /// The member.
        member: String,
        /// Why.
        why: String,
    },
    /// A pinned root has another fingerprint.
    #[error("{path} has the fingerprint {found}, and not {wanted} as the configuration says for {collection}")]
    Fingerprint {
        /// The root file.
        path: String,
        /// The collection.
        collection: String,
        /// What the configuration says.
        wanted: String,
        /// What the file has.
        found: String,
    },
    /// The section of the door that was asked for.
    #[error("the configuration has no section [{0}]")]
    NoSection(&'static str),
}

/// A complete configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The persistent folder of the trusted state.
    pub state: PathBuf,
    /// The audit log; `decisions.log` in the state folder if not said.
    pub log: PathBuf,
    /// How often each collection is asked for news.
    pub refresh: Duration,
    /// How long an allow may rest on the last successful refresh.
    pub max_staleness: Duration,
    /// Signers that must all have signed; empty: whoever may.
    pub signers: Vec<String>,
    /// How many distinct signers must have signed.
    pub min_signers: usize,
    /// Where the policy comes from; `None`: every verified image may pass.
    pub policy: Option<CollectionName>,
    /// The pinned collections, at least one.
    pub collections: Vec<Collection>,
    /// Where the images are to run.
    pub environments: Environments,
    /// The door of Kubernetes.
    pub admission: Option<AdmissionConfig>,
    /// The door of the registry.
    pub registry: Option<RegistryConfig>,
    /// The door of a Docker Engine.
    pub docker: Option<DockerConfig>,
    /// The door of containerd.
    pub containerd: Option<ContainerdConfig>,
    /// Where each door tells its metrics, if it does.
    pub metrics: MetricsConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    state: PathBuf,
    #[serde(default)]
    log: Option<PathBuf>,
    #[serde(default, deserialize_with = "optional_duration")]
    refresh: Option<Duration>,
    #[serde(default, deserialize_with = "optional_duration")]
    max_staleness: Option<Duration>,
    #[serde(default)]
    policy: Option<String>,
    #[serde(default)]
    signers: Vec<String>,
    #[serde(default)]
    min_signers: usize,
    #[serde(default)]
    collections: Vec<CollectionEntry>,
    #[serde(default)]
    environment: Option<toml::Table>,
    #[serde(default)]
    namespaces: Option<BTreeMap<String, String>>,
    #[serde(default)]
    environments: BTreeMap<String, toml::Table>,
    #[serde(default)]
    admission: Option<AdmissionConfig>,
    #[serde(default)]
    registry: Option<RegistryConfig>,
    #[serde(default)]
    docker: Option<DockerConfig>,
    #[serde(default)]
    containerd: Option<ContainerdConfig>,
    #[serde(default)]
    metrics: MetricsConfig,
}

impl Config {
    /// Reads a configuration and the root files that it names. Paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_file(path, MAX_FILE_LEN)?;
        let syntax = |why: String| ConfigError::Syntax { path: path.display().to_string(), why };
        let text = std::str::from_utf8(&bytes).map_err(|_| syntax("not UTF-8".to_owned()))?;
        let file: File = toml::from_str(text).map_err(|error| syntax(with_suggestion(&error)))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        file.complete(folder).map_err(|error| match error {
            ConfigError::Value { member, why } => {
                ConfigError::Value { member: format!("{}: {member}", path.display()), why }
            }
            other => other,
        })
    }

    /// The section of this door.
    pub fn admission(&self) -> Result<&AdmissionConfig, ConfigError> {
        self.admission.as_ref().ok_or(ConfigError::NoSection("admission"))
    }

    /// The section of this door.
    pub fn registry(&self) -> Result<&RegistryConfig, ConfigError> {
        self.registry.as_ref().ok_or(ConfigError::NoSection("registry"))
    }

    /// The section of this door.
    pub fn docker(&self) -> Result<&DockerConfig, ConfigError> {
        self.docker.as_ref().ok_or(ConfigError::NoSection("docker"))
    }

    /// The section of this door.
    pub fn containerd(&self) -> Result<&ContainerdConfig, ConfigError> {
        self.containerd.as_ref().ok_or(ConfigError::NoSection("containerd"))
    }
}

impl File {
    fn complete(self, folder: &Path) -> Result<Config, ConfigError> {
        let refresh = self.refresh.unwrap_or(REFRESH);
        let max_staleness = self.max_staleness.unwrap_or(MAX_STALENESS);
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&refresh) {
            return Err(value("refresh", "is 1s to 24h"));
        }
        if max_staleness < refresh || max_staleness > Duration::from_secs(7 * 86_400) {
            return Err(value("max_staleness", "is at least `refresh` and at most 7d"));
        }
        if self.collections.is_empty() || self.collections.len() > MAX_COLLECTIONS {
            return Err(value("collections", &format!("1 to {MAX_COLLECTIONS} of [[collections]] are needed")));
        }
        let mut collections: Vec<Collection> = Vec::with_capacity(self.collections.len());
        for entry in self.collections {
            let collection = entry.complete(folder)?;
            if collections.iter().any(|other| other.name == collection.name) {
                return Err(value("collections", &format!("{} is named twice", collection.name)));
            }
            collections.push(collection);
        }
        let Some(policy) = self.policy else {
            let why = format!(
                "is missing: name the collection that holds your policy, or say policy = {SIGNATURES_ALONE:?}: then everything signed passes"
            );
            return Err(value("policy", &why));
        };
        let policy = match policy.as_str() {
            SIGNATURES_ALONE => None,
            name => match collections.iter().find(|c| c.name.as_str() == name) {
                Some(collection) => Some(collection.name.clone()),
                None => {
                    let why =
                        format!("{name:?} is neither {SIGNATURES_ALONE:?} nor the name of one of [[collections]]");
                    return Err(value("policy", &why));
                }
            },
        };
        let environments = environments::read(self.environment, self.namespaces, self.environments)?;
        let at = |path: PathBuf| folder.join(path);
        let admission = self.admission.map(|section| section.complete(folder, &environments)).transpose()?;
        let registry = self.registry.map(|section| section.complete(folder)).transpose()?;
        let docker = self.docker.map(|section| section.complete(folder));
        let containerd = self.containerd.map(|section| section.complete(folder));
        Ok(Config {
            log: at(self.log.unwrap_or_else(|| self.state.join(LOG))),
            state: at(self.state),
            refresh,
            max_staleness,
            signers: self.signers,
            min_signers: self.min_signers,
            policy,
            collections,
            environments,
            admission,
            registry,
            docker,
            containerd,
            metrics: self.metrics,
        })
    }
}

fn value(member: &str, why: &(impl std::fmt::Display + ?Sized)) -> ConfigError {
    ConfigError::Value { member: member.to_owned(), why: why.to_string() }
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, ConfigError> {
    let problem = |why: String| ConfigError::Read { path: path.display().to_string(), why };
    // A FIFO would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
    let file = std::fs::File::from(file.map_err(|e| problem(std::io::Error::from(e).to_string()))?);
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(problem("not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| problem(e.to_string()))?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > limit) {
        return Err(problem(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
