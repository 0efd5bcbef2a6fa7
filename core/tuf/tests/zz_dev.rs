#![allow(missing_docs, unused, clippy::all)]
extern crate self as trust_tests;
#[path = "../../../tests/src/simulator/mod.rs"]
pub mod simulator;
#[path = "../../../tests/tests/attacks_update.rs"]
mod attacks_update;
#[path = "../../../tests/tests/attacks_root.rs"]
mod attacks_root;
#[path = "../../../tests/tests/attacks_keys.rs"]
mod attacks_keys;
#[path = "../../../tests/tests/attacks_delegations.rs"]
mod attacks_delegations;
#[path = "../../../tests/tests/attacks_bytes.rs"]
mod attacks_bytes;
#[path = "../../../tests/tests/repository_rules.rs"]
mod repository_rules;
