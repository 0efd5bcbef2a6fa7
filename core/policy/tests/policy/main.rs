//! The promises of the policy crate, against it from outside. One program, so that Cedar is linked once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test program

mod common;
mod deciding;
mod excepting;
mod loading;
mod properties;
mod schema;
mod shipped;
mod traps;
