//! Policies as this command uses them: a folder that people write, or what a collection has in force.
//!
//! Invariants: a policy exists only after strict loading; one from a folder is never taken for a signed one: it says so in
//! every answer that rests on it. Deliberately absent: rules and their evaluation (`trust_policy`), and how the files are
//! fetched and verified (the reader).

pub mod consequences;
pub mod difference;
pub mod exceptions;
pub mod fault;
pub mod folder;
pub mod images;
pub mod in_force;
pub mod judge;
pub mod labels;
pub mod roles;

pub use judge::Judge;
