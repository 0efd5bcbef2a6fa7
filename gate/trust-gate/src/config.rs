//! The configuration file of the gates, TOML.
//!
//! Invariants: a value that was read is complete and consistent (each pinned root has its fingerprint, the policy's
//! collection is one of those below, each namespace has an environment), so that nothing of it fails later. An unknown
//! member is an error with the word that was probably meant: a misspelt `recheck_unchaged` must not be silently absent.
//! Deliberately absent: environment variables and flags for any of this, and secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use trust_policy::Environment;
use trust_reader::anchor;
use trust_reader::sources::check_mirrors;
use trust_tuf::CollectionName;

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
    /// The log of decisions.
    pub log: Option<PathBuf>,
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
}

/// A pinned collection.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Its name.
    pub name: CollectionName,
    /// The bytes of the pinned root, with the fingerprint that was asked for.
    pub root: Vec<u8>,
    /// The file that they came from.
    pub root_file: PathBuf,
    /// Address of its server.
    pub server: String,
    /// Mirrors of the server: further addresses to read from.
    pub mirrors: Vec<String>,
    /// Authorities of the certificates of server and mirrors; `None`: the machine's own.
    pub ca: Option<PathBuf>,
    /// Whether server and mirrors may be asked by plain HTTP over the network. Metadata is signed; who reads it is not hidden.
    pub plain_http: bool,
}

/// Where images are to run.
#[derive(Debug, Clone)]
pub enum Environments {
    /// In this environment, all of them.
    Fixed(Environment),
    /// By the name of the namespace; one that is not there is the strictest.
    Namespaces(BTreeMap<String, Environment>),
}

/// Whether denials deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are warnings; nothing is changed.
    Warn,
}

/// What happens to an update that changes no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recheck {
    /// It passes.
    #[default]
    Never,
    /// It passes, with a warning if it would be denied.
    Warn,
    /// It is decided as a new object.
    Always,
}

/// Where tags are replaced by digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// In each object that holds them.
    #[default]
    Workloads,
    /// In Pods alone, so that tools which compare workloads with their source see no difference.
    Pods,
}

/// `[admission]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate chain, PEM. Read again when it changes.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// `enforce` if not said.
    #[serde(default)]
    pub mode: Mode,
    /// `never` if not said.
    #[serde(default)]
    pub recheck_unchanged: Recheck,
    /// `workloads` if not said.
    #[serde(default)]
    pub pin: Pin,
    /// How long it goes on serving after SIGTERM, not ready any more, so that nobody is sent to a closed door; `0s` if not
    /// said.
    #[serde(default, deserialize_with = "duration_or_zero")]
    pub drain: Duration,
}

/// `[registry]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The registry behind: `https://HOST[:PORT]`.
    pub upstream: String,
    /// The logical host: what images are called by.
    pub host: String,
    /// Certificate chain, PEM; with `key`.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Private key, PEM.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Whether plain HTTP may be served on another address than loopback: behind a TLS proxy.
    #[serde(default)]
    pub plain_http: bool,
    /// Authorities of the upstream's certificate; the machine's own if not said.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The gate's own login at the upstream: an auth file as Docker and Podman write it.
    #[serde(default)]
    pub auth: Option<PathBuf>,
    /// Hosts (`HOST[:PORT]`) to which the upstream may redirect blobs, beside its own.
    #[serde(default)]
    pub redirects: BTreeSet<String>,
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CollectionEntry {
    name: String,
    root: PathBuf,
    fingerprint: String,
    server: String,
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default)]
    ca: Option<PathBuf>,
    #[serde(default)]
    plain_http: bool,
}

impl Config {
    /// Reads a configuration and the root files that it names. Paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_file(path, MAX_FILE_LEN)?;
        let syntax = |why: String| ConfigError::Syntax { path: path.display().to_string(), why };
        let text = std::str::from_utf8(&bytes).map_err(|_| syntax("not UTF-8".to_owned()))?;
        let file: File = toml::from_str(text).map_err(|error| syntax(with_suggestion(&error)))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        file.complete(folder)
    }

    /// The section of this door.
    pub fn admission(&self) -> Result<&AdmissionConfig, ConfigError> {
        self.admission.as_ref().ok_or(ConfigError::NoSection("admission"))
    }

    /// The section of this door.
    pub fn registry(&self) -> Result<&RegistryConfig, ConfigError> {
        self.registry.as_ref().ok_or(ConfigError::NoSection("registry"))
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
        let environments = environments(self.environment, self.namespaces, self.environments)?;
        let at = |path: PathBuf| folder.join(path);
        let admission = self.admission.map(|section| AdmissionConfig {
            certificate: at(section.certificate),
            key: at(section.key),
            ..section
        });
        let registry = self.registry.map(|section| RegistryConfig {
            certificate: section.certificate.map(at),
            key: section.key.map(at),
            ca: section.ca.map(at),
            auth: section.auth.map(at),
            ..section
        });
        if registry.as_ref().is_some_and(|r| r.certificate.is_some() != r.key.is_some()) {
            return Err(value("registry", "`certificate` and `key` go together"));
        }
        let is_open = |r: &RegistryConfig| {
            r.certificate.is_none() && !r.plain_http && !r.listen.ip().to_canonical().is_loopback()
        };
        if registry.as_ref().is_some_and(is_open) {
            let why = "plain HTTP is for a loopback address: say `certificate` and `key`, or, behind a TLS proxy, `plain_http = true`";
            return Err(value("registry.listen", why));
        }
        if admission.as_ref().is_some_and(|a| a.drain > Duration::from_secs(60)) {
            return Err(value("admission.drain", "is at most 60s"));
        }
        Ok(Config {
            state: at(self.state),
            log: self.log.map(at),
            refresh,
            max_staleness,
            signers: self.signers,
            min_signers: self.min_signers,
            policy,
            collections,
            environments,
            admission,
            registry,
        })
    }
}

