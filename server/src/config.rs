//! The configuration of `serve`: a TOML file, under what the command line says. Unknown keys are errors.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// The largest configuration file, in bytes.
const BYTES: u64 = 64 * 1024;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {why}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// Something that must be said is not: all of it, so that it is asked for once.
    #[error("{}", missing(.0))]
    Missing(Vec<&'static str>),
    /// A value that cannot be used.
    #[error("{0}")]
    Value(&'static str),
}

fn missing(names: &[&str]) -> String {
    let quoted = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let flags = names.iter().map(|name| format!("--{}", name.replace('_', "-"))).collect::<Vec<_>>().join(", ");
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{quoted} {verb} missing: give {flags} on the command line, or the members in the file of --config")
}

/// The file. Every member may also stand on the command line, which wins.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The folder of the database.
    pub data: Option<PathBuf>,
    /// Address and port.
    pub listen: Option<SocketAddr>,
    /// Certificate chain in PEM.
    pub tls_cert: Option<PathBuf>,
    /// Private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// The signer's socket.
    pub signer_socket: Option<PathBuf>,
    /// Whether metadata may be read without a token; true if not said.
    pub anonymous_read: Option<bool>,
    /// Seconds that a publication waits for the one before it, 1 to 60; 10 if not said.
    pub publication_wait_seconds: Option<u64>,
}

impl File {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let problem = |why: String| ConfigError::Read { path: path.display().to_string(), why };
        let length = std::fs::metadata(path).map_err(|e| problem(e.to_string()))?.len();
        if length > BYTES {
            return Err(problem(format!("larger than {BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| problem(e.to_string()))?;
        toml::from_str(&text).map_err(|e| problem(e.to_string()))
    }
}

/// A complete configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of the database.
    pub data: PathBuf,
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificate chain and key, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The signer's socket.
    pub signer_socket: PathBuf,
    /// Whether metadata may be read without a token.
    pub anonymous_read: bool,
    /// How long a publication waits for the one before it.
    pub patience: Duration,
}

impl TryFrom<File> for Config {
    type Error = ConfigError;

    fn try_from(file: File) -> Result<Self, ConfigError> {
        let tls = match (file.tls_cert, file.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(ConfigError::Value("`tls_cert` and `tls_key` go together")),
        };
        let seconds = file.publication_wait_seconds.unwrap_or(10);
        if !(1..=60).contains(&seconds) {
            return Err(ConfigError::Value("`publication_wait_seconds` is 1 to 60"));
        }
        match (file.data, file.listen, file.signer_socket) {
            (Some(data), Some(listen), Some(signer_socket)) => Ok(Self {
                data,
                listen,
                tls,
                signer_socket,
                anonymous_read: file.anonymous_read.unwrap_or(true),
                patience: Duration::from_secs(seconds),
            }),
            (data, listen, signer_socket) => {
                let given = [data.is_some(), listen.is_some(), signer_socket.is_some()];
                let names = ["data", "listen", "signer_socket"].into_iter().zip(given);
                Err(ConfigError::Missing(names.filter(|(_, given)| !given).map(|(name, _)| name).collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        File::read(&path).and_then(Config::try_from).map_err(|e| e.to_string())
    }

    #[test]
    fn broken_configurations_say_what_is_wrong() {
        const GOOD: &str = "data = '/d'\nlisten = '127.0.0.1:1'\nsigner_socket = '/s'\n";
        assert!(parse(GOOD).unwrap().anonymous_read);
        for (text, says) in [
            ("", "`data`, `listen`, `signer_socket` are missing: give --data, --listen, --signer-socket"),
            ("data = '/d'", "`listen`, `signer_socket` are missing"),
            ("data = '/d'\nlisten = '127.0.0.1:1'", "`signer_socket` is missing"),
            (&format!("{GOOD}anonymous = false"), "unknown field `anonymous`"),
            (&format!("{GOOD}tls_cert = '/c'"), "go together"),
            (&format!("{GOOD}publication_wait_seconds = 0"), "1 to 60"),
            (&format!("{GOOD}data = '/e'"), "duplicate key"),
            ("listen = 'somewhere'", "line 1"),
            ("data = ", "line 1"),
            ("\n\nanonymous_read = 'yes'", "line 3"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
        assert!(File::read(Path::new("/nonexistent")).is_err());
    }
}
