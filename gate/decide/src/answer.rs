//! A question and its answer: one value for text, exit code, JSON, a webhook's reply and the log.

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use trust_image::{Digest, Reference};
use trust_policy::{Action, Cause, Decision, Effect};
use trust_reader::catalogue::{Code, exit};
use trust_reader::verdict::{Problem, success};
use trust_reader::verify::VerifiedImage;
use trust_tuf::UtcTime;

/// Facts of a problem that a line has.
const MAX_FACTS: usize = 8;

/// May this image pass here?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The image reference as it was given.
    pub image: &'a str,
    /// The namespace that it is to run in; it chooses the environment.
    pub namespace: Option<&'a str>,
    /// What is to be done with it.
    pub action: Action,
    /// Which door asks, for the log.
    pub door: &'static str,
    /// The user or client, for the log.
    pub whom: &'a str,
    /// Whether nothing comes of the answer, for the log.
    pub dry_run: bool,
    /// What the door makes of a denial, for the log.
    pub mode: Mode,
    /// Whether a reference without a digest is denied: what runs would be what the registry says, and not what was verified.
    pub digest_only: bool,
}

/// What a door makes of a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It denies.
    #[default]
    Enforce,
    /// It warns, and lets pass.
    Warn,
    /// It lets pass, and only the log and the metrics know.
    Audit,
}

impl Mode {
    /// `enforce`, `warn` or `audit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Audit => "audit",
        }
    }
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The image that was asked for, fit for printing.
    pub image: String,
    /// The name of the environment that it was decided for.
    pub environment: String,
    /// The outcome.
    pub outcome: Outcome,
    /// Why it was decided for this environment, if nobody named one; said with the policy's denials.
    pub note: Option<String>,
}

/// Yes or no.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It may pass, as exactly the digest of [`Allowed::pinned`].
    Allowed(Arc<Allowed>),
    /// It may not.
    Denied(Arc<Denied>),
}

/// What may pass.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// What was verified.
    pub verified: VerifiedImage,
    /// The image by its verified digest: the only thing that may pass.
    pub pinned: Reference,
    /// The same as it was given: with its tag. `None` if that and the digest are no one reference.
    pub given: Option<Arc<str>>,
    /// What the policy said; `None` where signatures alone decide.
    pub decision: Option<Decision>,
    /// The first second at which this answer does not hold any more.
    pub until: UtcTime,
    /// [`Answer::line`], made once: every use of a kept decision is logged with it.
    pub(crate) line: String,
    /// What each line of the log has of it, once one was written.
    logged: OnceLock<Vec<u8>>,
}

impl Allowed {
    pub(crate) fn new(
        given: &str,
        verified: VerifiedImage,
        pinned: Reference,
        decision: Option<Decision>,
        until: UtcTime,
    ) -> Self {
        let given = trust_image::pin::pinned(given, &verified.digest).map(Arc::from);
        let line = match &decision {
            Some(decision) => format!("{pinned}: {}", decision.line()),
            None => {
                let names: Vec<&str> = verified.signers.iter().map(|s| s.name.as_str()).collect();
                format!("{pinned}: signed by {}", trust_reader::verdict::printable(&names.join(", ")))
            }
        };
        Self { verified, pinned, given, decision, until, line, logged: OnceLock::new() }
    }

    /// The same until another time.
    pub(crate) fn lasting(&self, until: UtcTime) -> Self {
        Self { until, logged: OnceLock::new(), ..self.clone() }
    }

    pub(crate) fn logged(&self) -> &[u8] {
        self.logged.get_or_init(|| crate::log::of_allow(self))
    }
}

/// Why something may not pass.
#[derive(Debug, Clone)]
pub struct Denied {
    /// The reason.
    pub problem: Problem,
    /// What the policy said, if it was asked.
    pub decision: Option<Decision>,
    /// The verified digest, if it came that far.
    pub digest: Option<Digest>,
    /// Who signed it, if it came that far.
    pub signers: Vec<String>,
}

impl Denied {
    pub(crate) fn new(problem: Problem) -> Self {
        Self { problem, decision: None, digest: None, signers: Vec::new() }
    }
}

impl Answer {
    /// Whether the image may pass.
    pub fn is_allowed(&self) -> bool {
        matches!(self.outcome, Outcome::Allowed(_))
    }

    /// What the policy said, if it was asked.
    pub fn decision(&self) -> Option<&Decision> {
        match &self.outcome {
            Outcome::Allowed(allowed) => allowed.decision.as_ref(),
            Outcome::Denied(denied) => denied.decision.as_ref(),
        }
    }

