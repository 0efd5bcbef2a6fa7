//! The enforcing program: an image passes only if it is verified and allowed, and then only as the verified digest.
//!
//! Four doors: [`admission`] answers Kubernetes (and [`gatekeeper`]), [`registry`] stands in front of a registry, [`docker`] and
//! [`containerd`] answer engines on their machine. All ask the same decider (trust-decide), which verifies from roots that are pinned in the configuration. Invariants: no answer means no; a door
//! passes on nothing but the digest that was decided on. Deliberately absent: verifying and deciding themselves, and any
//! question to the server whether an image is fine.

pub mod admission;
mod audit;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod containerd;
pub mod decides;
pub mod docker;
mod doors;
pub mod gatekeeper;
mod health;
pub mod local;
mod metrics;
pub mod registry;
mod serve;
pub mod start;

#[cfg(test)]
mod testing;
