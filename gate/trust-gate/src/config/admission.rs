//! `[admission]`: the door of Kubernetes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::duration::duration_or_zero;
use super::{ConfigError, value};

/// Whether denials deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are warnings; nothing is changed.
    Warn,
    /// They are in the log, the metrics and the cluster's audit alone; nothing is changed.
    Audit,
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

impl AdmissionConfig {
    /// With paths that are relative to the configuration's folder, and values that can be used.
    pub(super) fn complete(self, folder: &Path) -> Result<Self, ConfigError> {
        if self.drain > Duration::from_secs(60) {
            return Err(value("admission.drain", "is at most 60s"));
        }
        Ok(Self { certificate: folder.join(self.certificate), key: folder.join(self.key), ..self })
    }
}
