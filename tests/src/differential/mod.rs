//! One repository, several readers: what ours believes against what sigstore-tuf, tough and python-tuf believe.
//!
//! A seed makes a repository of two publications ([`scene`]), changes it in one to three ways ([`mutate`]), and lets every
//! reader load it ([`readers`], [`python`]): cold after the first publication, warm after the second, and cold after the
//! second. Whether the refresh is accepted, the trusted versions, and what each of several paths is found to be must be the
//! same, or the difference must be of a kind that `docs/disagreements.md` explains ([`explain`]).
//!
//! Not here: targets' bytes (a reader's own tests), time limits, and what only a repository of ours may contain.

pub mod case;
pub mod explain;
pub mod kinds;
pub mod mutate;
pub mod python;
pub mod readers;
pub mod scene;
pub mod text;

pub use case::{Case, Report, Unexplained, run};
