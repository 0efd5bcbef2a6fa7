//! The doors of this program, each as [`crate::serve`] runs it.

use std::net::SocketAddr;
use std::sync::Arc;

use trust_decide::Decider;

use crate::admission::Admission;
use crate::cli::Failure;
use crate::config::{Config, MetricsConfig};
use crate::decides::Decides;
use crate::serve::{Door, Made, Place};
use crate::{containerd, docker, registry};

/// The webhook of Kubernetes.
pub(crate) struct KubernetesDoor;

impl Door for KubernetesDoor {
    const NAME: &'static str = "admission";

    fn metrics(config: &MetricsConfig) -> Option<SocketAddr> {
        config.admission
    }

    fn place(config: &Config) -> Result<Place, Failure> {
        let door = config.admission()?;
        Ok(Place::Tcp { listen: door.listen, tls: Some((door.certificate.clone(), door.key.clone())) })
    }

    fn make(config: &Config, decider: Arc<Decider>) -> Result<Made, Failure> {
        let config = config.admission()?;
        let door = Admission::configured(decider as Arc<dyn Decides>, config);
        let router = door.router();
        let leave: Box<dyn Fn() + Send + Sync> = Box::new(move || door.leave());
        Ok(Made { router, leave: Some((leave, config.drain)) })
    }
}

/// The proxy in front of a registry.
pub(crate) struct RegistryDoor;

impl Door for RegistryDoor {
    const NAME: &'static str = "registry";

    fn metrics(config: &MetricsConfig) -> Option<SocketAddr> {
        config.registry
    }

    fn place(config: &Config) -> Result<Place, Failure> {
        let door = config.registry()?;
        registry::check(door)?;
        Ok(Place::Tcp { listen: door.listen, tls: door.certificate.clone().zip(door.key.clone()) })
    }

    fn make(config: &Config, decider: Arc<Decider>) -> Result<Made, Failure> {
        Ok(registry::router(config.registry()?, decider)?.into())
    }
}

/// The authorization plugin of a Docker Engine.
pub(crate) struct DockerDoor;

impl Door for DockerDoor {
    const NAME: &'static str = "docker";

    fn metrics(config: &MetricsConfig) -> Option<SocketAddr> {
        config.docker
    }

    fn place(config: &Config) -> Result<Place, Failure> {
        Ok(Place::Local(config.docker()?.socket.clone()))
    }

    fn make(config: &Config, decider: Arc<Decider>) -> Result<Made, Failure> {
        Ok(docker::router(config.docker()?, decider).into())
    }
}

/// What the image verifier of containerd asks.
pub(crate) struct ContainerdDoor;

impl Door for ContainerdDoor {
    const NAME: &'static str = "containerd";

    fn metrics(config: &MetricsConfig) -> Option<SocketAddr> {
        config.containerd
    }

    fn place(config: &Config) -> Result<Place, Failure> {
        Ok(Place::Local(config.containerd()?.socket.clone()))
    }

    fn make(config: &Config, decider: Arc<Decider>) -> Result<Made, Failure> {
        Ok(containerd::router(config.containerd()?, decider).into())
    }
}
