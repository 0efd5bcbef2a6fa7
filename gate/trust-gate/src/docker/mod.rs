//! The door of a Docker Engine: an authorization plugin, which the engine asks before it acts.
//!
//! A call becomes a route ([`route`]); what brings in or starts an image is judged ([`judge`]): pulls by what the request says,
//! containers by what the engine itself says it holds ([`engine`]), since names on an engine are whatever its users make of
//! them. Invariants: a request that may change something passes only if it is known here and harmless, or if every image in it is
//! signed and allowed now; what another reader could take for something else is denied; no answer means no. Deliberately
//! absent: answers of the engine (`AuthZRes` always passes), who may use the engine at all, and what the interface does not
//! show: the tar of a load or build, and streams after an upgrade.

mod body;
mod call;
mod door;
mod engine;
mod judge;
mod route;

#[cfg(test)]
mod mutated_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use trust_decide::Decider;

use crate::config::DockerConfig;
use crate::local::{Deciding, Rules};

use self::engine::Engine;

/// The service of this door.
pub fn router(config: &DockerConfig, decider: Arc<Decider>) -> Router {
    let rules: Arc<dyn Rules> = Arc::new(Deciding(decider));
    door::router(config, rules, Engine::at(&config.engine))
}
