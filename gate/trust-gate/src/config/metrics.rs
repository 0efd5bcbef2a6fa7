//! `[metrics]`: where Prometheus reads how the gate is.

use std::net::SocketAddr;

use serde::Deserialize;

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address and port, plain HTTP: whoever reaches it reads names of collections and counts, and no image.
    pub listen: SocketAddr,
}
