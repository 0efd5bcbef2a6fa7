//! Repository simulator, end to end, attacks, crashes, interoperability, benchmarks.
pub mod bench;
pub mod conformance;
pub mod demo;
pub mod differential;
pub mod fuzz;
pub mod helm;
pub mod hostile;
pub mod interop;
pub mod interop_real;
pub mod property;
pub mod simulator;
pub mod stack;
