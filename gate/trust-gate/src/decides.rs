//! What the doors need of the decider, so that they can be tested without one.

use serde_json::Value;
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

/// Decides. No network is used in it; it may wait for the disk of its log.
pub trait Decides: Send + Sync + 'static {
    /// Decides on one image.
    fn decide(&self, asked: &Asked<'_>) -> Verdict;

    /// Why it cannot decide at all, if it cannot.
    fn trouble(&self) -> Option<String>;

    /// How it is, in detail; null if it does not know.
    fn report(&self) -> Value {
        Value::Null
    }
}
