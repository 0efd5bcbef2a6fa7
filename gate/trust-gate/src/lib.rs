//! The enforcing program: an image passes only if it is verified and allowed, and then only as the verified digest.
//!
//! Two doors: [`admission`] answers Kubernetes, [`registry`] stands in front of a registry. Both ask the same decider
//! (trust-decide), which verifies from roots that are pinned in the configuration. Invariants: no answer means no; a door
//! passes on nothing but the digest that was decided on. Deliberately absent: verifying and deciding themselves, and any
//! question to the server whether an image is fine.

pub mod admission;
pub mod cli;
pub mod config;
pub mod decides;
mod health;
pub mod registry;
pub mod start;

#[cfg(test)]
mod testing;
