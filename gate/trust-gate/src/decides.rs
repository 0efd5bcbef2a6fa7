//! What the doors need of the decider, so that they can be tested without one.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;
use trust_decide::{Entry, Unentered};
use trust_image::Digest;

use crate::config::Mode;

/// A question: may this image run there?
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The reference, as it stands in the object.
    pub image: &'a str,
    /// The namespace that it is to run in.
    pub namespace: Option<&'a str>,
    /// Which door asks, for the log.
    pub door: &'static str,
    /// Who asks, for the log.
    pub whom: &'a str,
    /// Nothing will run; for the log.
    pub dry_run: bool,
    /// What becomes of a denial; for the log.
    pub mode: Mode,
    /// A tag alone is denied: this is what runs.
    pub digest_only: bool,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The verified digest, if the image may run; it may then run as nothing but this.
    pub digest: Option<Digest>,
    /// The image as it was given, with that digest; `None` if the two are no one reference.
    pub pinned: Option<Arc<str>>,
    /// The id of the exception that lets it run, if one does.
    pub exception: Option<String>,
    /// One line for people: why not, or which exception lets it. Else empty.
    pub line: String,
    /// What rules in trial would decide, for people: one line each.
    pub trials: Vec<String>,
    /// The environment that it was decided for.
    pub environment: String,
    /// The policy that decided, as `NAME@VERSION`.
    pub policy: Option<String>,
}

/// Whoever has an answer to each question.
pub trait Judges {
    /// Decides on one image.
    fn decide(&self, asked: &Asked<'_>) -> Verdict;
}

/// What is waited for until entries are written.
pub type Entering<'d> = Pin<Box<dyn Future<Output = Result<(), Unentered>> + Send + 'd>>;

/// Decides. No network is used in it; [`Judges::decide`] may wait for the disk of its log, and the rest does not.
pub trait Decides: Judges + Send + Sync + 'static {
    /// Decides on one image, and gives what is to be entered before anybody hears of it.
    fn draft(&self, asked: &Asked<'_>) -> (Verdict, Entry) {
        (self.decide(asked), Entry::default())
    }

    /// The same at once, if it was decided before; `None` if it is still to be decided.
    fn draft_known(&self, _asked: &Asked<'_>) -> Option<(Verdict, Entry)> {
        None
    }

    /// Enters what was drafted, until soon after this moment. After a failure nothing of it may be said.
    fn enter(&self, _entries: Vec<Entry>, _until: Instant) -> Entering<'_> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Why it cannot decide at all, if it cannot.
    fn trouble(&self) -> Option<String>;

    /// How it is, in detail; null if it does not know.
    fn report(&self) -> Value {
        Value::Null
    }
}

impl Verdict {
    /// A denial for this reason.
    pub fn denied(line: &str) -> Self {
        let (line, environment) = (line.to_owned(), String::new());
        Self { digest: None, pinned: None, exception: None, line, trials: Vec::new(), environment, policy: None }
    }
}

/// Answers one whole request, and keeps what is to be entered before its answer is given.
pub struct Drafting<'d> {
    decider: &'d dyn Decides,
    only_known: bool,
    entries: RefCell<Vec<Entry>>,
    is_unknown: Cell<bool>,
}

impl<'d> Drafting<'d> {
    /// Decides whatever is asked.
    pub fn all(decider: &'d dyn Decides) -> Self {
        Self { decider, only_known: false, entries: RefCell::default(), is_unknown: Cell::new(false) }
    }

    /// Decides only what was decided before.
    pub fn known(decider: &'d dyn Decides) -> Self {
        Self { only_known: true, ..Self::all(decider) }
    }

    /// What is to be entered. `None` if something was not known: then what was answered is no answer.
    pub fn entries(self) -> Option<Vec<Entry>> {
        (!self.is_unknown.get()).then(|| self.entries.into_inner())
    }
}

impl Judges for Drafting<'_> {
    fn decide(&self, asked: &Asked<'_>) -> Verdict {
        let drafted = match self.only_known {
            // One that is not known makes the rest useless.
            true if self.is_unknown.get() => None,
            true => self.decider.draft_known(asked),
            false => Some(self.decider.draft(asked)),
        };
        let Some((verdict, entry)) = drafted else {
            self.is_unknown.set(true);
            return Verdict::denied("not decided yet");
        };
        self.entries.borrow_mut().push(entry);
        verdict
    }
}
