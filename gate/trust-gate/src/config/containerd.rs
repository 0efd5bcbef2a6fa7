//! `[containerd]`: what the image verifier of containerd asks.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Mode;

/// `[containerd]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerdConfig {
    /// Where the verifier asks, `/run/trust-gate/containerd.sock` if not said.
    #[serde(default = "socket")]
    pub socket: PathBuf,
    /// `enforce` if not said.
    #[serde(default)]
    pub mode: Mode,
}

impl ContainerdConfig {
    /// With paths that are relative to the configuration's folder.
    pub(super) fn complete(self, folder: &Path) -> Self {
        Self { socket: folder.join(self.socket), ..self }
    }
}

impl Default for ContainerdConfig {
    fn default() -> Self {
        Self { socket: socket(), mode: Mode::Enforce }
    }
}

fn socket() -> PathBuf {
    PathBuf::from("/run/trust-gate/containerd.sock")
}
