#![allow(missing_docs, unused, clippy::all)]
extern crate self as trust_tests;
#[path = "../../../tests/src/simulator/mod.rs"]
pub mod simulator;
#[path = "../../../tests/tests/attacks_update.rs"]
mod attacks_update;