impl CollectionEntry {
    fn complete(self, folder: &Path) -> Result<Collection, ConfigError> {
        let name = CollectionName::parse(&self.name).map_err(|e| value(&format!("collection {:?}", self.name), &e))?;
        let wanted = self.fingerprint.to_ascii_lowercase();
        if wanted.len() != 64 || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(value(&format!("fingerprint of {name}"), "is 64 hex digits"));
        }
        let path = folder.join(&self.root);
        let root = read_file(&path, MAX_ROOT_LEN)?;
        let found = anchor::fingerprint(&root);
        if found != wanted {
            let path = path.display().to_string();
            return Err(ConfigError::Fingerprint { path, collection: self.name, wanted, found });
        }
        if !["https://", "http://"].iter().any(|scheme| self.server.starts_with(scheme)) {
            return Err(value(&format!("server of {name}"), "is an address as https://trust.example.com"));
        }
        check_mirrors(Some(&self.server), &self.mirrors).map_err(|e| value(&format!("mirrors of {name}"), &e))?;
        let (server, mirrors, ca) = (self.server, self.mirrors, self.ca.map(|ca| folder.join(ca)));
        Ok(Collection { name, root, root_file: path, server, mirrors, ca, plain_http: self.plain_http })
    }
}

fn environments(
    fixed: Option<toml::Table>,
    namespaces: Option<BTreeMap<String, String>>,
    tables: BTreeMap<String, toml::Table>,
) -> Result<Environments, ConfigError> {
    let Some(namespaces) = namespaces else {
        let Some(fixed) = fixed else {
            let why =
                "is missing: say where images are to run by [environment] with name and cloud, or by [namespaces]";
            return Err(value("environment", why));
        };
        if !tables.is_empty() {
            return Err(value("environments", "is only for [namespaces]"));
        }
        return environment("environment", &fixed).map(Environments::Fixed);
    };
    if fixed.is_some() {
        return Err(value("environment", "[environment] and [namespaces] exclude each other"));
    }
    if namespaces.len() > MAX_NAMESPACES {
        return Err(value("namespaces", &format!("holds more than {MAX_NAMESPACES}")));
    }
    let mut known = BTreeMap::new();
    for (name, mut table) in tables {
        let member = format!("environments.{name}");
        if name == Environment::strictest().name {
            return Err(value(&member, "is the name of the place that nobody described; give it another one"));
        }
        if table.get("name").is_some_and(|given| given.as_str() != Some(&name)) {
            return Err(value(&member, "has another `name`"));
        }
        table.insert("name".to_owned(), name.clone().into());
        known.insert(name, environment(&member, &table)?);
    }
    let mut map = BTreeMap::new();
    for (namespace, name) in namespaces {
        let Some(environment) = known.get(&name) else {
            let nearest = nearest(&name, known.keys().map(String::as_str));
            let why = format!("there is no [environments.{name}]{}", did_you_mean(nearest));
            return Err(value(&format!("namespaces.{namespace}"), &why));
        };
        if !is_namespace(&namespace) {
            return Err(value("namespaces", &format!("{namespace:?} is no name of a namespace")));
        }
        map.insert(namespace, environment.clone());
    }
    Ok(Environments::Namespaces(map))
}

/// A DNS label, as Kubernetes names namespaces.
fn is_namespace(name: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.bytes().next().is_some_and(is_word)
        && name.bytes().last().is_some_and(is_word)
        && name.bytes().all(|b| is_word(b) || b == b'-')
}

fn environment(member: &str, table: &toml::Table) -> Result<Environment, ConfigError> {
    let text = toml::to_string(table).map_err(|e| value(member, &e))?;
    Environment::from_toml(&text, &format!("the gate's configuration, [{member}]")).map_err(|e| value(member, &e))
}

fn value(member: &str, why: &(impl std::fmt::Display + ?Sized)) -> ConfigError {
    ConfigError::Value { member: member.to_owned(), why: why.to_string() }
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, ConfigError> {
    let problem = |why: String| ConfigError::Read { path: path.display().to_string(), why };
    let file = std::fs::File::open(path).map_err(|e| problem(e.to_string()))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| problem(e.to_string()))?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > limit) {
        return Err(problem(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// A number with `s`, `m`, `h` or `d`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = u64::from(number.parse::<u32>().ok()?) * factor;
    Some(Duration::from_secs(seconds))
}

fn duration_or_zero<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is no duration: a number with s, m, h or d, for example 60s"))
    })
}

fn optional_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration_or_zero(deserializer).map(Some)
}

/// The parser's message, and for an unknown member the known one that is spelt most alike.
fn with_suggestion(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let text = text.trim_end();
    let mut words = error.message().split('`').skip(1).step_by(2);
    if !error.message().starts_with("unknown field") {
        return text.to_owned();
    }
    let Some(found) = words.next() else { return text.to_owned() };
    format!("{text}{}", did_you_mean(nearest(found, words)))
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

/// The candidate with the fewest edits, if they are few for its length.
fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let scored = candidates.map(|candidate| (edits(word, candidate), candidate));
    scored.min_by_key(|(edits, _)| *edits).filter(|(edits, name)| *edits <= name.len() / 3 + 1).map(|(_, name)| name)
}

/// Insertions, deletions and replacements from one word to the other. Both are short.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        for ((y, pair), left) in b.iter().zip(row.windows(2)).zip(0..) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => continue,
            };
            let before = next.get(left).copied().unwrap_or(usize::MAX - 1);
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(before + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
