//! Repository simulator, end to end, attacks, crashes, interoperability, benchmarks.
pub mod bench;
pub mod demo;
pub mod interop;
pub mod simulator;
pub mod stack;
