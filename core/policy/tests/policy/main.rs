//! The promises of the policy crate, against it from outside. One program, so that Cedar is linked once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test program

mod bounds;
mod casing;
mod common;
mod deciding;
mod differential;
mod excepting;
mod formatting;
mod lifting;
mod linting;
mod loading;
mod properties;
mod schema;
mod second;
mod shipped;
mod table;
mod traps;
mod trial;
