//! The isolated signer: holds the online keys of every collection and does not believe the server.
//!
//! Each publication is verified again from the signer's own trusted root and its own copies; snapshot and timestamp are
//! built here, never taken. Mark, audit entries and signatures are one durable transaction of its own store.
//!
//! Deliberately absent: HTTP, TLS, any network but a Unix socket; images, policy; a request that signs given bytes, or
//! exports, lists or deletes a private key.

pub mod admission;
pub mod audit;
pub mod cli;
mod collection;
pub mod config;
pub mod core;
mod fail_point;
mod keys;
pub mod online_role;
mod prepare;
mod publish;
mod rate;
pub mod refusal;
mod resign;
mod sign;
pub mod socket;
pub mod store;
pub mod vault;

pub use config::Config;
pub use core::SignerCore;
pub use online_role::OnlineRole;
pub use prepare::Prepared;
pub use refusal::{No, RuleId};
pub use store::Store;
pub use vault::{Entropy, OsEntropy, Vault};
