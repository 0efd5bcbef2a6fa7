//! The attacks and the rules of repositories that `tests/tests` drives, against this crate alone: a test binary that is
//! built in seconds, so that mutation testing (`tests/tools/mutants.sh`) can run it for each mutant.
//!
//! The files are those of `tests/`, included. Only the shipped reader is not here, and what is meant for it is left out.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "the included files are tests and their support"
)]

extern crate self as trust_tests;

#[macro_export]
macro_rules! with_the_reader {
    ($($left_out:tt)*) => {};
}

#[path = "../../../tests/src/simulator"]
pub mod simulator {
    pub mod client;
    pub mod keys;
    pub mod repository;
    pub mod stages;
    pub mod wire;
    pub mod world;

    pub use client::{Answer, Client, Failure};
    pub use keys::TestKey;
    pub use repository::{Delegate, Repository, RoleDocument};
    pub use stages::Stages;
    pub use wire::{Fault, Wire, WireError};
    pub use world::{NOW, World, days, now, refused};

    pub mod reader {
        pub type ReaderClient = super::Stages;
    }
}

#[path = "../../../tests/tests"]
mod attacks {
    mod attacks_bytes;
    mod attacks_delegations;
    mod attacks_keys;
    mod attacks_root;
    mod attacks_update;
    mod repository_rules;
}

#[path = "rules"]
mod rules {
    mod names;
    mod said;
}
