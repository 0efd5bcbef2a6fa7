//! What a local door asks the decider, and what it hears.
//!
//! Invariant: a [`Ruling`] is made of one answer and adds nothing to it; what is not an allow with a digest is a denial.

use std::sync::Arc;

use serde_json::Value;
use trust_decide::{Decider, Outcome, Question};
use trust_image::Digest;
use trust_policy::Action;

use crate::config::Mode;
use crate::decides::Decides;

/// One question.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The reference.
    pub(crate) image: String,
    /// What is to be done with it.
    pub(crate) action: Action,
    /// Which door asks, for the log.
    pub(crate) door: &'static str,
    /// Who asks, for the log.
    pub(crate) whom: String,
    /// What becomes of a denial; for the log.
    pub(crate) mode: Mode,
    /// A tag alone is denied.
    pub(crate) digest_only: bool,
    /// Whether this is a step on the way, and not the answer: it is not in the log.
    pub(crate) quiet: bool,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// The verified digest, if the image may pass: as nothing but this.
    pub(crate) digest: Option<Digest>,
    /// One line for people.
    pub(crate) line: String,
}

/// The decider, as local doors need it. It may wait for the disk of its log.
pub(crate) trait Rules: Send + Sync {
    /// Decides on one image.
    fn rule(&self, asked: &Asked) -> Ruling;

    /// Why it cannot decide at all, if it cannot.
    fn trouble(&self) -> Option<String>;

    /// How it is, in detail; null if it does not know.
    fn report(&self) -> Value {
        Value::Null
    }
}

/// The decider of this program.
pub(crate) struct Deciding(pub(crate) Arc<Decider>);

impl Rules for Deciding {
    fn rule(&self, asked: &Asked) -> Ruling {
        let question = Question {
            image: &asked.image,
            namespace: None,
            action: asked.action,
            door: asked.door,
            whom: &asked.whom,
            dry_run: false,
            mode: asked.mode.into(),
            digest_only: asked.digest_only,
        };
        let Deciding(decider) = self;
        let answer = if asked.quiet { decider.consider(&question) } else { decider.decide(&question) };
        let digest = match &answer.outcome {
            Outcome::Allowed(allowed) => Some(allowed.verified.digest),
            Outcome::Denied(_) => None,
        };
        Ruling { digest, line: answer.line() }
    }

    fn trouble(&self) -> Option<String> {
        Decides::trouble(self.0.as_ref())
    }

    fn report(&self) -> Value {
        Decides::report(self.0.as_ref())
    }
}
