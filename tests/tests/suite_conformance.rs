//! The cases of the public conformance suite as tests of our own (docs/conformance.md: which function of the suite is which
//! test here). The suite itself is run by `tests/tools/conformance.sh`.

#[path = "suite_conformance/client.rs"]
mod client;
#[path = "suite_conformance/downloads.rs"]
mod downloads;
#[path = "suite_conformance/graphs.rs"]
mod graphs;
#[path = "suite_conformance/rotations.rs"]
mod rotations;
#[path = "suite_conformance/state.rs"]
mod state;
#[path = "suite_conformance/table.rs"]
mod table;
