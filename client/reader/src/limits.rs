//! The one table of limits on fetching: time, rate, redirects, places to read from. Reaching one is an error that names it.
//!
//! The other half of the table, limits on what the files say and how long they are, is [`trust_tuf::limits`].

use std::time::Duration;

/// How long a connection may take to come up.
pub const CONNECT: Duration = Duration::from_secs(10);
/// How long nothing may come on a connection.
pub const IDLE: Duration = Duration::from_secs(30);
/// How long one file may take, and one update of the top-level files or the loading of one role in all (`--timeout`).
pub const WHOLE: Duration = Duration::from_secs(60);
/// A body comes with at least this many bytes a second, once [`GRACE`] is over.
pub const LEAST_RATE: u64 = 1_024;
/// How long a body may come slower than [`LEAST_RATE`].
pub const GRACE: Duration = Duration::from_secs(10);
/// Redirects that one fetch follows.
pub const REDIRECTS: usize = 3;
/// Mirrors beside a server.
pub const MIRRORS: usize = 8;
/// How long mirrors are waited for once another place has given a usable answer.
pub const LAG: Duration = Duration::from_secs(3);
/// Longest token, in bytes.
pub const TOKEN_BYTES: usize = 4_096;
