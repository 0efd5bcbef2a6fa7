//! How a decider is: what an operator, a readiness probe and metrics look at.

use serde_json::{Value, json};
use trust_policy::PolicyIdentity;
use trust_reader::verdict::Problem;
use trust_tuf::UtcTime;

/// How a decider is.
#[derive(Debug, Clone)]
pub struct Health {
    /// Whether it can decide: the policy was loaded, and every collection was verified once. A collection that could not be
    /// refreshed for too long does not count against it: such a gate says why it denies, one that is not asked says nothing.
    pub ready: bool,
    /// The collections, in the order of the settings.
    pub collections: Vec<CollectionHealth>,
    /// The policy; `None` where signatures alone decide.
    pub policy: Option<PolicyHealth>,
    /// The last line of the audit log, as `SEQ:DIGEST`: kept elsewhere, it shows whether the log lost its end. `None` where
    /// decisions are not logged.
    pub log: Option<String>,
    /// Why nothing at all is allowed now, if that is so: the clock or the log.
    pub problem: Option<Problem>,
}

/// How a collection is.
#[derive(Debug, Clone)]
pub struct CollectionHealth {
    /// Its name.
    pub name: String,
    /// When the last successful refresh began; `None`: there was none.
    pub refreshed: Option<UtcTime>,
    /// When its first top-level file expires.
    pub expires: Option<UtcTime>,
    /// Whether its images can be decided on now: neither expired nor without a refresh for too long.
    pub usable: bool,
    /// What the last refresh failed with.
    pub problem: Option<Problem>,
}

/// How the policy is.
#[derive(Debug, Clone)]
pub struct PolicyHealth {
    /// The policy in force.
    pub identity: Option<PolicyIdentity>,
    /// Why the newest one is not in force, or why none is usable.
    pub problem: Option<Problem>,
    /// Since when the newest one does not load: after [`crate::BAD_POLICY_GRACE`] seconds everything is denied.
    pub failing_since: Option<UtcTime>,
    /// How many exceptions hold now.
    pub exceptions: usize,
    /// Why exceptions could not be had or read.
    pub exceptions_problem: Option<Problem>,
}

impl Health {
    /// The JSON document.
    pub fn json(&self) -> Value {
        let problem = |problem: &Option<Problem>| {
            problem.as_ref().map(|p| json!({"code": p.id(), "text": crate::answer::people_line(p)}))
        };
        let time = |time: &Option<UtcTime>| time.map(|t| t.to_string());
        let collection = |c: &CollectionHealth| {
            json!({
                "name": c.name,
                "refreshed": time(&c.refreshed),
                "expires": time(&c.expires),
                "usable": c.usable,
                "problem": problem(&c.problem),
            })
        };
        let policy = self.policy.as_ref().map(|p| {
            json!({
                "identity": p.identity,
                "problem": problem(&p.problem),
                "failing_since": time(&p.failing_since),
                "exceptions": p.exceptions,
                "exceptions_problem": problem(&p.exceptions_problem),
            })
        });
        json!({
            "ready": self.ready,
            "collections": self.collections.iter().map(collection).collect::<Vec<_>>(),
            "policy": policy,
            "log": self.log,
            "problem": problem(&self.problem),
        })
    }
}
