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
