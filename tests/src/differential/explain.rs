//! Kinds of differences: which reader says what where ours says something else. Who is right, and by which sentence, is in
//! `docs/disagreements.md`; the ids here and there are the same.
//!
//! A kind is recognised by who differs, by the reason of the one that refuses, and by what was done to the repository.

use super::case::Facts;
use super::kinds::KINDS;
use super::readers::{Found, Who};

/// Who went on where the other stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Further {
    /// Ours: the other is the stricter one.
    Ours,
    /// The other: ours is the stricter one.
    Theirs,
    /// Nobody stopped, and they found different things.
    Neither,
}

/// A difference between ours and another reader.
#[derive(Debug)]
pub struct Difference<'a> {
    /// The other.
    pub who: Who,
    /// The path, if it is about a look-up and not about the update.
    pub path: Option<&'a str>,
    /// Who went on.
    pub further: Further,
    /// Why ours stopped, if it did.
    pub ours: Option<&'a str>,
    /// Why the other stopped, if it did.
    pub theirs: Option<&'a str>,
    /// What they found, if it is about a look-up.
    pub found: Option<(&'a Found, &'a Found)>,
}

/// A kind of difference that is understood.
pub struct Kind {
    /// Its id in `docs/disagreements.md`.
    pub id: &'static str,
    /// Whose difference it is.
    pub who: &'static [Who],
    /// Who goes on.
    pub further: Further,
    /// One of these stands in the reason of the one that stops; none are needed if there are none.
    pub reasons: &'static [&'static str],
    /// What else must be so.
    pub when: fn(&Difference<'_>, &Facts) -> bool,
}

/// The kind of a difference.
pub fn explain(difference: &Difference<'_>, facts: &Facts) -> Option<&'static Kind> {
    let reason = match difference.further {
        Further::Ours => difference.theirs,
        Further::Theirs => difference.ours,
        Further::Neither => None,
    };
    KINDS.iter().find(|kind| {
        kind.who.contains(&difference.who)
            && kind.further == difference.further
            && (kind.reasons.is_empty() || kind.reasons.iter().any(|r| reason.is_some_and(|text| text.contains(r))))
            && (kind.when)(difference, facts)
    })
}
