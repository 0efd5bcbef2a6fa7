//! `[metrics]`: where Prometheus reads how the gate is.

use std::net::SocketAddr;

use serde::Deserialize;

/// `[metrics]`: an address and port for each door, since each is a process. Plain HTTP: whoever reaches it reads names of
/// collections and counts, and no image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Of `trust-gate admission`.
    #[serde(default)]
    pub admission: Option<SocketAddr>,
    /// Of `trust-gate registry`.
    #[serde(default)]
    pub registry: Option<SocketAddr>,
    /// Of `trust-gate docker`.
    #[serde(default)]
    pub docker: Option<SocketAddr>,
    /// Of `trust-gate containerd`.
    #[serde(default)]
    pub containerd: Option<SocketAddr>,
}
