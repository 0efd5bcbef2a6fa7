//! Rules on signed facts: facts and environment in, decision out.
//!
//! The façade over Cedar (docs/decisions/0003), the one crate that uses it. Invariants: a set of rules that does not pass
//! strict validation against [`SCHEMA`] does not exist as a [`Policy`]; every runnable platform must be permitted; whatever
//! fails denies. Deliberately absent: IO, a clock, fetching and verifying (the reader), caching (trust-decide).

pub mod cases;
pub mod decision;
pub mod dictionary;
pub mod environment;
pub mod exceptions;
#[doc(hidden)]
pub mod floor;
pub mod load;
pub mod shipped;
pub mod subject;

mod cost;
mod decide;
mod entities;
mod explain;
mod fmt;
mod lexer;
mod lint;
mod members;
mod reads;
mod same;
mod spot;
mod text;
mod time;
mod told;
mod trial;

pub use cost::MAX_STEPS;
pub use decision::{Cause, Decision, Effect, ExceptionUsed, FactKind, PlatformDecision, RuleHit, UsedFact, Verdict};
pub use dictionary::{Dictionary, DictionaryError, DictionaryFile, Meaning};
pub use environment::{Cloud, Environment, EnvironmentError};
pub use exceptions::{Exception, ExceptionError, ExceptionFile, Exceptions, NotLifted};
pub use fmt::{FormatError, format_labels, format_rules};
pub use lexer::Excess;
pub use lint::{Finding, FindingKind, Severity, lint};
pub use load::{LoadError, Place, Policy, PolicyIdentity, RuleInfo, Source};
pub use reads::ReadProblem;
pub use subject::{Action, Subject, UnknownAction};
pub use text::nearest;
pub use trial::{RuleMode, Trial};

/// The model that rules are written against, in Cedar's schema language; `schemas/policy.cedarschema` is the same.
pub const SCHEMA: &str = include_str!("model.cedarschema");
/// The version of [`SCHEMA`]: a rule says `@schema("N")` if it needs at least version N.
pub const SCHEMA_VERSION: u64 = 1;
