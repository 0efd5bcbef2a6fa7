//! The signer's configuration file: lifetimes, rates, the operators whose grants admit collections.
//!
//! Unknown keys are errors. No lifetime is above the compiled ceilings (rule S3).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use trust_tuf::{CollectionName, PublicKey, limits};

/// Largest configuration file, in bytes.
pub const CONFIG_BYTES: u64 = 1024 * 1024;

const DAY: i64 = 86_400;

/// How long files live, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of a timestamp.
    pub timestamp: i64,
    /// Of a snapshot.
    pub snapshot: i64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { timestamp: DAY, snapshot: 7 * DAY }
    }
}

/// What the signer is told by its operator.
#[derive(Debug, Clone)]
pub struct Config {
    lifetimes: Vec<(Pattern, Lifetimes)>,
    /// Publications a second and collection.
    pub publications_per_second: u64,
    /// Signatures a second in all.
    pub signatures_per_second: u64,
    /// Keys whose grants admit collections.
    pub operators: Vec<PublicKey>,
}

impl Default for Config {
    fn default() -> Self {
        Self { lifetimes: Vec::new(), publications_per_second: 50, signatures_per_second: 5_000, operators: Vec::new() }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Larger than [`CONFIG_BYTES`].
    #[error("{} is larger than {CONFIG_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// Not `NAME`, `PREFIX/*` or `*`.
    #[error("`{0}` is no collection, no `PREFIX/*` and not `*`")]
    Pattern(String),
    /// Not a number with `s`, `m`, `h` or `d`.
    #[error("`{0}` is no length of time: a number and one of s, m, h, d")]
    Duration(String),
    /// Zero, or above the ceiling.
    #[error("a {role} lives from 1 second to {most} days, not {given}")]
    Life {
        /// The role.
        role: &'static str,
        /// The ceiling in days.
        most: i64,
        /// What was given.
        given: String,
    },
    /// A rate of zero.
    #[error("{0} must be at least 1")]
    Rate(&'static str),
    /// An operator's key that cannot be used.
    #[error("operator key {}: {why}", path.display())]
    Operator {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// `NAME`, `PREFIX/*` (everything below) or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    All,
    Below(CollectionOrHost),
    Exactly(CollectionName),
}

/// What stands before `/*`: a collection's name, or a host alone.
type CollectionOrHost = String;

impl Pattern {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        match text.strip_suffix("/*") {
            // A name below it must be a name: so what stands before is a host, or a host and a path.
            Some(prefix) => CollectionName::parse(&format!("{prefix}/x")).ok().map(|_| Self::Below(prefix.to_owned())),
            None => CollectionName::parse(text).ok().map(Self::Exactly),
        }
    }

    pub(crate) fn matches(&self, collection: &CollectionName) -> bool {
        match self {
            Self::All => true,
            Self::Exactly(name) => name == collection,
            Self::Below(prefix) => {
                collection.as_str().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
        }
    }

    /// Which of two patterns that match says more.
    fn rank(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Below(prefix) => prefix.len(),
            Self::Exactly(_) => usize::MAX,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    lifetime: Vec<FileLifetime>,
    publications_per_second: Option<u64>,
    signatures_per_second: Option<u64>,
    #[serde(default)]
    operators: Vec<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLifetime {
    collection: String,
    timestamp: Option<String>,
    snapshot: Option<String>,
}

impl Config {
    /// Reads a file. Paths of operators' keys are relative to its folder.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        use std::io::Read;
        let error = |source| ConfigError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(error)?;
        file.take(CONFIG_BYTES + 1).read_to_string(&mut text).map_err(error)?;
        if u64::try_from(text.len()).is_ok_and(|n| n > CONFIG_BYTES) {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Reads a configuration from its text.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text)?;
        let mut config = Self::default();
        for entry in file.lifetime {
            let pattern =
                Pattern::parse(&entry.collection).ok_or_else(|| ConfigError::Pattern(shown(&entry.collection)))?;
            let standard = Lifetimes::default();
            let timestamp = life("timestamp", entry.timestamp, standard.timestamp, limits::TIMESTAMP_LIFE)?;
            let snapshot = life("snapshot", entry.snapshot, standard.snapshot, limits::SNAPSHOT_LIFE)?;
            config.lifetimes.push((pattern, Lifetimes { timestamp, snapshot }));
        }
        for (given, place, name) in [
            (file.publications_per_second, &mut config.publications_per_second, "publications_per_second"),
            (file.signatures_per_second, &mut config.signatures_per_second, "signatures_per_second"),
        ] {
            *place = given.unwrap_or(*place);
            if *place == 0 {
                return Err(ConfigError::Rate(name));
            }
        }
        for path in file.operators {
            let path = folder.join(path);
            config.operators.push(operator(&path)?);
        }
        Ok(config)
    }

    /// How long the files of a collection live: by the pattern that says most; never above the ceilings.
    pub fn lifetimes(&self, collection: &CollectionName) -> Lifetimes {
        let fitting = self.lifetimes.iter().filter(|(pattern, _)| pattern.matches(collection));
        let found = fitting.max_by_key(|(pattern, _)| pattern.rank()).map(|(_, lifetimes)| *lifetimes);
        let wanted = found.unwrap_or_default();
        Lifetimes {
            timestamp: wanted.timestamp.min(limits::TIMESTAMP_LIFE),
            snapshot: wanted.snapshot.min(limits::SNAPSHOT_LIFE),
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_default).collect()
}

fn life(role: &'static str, given: Option<String>, standard: i64, most: i64) -> Result<i64, ConfigError> {
    let Some(given) = given else { return Ok(standard) };
    let seconds = seconds(&given).ok_or_else(|| ConfigError::Duration(shown(&given)))?;
    if (1..=most).contains(&seconds) { Ok(seconds) } else { Err(ConfigError::Life { role, most: most / DAY, given }) }
}

/// A length of time: a number and one of s, m, h, d.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => DAY,
        _ => return None,
    };
    let number = text.strip_suffix(unit)?;
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<i64>().ok()?.checked_mul(factor)
}

fn operator(path: &Path) -> Result<PublicKey, ConfigError> {
    let error = |why: String| ConfigError::Operator { path: path.to_owned(), why };
    let bytes = trust_keys::read_public_file(path).map_err(|e| error(e.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| error("not PEM".to_owned()))?;
    let key = PublicKey::from_pem(text).map_err(|e| error(e.to_string()))?;
    key.check_registrable().map_err(|e| error(e.to_string()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("."))
    }

    fn lives(config: &Config, name: &str) -> (i64, i64) {
        let lifetimes = config.lifetimes(&CollectionName::parse(name).unwrap());
        (lifetimes.timestamp, lifetimes.snapshot)
    }

    #[test]
    fn s3_a_lifetime_over_the_ceiling_or_of_nothing_is_refused() {
        for (member, value) in [
            ("timestamp", "8d"),
            ("timestamp", "604801s"),
            ("timestamp", "0s"),
            ("snapshot", "91d"),
            ("snapshot", "99999999999999999d"),
            ("timestamp", "-1s"),
            ("timestamp", "1"),
            ("timestamp", "h"),
            ("timestamp", "1 h"),
            ("timestamp", "1w"),
            ("timestamp", ""),
        ] {
            let text = format!("[[lifetime]]\ncollection = \"r.example/a\"\n{member} = \"{value}\"\n");
            assert!(parse(&text).is_err(), "{member} {value}");
        }
    }

    #[test]
    fn unknown_keys_bad_patterns_and_zero_rates_are_errors() {
        for text in [
            "lifetimes = 1",
            "[[lifetime]]\ncollection = \"r.example/a\"\ntimestam = \"1h\"",
            "[[lifetime]]\ncollection = \"R.example/a\"",
            "[[lifetime]]\ncollection = \"r.example/*/b\"",
            "[[lifetime]]\ncollection = \"r.example/a*\"",
            "[[lifetime]]\ntimestamp = \"1h\"",
            "publications_per_second = 0",
            "signatures_per_second = -1",
            "operators = [\"/nonexistent\"]",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_pattern_that_says_most_counts() {
        let config = parse(
            "[[lifetime]]\ncollection = \"r.example/*\"\ntimestamp = \"2h\"\n\
             [[lifetime]]\ncollection = \"r.example/a/b\"\ntimestamp = \"5s\"\nsnapshot = \"1d\"\n\
             [[lifetime]]\ncollection = \"r.example/a/*\"\ntimestamp = \"3m\"\n",
        )
        .unwrap();
        assert_eq!(lives(&config, "r.example/x"), (7_200, 7 * DAY));
        assert_eq!(lives(&config, "r.example/a"), (7_200, 7 * DAY));
        assert_eq!(lives(&config, "r.example/a/c"), (180, 7 * DAY));
        assert_eq!(lives(&config, "r.example/a/b"), (5, DAY));
        assert_eq!(lives(&config, "r.example.org/a/b"), (DAY, 7 * DAY));
        assert_eq!(lives(&Config::default(), "r.example/a"), (DAY, 7 * DAY));
    }
}
