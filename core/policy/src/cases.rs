//! Cases: what the rules must decide on written facts, and how that compares with what they do.
//!
//! Invariants: a case decides by the engine that gates use; what a case says of an image could be signed so (limits and forms
//! of facts hold), and a misspelt member is refused, so that no case holds of something that nobody asked. Deliberately absent:
//! files (the caller reads them), clocks (a case has a time of its own), exceptions.

mod read;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

pub use self::read::{CaseError, MAX_CASES, MAX_FILE_LEN, read};
use crate::decision::{Cause, Decision};
use crate::environment::Environment;
use crate::load::{Place, Policy};
use crate::subject::{Action, Subject};
use crate::text;

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is about, in words.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Where the image is to run.
    pub environment: Environment,
    /// What is to be done with it.
    pub action: Action,
    /// The time of the decision, in seconds since 1970.
    pub now: i64,
    /// The image.
    pub subject: Subject,
    /// What must be decided.
    pub expected: Expected,
}

/// What must be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Whether it may pass.
    pub allowed: bool,
    /// Ids of exactly those rules that decide, sorted; `None`: whichever.
    pub rules: Option<Vec<String>>,
    /// Why; `None`: whatever the reason.
    pub cause: Option<Cause>,
}

/// How one case came out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CaseResult {
    /// What it is about.
    pub name: String,
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// Whether it was decided as expected.
    pub passed: bool,
    /// What differs.
    pub differences: Vec<Difference>,
    /// The decision, of a case that failed.
    pub decision: Option<Decision>,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// `decision`, `rules` or `cause`.
    pub what: String,
    /// As the case says.
    pub expected: String,
    /// As it was decided.
    pub found: String,
}

/// How all cases came out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CaseReport {
    /// The cases, as they were given.
    pub cases: Vec<CaseResult>,
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// Ids of rules that decided no platform in any case, sorted.
    pub untouched: Vec<String>,
}

/// Decides all cases.
pub fn run(policy: &Policy, cases: &[Case]) -> CaseReport {
    let mut untouched: BTreeSet<&str> = policy.rules().map(|rule| rule.id.as_str()).collect();
    let mut results = Vec::with_capacity(cases.len());
    for case in cases {
        let decision = policy.decide(&case.environment, case.action, &case.subject, case.now);
        for id in decision.platforms.iter().flat_map(|platform| &platform.rules) {
            untouched.remove(id.as_str());
        }
        let differences = differences(policy, &case.expected, &decision);
        let passed = differences.is_empty();
        results.push(CaseResult {
            name: case.name.clone(),
            path: case.place.path.clone(),
            line: case.place.line,
            column: case.place.column,
            passed,
            differences,
            decision: (!passed).then_some(decision),
        });
    }
    let passed = results.iter().filter(|result| result.passed).count();
    CaseReport {
        passed,
        failed: results.len().saturating_sub(passed),
        untouched: untouched.into_iter().map(str::to_owned).collect(),
        cases: results,
    }
}

fn differences(policy: &Policy, expected: &Expected, decision: &Decision) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, expected: String, found: String| {
        if expected != found {
            differences.push(Difference { what: what.to_owned(), expected, found });
        }
    };
    let word = |allowed: bool| if allowed { "allow" } else { "deny" }.to_owned();
    differ("decision", word(expected.allowed), word(decision.allowed));
    if let Some(rules) = &expected.rules {
        let told = |rules: &[String]| match rules {
            [] => "none".to_owned(),
            rules => rules.iter().map(|id| text::printable(id)).collect::<Vec<_>>().join(", "),
        };
        let is_known = |id: &&String| policy.rules().any(|rule| rule.id == **id);
        let mut wanted = told(rules);
        for id in rules.iter().filter(|id| !is_known(id)) {
            let nearest = text::nearest(id, policy.rules().map(|rule| rule.id.as_str()));
            let nearest = nearest.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            wanted.push_str(&format!(" (there is no rule {}{nearest})", text::printable(id)));
        }
        differ("rules", wanted, told(&deciding(decision)));
    }
    if let Some(cause) = expected.cause {
        differ("cause", cause_word(cause), cause_word(decision.cause));
    }
    differences
}

/// The rules that decided, sorted. Where nothing permits, none did.
fn deciding(decision: &Decision) -> Vec<String> {
    match decision.cause {
        Cause::NothingPermits => Vec::new(),
        _ => decision.rules.iter().map(|rule| rule.id.clone()).collect(),
    }
}

/// As it stands in JSON: `nothing-permits`.
fn cause_word(cause: Cause) -> String {
    serde_json::to_value(cause).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

impl CaseResult {
    /// What went wrong, in lines for a person; empty if nothing did.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for Difference { what, expected, found } in &self.differences {
            out.push_str(&format!("{what:<8}  expected {expected}\n{:<8}  found    {found}\n", ""));
        }
        out.push_str(&self.decision.as_ref().map(Decision::text).unwrap_or_default());
        out
    }
}
