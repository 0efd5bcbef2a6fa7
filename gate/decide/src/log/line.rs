//! What is logged of one answer: one JSON object, without its place in the log.
//!
//! Deliberately absent: secrets, and whatever of a question is not fit for printing (it is escaped).

use serde::Serialize;
use trust_image::Digest;
use trust_policy::{Decision, ExceptionUsed, Trial};
use trust_reader::catalogue::exit;
use trust_reader::verdict::printable;
use trust_tuf::UtcTime;

use crate::answer::{Allowed, Answer, Outcome, Question};
use crate::stats::answered;

/// The `schema` of each line.
const SCHEMA: &str = "trust/decision/v1";
/// Bytes of a usual line, with its place in the chain.
const USUAL_LEN: usize = 1_536;

/// What was asked, when, and the answer in a word: another one in each line.
#[derive(Serialize)]
struct Asked<'a> {
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
}

/// What was answered, and what that rests on: the same as long as an allow is the same.
#[derive(Serialize)]
struct Answered<'a> {
    code: Option<&'static str>,
    exit: u8,
    reason: &'a str,
    digest: Option<Digest>,
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
    let asked = Asked {
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
    };
    let mut line = Vec::with_capacity(USUAL_LEN);
    // Strings, numbers and lists: nothing of which serialisation fails. A line without its begin is no object, and refused.
    if serde_json::to_writer(&mut line, &asked).is_err() {
        return Vec::new();
    }
    // Two objects become one.
    line.pop();
    line.push(b',');
    let begin = line.len();
    match &answer.outcome {
        Outcome::Allowed(allowed) => line.extend_from_slice(allowed.logged()),
        Outcome::Denied(denied) => {
            let (code, digest) = (Some(denied.problem.id()), denied.digest);
            let signers = denied.signers.iter().map(String::as_str).collect();
            let reason = answer.log_line();
            let of = of(&reason, answer.collection(), signers, answer.decision());
            line.extend_from_slice(&written(&Answered { code, exit: answer.exit(), digest, ..of }));
        }
    }
    line.drain(begin..begin.saturating_add(1));
    line
}

/// What a line has of an allow: made once, logged with each use of it.
pub(crate) fn of_allow(allowed: &Allowed) -> Vec<u8> {
    let verified = &allowed.verified;
    let signers = verified.signers.iter().map(|signer| signer.name.as_str()).collect();
    let of = of(&allowed.line, Some(&verified.collection), signers, allowed.decision.as_ref());
    written(&Answered { digest: Some(verified.digest), until: Some(allowed.until.to_string()), ..of })
}

fn of<'a>(
    reason: &'a str,
    collection: Option<&'a str>,
    signers: Vec<&'a str>,
    decision: Option<&'a Decision>,
) -> Answered<'a> {
    Answered {
        code: None,
        exit: exit::DONE,
        reason,
        digest: None,
        collection,
        signers,
        policy: decision.map(|d| PolicyRef {
            collection: &d.policy.collection,
            version: d.policy.version,
            digest: &d.policy.digest,
        }),
        rules: decision.iter().flat_map(|d| d.rules.iter().map(|rule| rule.id.as_str())).collect(),
        trials: decision.iter().flat_map(|d| &d.trials).map(TrialRef::of).collect(),
        exception: decision.and_then(|d| d.exception.as_ref()).map(shown),
        until: None,
    }
}

fn written(answered: &Answered<'_>) -> Vec<u8> {
    serde_json::to_vec(answered).unwrap_or_default()
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
