//! What is logged of one answer: one JSON object, without its place in the log.
//!
//! Deliberately absent: secrets, and whatever of a question is not fit for printing (it is escaped).

use serde::Serialize;
use trust_policy::{ExceptionUsed, Trial};
use trust_reader::verdict::printable;
use trust_tuf::UtcTime;

use crate::answer::{Answer, Outcome, Question};
use crate::stats::answered;

/// The `schema` of each line.
const SCHEMA: &str = "trust/decision/v1";

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    time: String,
    door: &'static str,
    action: &'static str,
    image: &'a str,
    namespace: Option<String>,
    environment: &'a str,
    whom: String,
    dry_run: bool,
    decision: &'static str,
    mode: &'static str,
    answer: &'static str,
    code: Option<&'static str>,
    exit: u8,
    reason: String,
    digest: Option<String>,
    collection: Option<&'a str>,
    signers: Vec<&'a str>,
    policy: Option<PolicyRef<'a>>,
    rules: Vec<&'a str>,
    trials: Vec<TrialRef<'a>>,
    exception: Option<ExceptionUsed>,
    until: Option<String>,
}

#[derive(Serialize)]
struct PolicyRef<'a> {
    collection: &'a str,
    version: u64,
    digest: &'a str,
}

#[derive(Serialize)]
struct TrialRef<'a> {
    mode: &'static str,
    would: &'static str,
    rules: Vec<&'a str>,
}

/// The line of an answer.
pub(crate) fn line(question: &Question<'_>, answer: &Answer, time: UtcTime) -> Vec<u8> {
    let decision = answer.decision();
    let signers = match &answer.outcome {
        Outcome::Allowed(allowed) => allowed.verified.signers.iter().map(|signer| signer.name.as_str()).collect(),
        Outcome::Denied(denied) => denied.signers.iter().map(String::as_str).collect(),
    };
    let (code, until, digest) = match &answer.outcome {
        Outcome::Allowed(allowed) => (None, Some(allowed.until.to_string()), Some(allowed.verified.digest)),
        Outcome::Denied(denied) => (Some(denied.problem.id()), None, denied.digest),
    };
    let line = Line {
        schema: SCHEMA,
        time: time.to_string(),
        door: question.door,
        action: question.action.as_str(),
        image: &answer.image,
        namespace: question.namespace.map(printable),
        environment: &answer.environment,
        whom: printable(question.whom),
        dry_run: question.dry_run,
        decision: if answer.is_allowed() { "allow" } else { "deny" },
        mode: question.mode.as_str(),
        answer: answered(answer.is_allowed(), question.mode),
        code,
        exit: answer.exit(),
        reason: answer.log_line(),
        digest: digest.map(|digest| digest.to_string()),
        collection: answer.collection(),
        signers,
        policy: decision.map(|d| PolicyRef {
            collection: &d.policy.collection,
            version: d.policy.version,
            digest: &d.policy.digest,
        }),
        rules: decision.iter().flat_map(|d| d.rules.iter().map(|rule| rule.id.as_str())).collect(),
        trials: decision.iter().flat_map(|d| &d.trials).map(TrialRef::of).collect(),
        exception: decision.and_then(|d| d.exception.as_ref()).map(shown),
        until,
    };
    // Strings, numbers and lists: nothing of which serialisation fails.
    serde_json::to_vec(&line).unwrap_or_default()
}

impl<'a> TrialRef<'a> {
    fn of(trial: &'a Trial) -> Self {
        let would = if trial.allowed { "allow" } else { "deny" };
        Self { mode: trial.mode.as_str(), would, rules: trial.rules.iter().map(|rule| rule.id.as_str()).collect() }
    }
}

/// An exception fit for printing: its reason is a text of whoever granted it.
fn shown(used: &ExceptionUsed) -> ExceptionUsed {
    ExceptionUsed { reason: printable(&used.reason), ..used.clone() }
}
