//! TUF metadata, signature checks and the trusted-set state machine.
//!
//! This crate holds the trust rules and touches nothing: bytes and a time come in, a value or a named reason
//! goes out. Deliberately absent: files, sockets, clocks, randomness, async, private keys.
//!
//! Invariants:
//! - what is verified is the canonical form of the bytes as received, never of a re-serialised structure;
//! - [`Verified`] is made only by the threshold check in [`verify`], so a value of that type is its proof;
//! - members that this crate does not know survive reading, editing ([`draft`]) and writing.
//!
//! Specification: The Update Framework 1.0.34; section numbers in this crate refer to it.

pub mod draft;
mod edwards;
pub mod envelope;
pub mod error;
pub mod example_keys;
pub mod json;
pub mod keys;
mod known;
pub mod limits;
pub mod lookup;
pub mod model;
pub mod names;
pub mod repository;
pub mod reserved;
mod shape;
pub mod time;
pub mod trusted;
pub mod verify;

pub use error::{MetadataError, Reason, UpdateError};
pub use keys::{KeyError, KeyId, PublicKey, Signature};
pub use model::{
    Bins, Delegation, Delegations, Hashes, MetaEntry, RoleKeys, Root, Snapshot, TargetInfo, Targets, Timestamp,
};
pub use names::{CollectionName, NameError, RoleName, RoleType, Version};
pub use time::UtcTime;
pub use verify::Verified;
