//! An in-memory TUF repository that can be made wrong on purpose, and clients to attack with it.
//!
//! A test changes one number, publishes, refreshes, and asserts the exact reason and the exact files on disk. Metadata
//! are JSON trees here and not the types of `trust-tuf`, so that what those types cannot hold can be published too.
//!
//! - [`Repository`] holds the role files as they would be written next, and who signs them; publishing puts bytes on the
//!   [`Wire`].
//! - [`Wire`] is what a client sees: files by name, faults, and a record of requests.
//! - [`Client`] is what is attacked: [`Stages`] drives the state machine of `trust-tuf` with a disk in memory,
//!   [`reader::ReaderClient`] is the shipped reader on a real folder.
//! - [`World`] is one repository with one client at one time.

pub mod client;
pub mod keys;
pub mod reader;
pub mod repository;
pub mod served;
pub mod stages;
pub mod wire;
pub mod world;

pub use client::{Answer, Client, Failure};
pub use keys::TestKey;
pub use repository::{Delegate, Repository, RoleDocument};
pub use served::{PERMITS, Served, over_http};
pub use stages::Stages;
pub use wire::{Fault, Wire, WireError};
pub use world::{NOW, World, days, now, refused};
