//! Update, persistent trusted state and verification: what every relying party needs.
//!
//! A [`reader::Reader`] is made from a pinned root ([`anchor`]), the state on disk ([`state`]), a way to fetch files
//! ([`transport`], [`http`]) and a time; it verifies images ([`verify`]). What goes wrong is a [`verdict::Problem`] from
//! the one table of [`catalogue`]. Deliberately absent: private keys, a clock, policy, and printing.

pub mod anchor;
pub mod api;
pub mod catalogue;
mod clock;
pub mod http;
pub mod layout;
pub mod limits;
pub mod problems;
pub mod reader;
pub mod registry;
pub mod reserved;
pub mod sources;
pub mod state;
pub mod target;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod transport;
mod update;
pub mod verdict;
pub mod verify;
pub mod view;

pub use update::CLOCK_TOLERANCE;
