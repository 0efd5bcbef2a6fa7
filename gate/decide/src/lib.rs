//! Image reference in, decision out: reader, policy, caches and log as one service.
//!
//! A [`Decider`] keeps a verified view of each pinned collection and the policy in memory, refreshes them beside, and
//! answers [`Question`]s from them: no network, no verification twice, and nothing passes that is not in the log.
//!
//! Invariants:
//! - an allow is given only for what a view verified, the policy permits, no deadline has passed for, and the log has;
//! - every failure is a denial with its reason, and none is kept longer than a few seconds;
//! - what was trusted last stays in use when a refresh fails, until its deadlines deny.
//!
//! Deliberately absent: doors (trust-gate), configuration files, and any question to a server whether an image is fine.

mod answer;
mod clock;
mod collection;
mod decider;
mod folder;
mod health;
mod log;
mod policy;
mod settings;
pub mod stats;
mod transport;

pub use answer::{Allowed, Answer, Denied, Mode, Outcome, Question};
pub use clock::{Clock, SystemClock};
pub use decider::{Counters, Decider, Draft, Entry, Unentered};
pub use folder::Hold;
pub use health::{CollectionHealth, Health, PolicyHealth};
pub use log::verify as audit;
pub use policy::BAD_POLICY_GRACE;
pub use settings::{Environments, Pinned, PolicyFrom, Settings, StartError};
pub use transport::AnyTransport;