    /// The collection that speaks for the image, if one does.
    pub fn collection(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Allowed(allowed) => Some(&allowed.verified.collection),
            Outcome::Denied(denied) => denied.problem.subject.collection.as_deref(),
        }
    }

    /// The exit code that a command with this answer has: 0 only for an allow.
    pub fn exit(&self) -> u8 {
        match &self.outcome {
            Outcome::Allowed(_) => exit::DONE,
            Outcome::Denied(denied) => denied.problem.exit(),
        }
    }

    /// One line for whoever asked: what was decided, by which rule or for which reason, and for what is not signed whom to
    /// ask. Neither addresses of servers nor lists of what else is signed.
    pub fn line(&self) -> String {
        self.line_with(people_line)
    }

    /// The same with all facts, for the log.
    pub(crate) fn log_line(&self) -> String {
        self.line_with(problem_line)
    }

    fn line_with(&self, line: impl Fn(&Problem) -> String) -> String {
        match &self.outcome {
            Outcome::Allowed(allowed) => allowed.line.clone(),
            Outcome::Denied(denied) => match &denied.decision {
                Some(decision) => {
                    let note = self.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
                    format!("{} ({}){note}", decision.line(), denied.problem.id())
                }
                None => line(&denied.problem),
            },
        }
    }

    /// The JSON document (`trust/v1`) with the environment, and the policy's decision if it was asked.
    pub fn json(&self) -> Value {
        let mut document = match &self.outcome {
            Outcome::Allowed(allowed) => success(&allowed.verified),
            Outcome::Denied(denied) => denied.problem.json(),
        };
        if let Some(members) = document.as_object_mut() {
            members.insert("environment".to_owned(), self.environment.clone().into());
            if let Some(decision) = self.decision() {
                members.insert("decision".to_owned(), serde_json::to_value(decision).unwrap_or_default());
            }
            if let Outcome::Allowed(allowed) = &self.outcome {
                members.insert("until".to_owned(), allowed.until.to_string().into());
            }
        }
        document
    }
}

/// A problem in one line: what happened, its id, and the facts.
pub(crate) fn problem_line(problem: &Problem) -> String {
    line_without(problem, &["image"])
}

/// The same for people who are not operators: without where the trust data comes from, and what else is signed.
pub(crate) fn people_line(problem: &Problem) -> String {
    let mut line = line_without(problem, &["image", "server", "address", "url", "signed tags"]);
    if matches!(problem.code, Code::NotSigned | Code::NoPin)
        && let Some(step) = problem.remedy.first()
    {
        line.push_str("; ");
        line.push_str(step);
    }
    line
}

fn line_without(problem: &Problem, hidden: &[&str]) -> String {
    let mut line = format!("{} ({})", problem.headline, problem.id());
    for (label, value) in problem.facts.iter().filter(|(label, _)| !hidden.contains(&label.as_str())).take(MAX_FACTS) {
        line.push_str("; ");
        line.push_str(label);
        line.push(' ');
        line.push_str(value);
    }
    line
}

/// The problem that a denial of the policy is: the same words as those of `trust verify --env`.
pub(crate) fn problem_of(decision: &Decision, image: &VerifiedImage) -> Problem {
    let place = format!("{} is denied in {}", image.reference, decision.environment.name);
    let (code, headline) = match decision.cause {
        // A decision that contradicts itself allows nothing.
        Cause::Permitted | Cause::Excepted | Cause::Error => {
            let place = format!("{} in {}", image.reference, decision.environment.name);
            (Code::PolicyFailed, format!("the policy could not be evaluated on {place}"))
        }
        Cause::Forbidden => {
            let rules: Vec<&str> = decision.rules.iter().map(|rule| rule.id.as_str()).collect();
            (Code::PolicyDenied, format!("{place} by rule {}", rules.join(", ")))
        }
        Cause::NothingPermits => (Code::PolicyDenied, format!("{place}: no rule permits it there")),
        Cause::NoFacts => (Code::PolicyDenied, format!("{place}: its signature says nothing about its content")),
        Cause::LabelMissing => {
            (Code::LabelMissing, format!("{place}: a label is missing that the dictionary requires"))
        }
        Cause::LabelOutside => {
            (Code::LabelOutside, format!("{place}: a label has a value that is not in the dictionary"))
        }
    };
    let policy = format!("{} v{}", decision.policy.collection, decision.policy.version);
    let mut problem = Problem::new(code)
        .headline(headline)
        .fact("image", &image.reference)
        .fact("digest", image.digest)
        .within(&image.collection);
    for rule in &decision.rules {
        let said = rule.title.as_ref().or(rule.reason.as_ref()).map(|text| format!(": {text}")).unwrap_or_default();
        let label = if rule.effect == Effect::Forbid { "forbidden by" } else { "not met" };
        problem = problem.fact(label, format!("{}{said}", rule.id));
    }
    for fact in &decision.facts {
        problem = problem.fact("fact", format!("{}  {}", fact.said(), fact.origin));
    }
    for error in &decision.errors {
        problem = problem.fact("found", error);
    }
    if let Some(reason) = decision.rules.iter().find_map(|rule| rule.reason.as_ref()) {
        problem = problem.cause(reason);
    }
    if let Some(contact) = decision.rules.iter().find_map(|rule| rule.contact.as_ref()) {
        problem = problem.remedy([format!("run it where it is allowed, or ask {contact}")]);
    }
    if decision.cause == Cause::NoFacts {
        problem = problem.remedy(["sign the image again with a current program: its facts are then signed with it"]);
    }
    problem.fact("policy", policy)
}
