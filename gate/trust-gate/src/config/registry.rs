//! `[registry]`: the door in front of a registry.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfigError, value};

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
    /// Whether pushes and deletions pass to the upstream. They change nothing of what may be pulled.
    #[serde(default)]
    pub push: bool,
    /// Whose login the upstream sees.
    #[serde(default)]
    pub login: Login,
    /// Whether the names of the repositories with signed tags are listed.
    #[serde(default)]
    pub catalog: bool,
}

/// Whose login the upstream sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Login {
    /// The gate's own (`auth`), or none.
    #[default]
    Gate,
    /// Each client's: it is passed on with its requests, and what is in memory is asked for again with it.
    Pass,
}

impl RegistryConfig {
    /// A door that only pulls, with nothing beside.
    pub fn new(listen: SocketAddr, upstream: &str, host: &str) -> Self {
        Self {
            listen,
            upstream: upstream.to_owned(),
            host: host.to_owned(),
            certificate: None,
            key: None,
            plain_http: false,
            ca: None,
            auth: None,
            redirects: BTreeSet::new(),
            push: false,
            login: Login::Gate,
            catalog: false,
        }
    }
}

impl RegistryConfig {
    /// With paths that are relative to the configuration's folder, and values that can be used.
    pub(super) fn complete(self, folder: &Path) -> Result<Self, ConfigError> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(value("registry", "`certificate` and `key` go together"));
        }
        if self.certificate.is_none() && !self.plain_http && !self.listen.ip().to_canonical().is_loopback() {
            let why = "plain HTTP is for a loopback address: say `certificate` and `key`, or, behind a TLS proxy, `plain_http = true`";
            return Err(value("registry.listen", why));
        }
        if self.auth.is_some() && self.login == Login::Pass {
            let why = "is the gate's own login, which nobody uses with `login = \"pass\"`: leave it out";
            return Err(value("registry.auth", why));
        }
        if self.auth.is_some() && self.push {
            let why = "would let everybody who reaches the gate push with the gate's login: say `login = \"pass\"` instead of `auth`";
            return Err(value("registry.push", why));
        }
        let at = |path: PathBuf| folder.join(path);
        Ok(Self {
            certificate: self.certificate.map(at),
            key: self.key.map(at),
            ca: self.ca.map(at),
            auth: self.auth.map(at),
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Result<RegistryConfig, String> {
        let text =
            format!("listen = '127.0.0.1:0'\nupstream = 'https://up.example.com'\nhost = 'r.example.com'\n{more}");
        let config: RegistryConfig = toml::from_str(&text).map_err(|error| error.to_string())?;
        config.complete(Path::new("/etc/gate")).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_nothing_is_pushed_passed_on_or_listed() {
        let config = read("").unwrap();
        assert_eq!((config.push, config.login, config.catalog), (false, Login::Gate, false));
        let config = read("push = true\nlogin = 'pass'\ncatalog = true").unwrap();
        assert_eq!((config.push, config.login, config.catalog), (true, Login::Pass, true));
        assert!(read("push = true").is_ok(), "a registry that lets everybody push");
        assert!(read("auth = 'auth.json'").is_ok());
    }

    #[test]
    fn nobody_pushes_with_the_gates_login_and_a_login_that_is_not_used_is_refused() {
        let refused = read("push = true\nauth = 'auth.json'").unwrap_err();
        assert!(refused.contains("registry.push") && refused.contains("login = \"pass\""), "{refused}");
        let refused = read("login = 'pass'\nauth = 'auth.json'").unwrap_err();
        assert!(refused.contains("registry.auth"), "{refused}");
        assert!(read("login = 'Pass'").is_err());
    }
}
