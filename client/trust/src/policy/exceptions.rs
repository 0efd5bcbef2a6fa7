//! Exceptions that a policy collection has in force, as this command reads them.
//!
//! Invariants: they come from the one role that counts, as everything reserved; what cannot be read lifts nothing, is told,
//! and never stops the rules. Deliberately absent: what an exception lifts (`trust_policy::exceptions`).

use trust_policy::{Exception, Exceptions};
use trust_reader::reserved::ReservedSet;
use trust_tuf::UtcTime;

use super::in_force::{SignedRole, sources_of};
use crate::app::App;
use crate::session::Session;
use crate::style;

/// The kind of reserved target.
pub const KIND: &str = "_exceptions";

/// What is signed, and what of it cannot be used.
#[derive(Debug, Clone, Default)]
pub struct Granted {
    /// The exceptions, expired ones among them.
    pub all: Exceptions,
    /// Who says so; nothing if the role could not be read.
    pub role: Option<SignedRole>,
    /// What could not be read, one line each.
    pub unread: Vec<String>,
}

impl Granted {
    /// Reads them. This never fails: what is missing only lifts nothing.
    pub fn read(app: &App, session: &mut Session) -> Granted {
        match app.wait(session.reader.reserved(KIND)) {
            Ok(set) => Granted::of(&set),
            Err(problem) => {
                let unread = format!("no exception can be read: {} {}", problem.id(), style::plain(&problem.headline));
                Granted { unread: vec![unread], ..Granted::default() }
            }
        }
    }

    /// Those of a verified set.
    pub fn of(set: &ReservedSet) -> Granted {
        let role = SignedRole::of(set);
        let (all, unread) = Exceptions::read(&sources_of(set), &role.signed_by());
        Granted { all, role: Some(role), unread }
    }

    /// Those that hold now.
    pub fn in_force(&self, now: UtcTime) -> Vec<&Exception> {
        self.all.in_force(now.unix()).collect()
    }
}
