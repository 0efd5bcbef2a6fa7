//! A publication in two steps: verified and signed while the server's disk is busy, made durable and answered when the
//! server says that its own half is on the disk.
//!
//! Invariants: a prepared publication is a value in memory and nothing else. No mark, no audit entry and no byte of it is
//! anywhere before `commit`, so that dropping it (the connection ends, something else is asked, the process dies) leaves
//! nothing behind. What is committed is exactly what `publish` would have made at this moment: for the same second, the same
//! marks and the same keys; otherwise everything is done again. That the server waited for its disk is the server's concern:
//! nothing here depends on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use trust_tuf::UtcTime;
use trust_wire::Base64;
use trust_wire::signer::{Reply, Signed};

use crate::collection::Collection;
use crate::core::SignerCore;
use crate::fail_point::fail_point;
use crate::publish::{Asked, Counted, Made};
use crate::refusal::No;

/// Bytes of role files of a collection up to which what is made of them is held until `commit`.
const HELD_BYTES: usize = 1024 * 1024;

/// A publication that waits for its `commit`.
pub struct Prepared(State);

enum State {
    /// Refused, or not possible now: what is answered to `commit`.
    No(No),
    /// All of it is done at `commit`: a first publication, one that was the last one already, or one of a large collection.
    Whole(Asked),
    /// Verified and signed at this time.
    Made { asked: Asked, at: UtcTime, made: Box<Made> },
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.0 {
            State::No(_) => "no",
            State::Whole(_) => "whole",
            State::Made { .. } => "made",
        };
        f.debug_tuple("Prepared").field(&state).finish()
    }
}

impl SignerCore {
    /// Verifies a publication and makes its files. Nothing is durable, nothing leaves. It counts by rule S10, committed or not.
    pub fn prepare(
        &mut self,
        now: UtcTime,
        collection: &str,
        roots: Vec<Base64>,
        roles: BTreeMap<String, Base64>,
        grant: Option<Base64>,
    ) -> Prepared {
        let asked = match Asked::read(collection, roots, roles, grant) {
            Ok(asked) => asked,
            Err(no) => return Prepared(State::No(no)),
        };
        let known = match self.check_broken().and_then(|()| self.take(&asked.name)) {
            // It would stay in memory with what is made of it, for each connection that shows one.
            Ok(Some(known)) if known.bytes() > HELD_BYTES => {
                self.cache.put(asked.name.clone(), known);
                return Prepared(State::Whole(asked));
            }
            Ok(Some(known)) => known,
            Ok(None) => return Prepared(State::Whole(asked)),
            Err(no) => return Prepared(State::No(no)),
        };
        let made = self.make_next(now, &known, &asked, Counted::No);
        self.cache.put(asked.name.clone(), known);
        let state = match made {
            Ok(Some(made)) => State::Made { asked, at: now, made: Box::new(made) },
            Ok(None) => State::Whole(asked),
            Err(no) => State::No(no),
        };
        fail_point("signer.prepared");
        Prepared(state)
    }

    /// Makes a prepared publication durable, and answers it.
    pub fn commit_prepared(&mut self, now: UtcTime, prepared: Prepared) -> Reply {
        let signed = match prepared.0 {
            State::No(no) => Err(no),
            State::Whole(asked) => self.check_broken().and_then(|()| self.publish(now, &asked, Counted::No)),
            State::Made { asked, at, made } => self.check_broken().and_then(|()| self.finish(now, &asked, at, *made)),
        };
        signed.map_or_else(No::into_reply, Reply::Published)
    }

    fn finish(&mut self, now: UtcTime, asked: &Asked, at: UtcTime, made: Made) -> Result<Signed, No> {
        let known = self.take(&asked.name)?;
        if now == at && known.as_ref().is_some_and(|known| was_made_from(&made, known)) {
            self.check_clock(now)?;
            return self.mark(now, made);
        }
        if let Some(known) = known {
            self.cache.put(asked.name.clone(), known);
        }
        self.publish(now, asked, Counted::Already)
    }
}

/// Whether the collection is still as it was when this was made: marks and online keys. Everything else of it changes with
/// its marks only.
fn was_made_from(made: &Made, known: &Collection) -> bool {
    made.change.expected.as_ref() == Some(&known.marks)
        && made.from_keys.len() == known.keys.len()
        && made.from_keys.iter().zip(&known.keys).all(|(a, b)| Arc::ptr_eq(&a.key, &b.key) && a.named == b.named)
}
