//! Repository simulator, end to end, attacks, crashes, interoperability, benchmarks.
