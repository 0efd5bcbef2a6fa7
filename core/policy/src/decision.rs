//! What was decided, and why: one value that gives text, a line, JSON and the exit code.
//!
//! Invariant: `allowed` is true exactly if `cause` is [`Cause::Permitted`], or [`Cause::Excepted`] with the exception named. Values are as they were signed; text made of
//! them is escaped. Deliberately absent: the decision itself (decide).

use schemars::JsonSchema;
use serde::Serialize;

use crate::environment::Environment;
use crate::load::PolicyIdentity;
use crate::subject::Action;
use crate::text;
use crate::trial::Trial;

/// Exit code of a permitted image.
pub const EXIT_PERMITTED: u8 = 0;
/// Exit code of a denial.
pub const EXIT_DENIED: u8 = 20;
/// Exit code of rules that could not be evaluated.
pub const EXIT_FAILED: u8 = 21;

/// Widest column of facts, in characters.
const MAX_COLUMN: usize = 48;
/// Facts or errors in one line.
const MAX_IN_LINE: usize = 4;

/// Why it was decided so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// On every runnable platform a rule permits it, and none forbids it.
    Permitted,
    /// A rule forbids it.
    Forbidden,
    /// No rule permits it.
    NothingPermits,
    /// A governed label has a value that the dictionary does not know.
    LabelOutside,
    /// A label is missing that the dictionary requires of this image.
    LabelMissing,
    /// There are no signed facts, or no platform in them that a runtime can start.
    NoFacts,
    /// A rule denies it, and a signed exception lifts that for now.
    Excepted,
    /// A rule could not be evaluated; it might have been the one that forbids.
    Error,
}

/// Of one platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A rule permits it and none forbids it.
    Permitted,
    /// A rule forbids it.
    Forbidden,
    /// No rule permits it.
    NothingPermits,
    /// Its governed label has an unknown value; no rule was asked.
    LabelOutside,
    /// It lacks a label that the dictionary requires; no rule was asked.
    LabelMissing,
    /// A rule failed on it.
    Error,
    /// No rule was asked, because another platform has a governed label with an unknown value.
    NotReached,
}

/// What a rule does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It permits, if nothing forbids.
    Permit,
    /// It forbids, whatever permits.
    Forbid,
}

/// How one platform was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlatformDecision {
    /// `linux/amd64`.
    pub platform: String,
    /// Digest of this platform's manifest.
    pub digest: String,
    /// The decision.
    pub verdict: Verdict,
    /// Ids of the rules that decided it, sorted.
    pub rules: Vec<String>,
}

/// A rule that decided. If nothing permits: one that could have permitted and did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleHit {
    /// Its `@id`.
    pub id: String,
    /// What it does when it matches.
    pub effect: Effect,
    /// Its `@title`.
    pub title: Option<String>,
    /// Its `@reason`.
    pub reason: Option<String>,
    /// Its `@contact`.
    pub contact: Option<String>,
    /// The platforms that it decided.
    pub platforms: Vec<String>,
}

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FactKind {
    /// A member of the environment.
    Environment,
    /// A label of the environment.
    EnvironmentLabel,
    /// A label of an image config.
    ImageLabel,
    /// An annotation of the signed manifest or index.
    ImageAnnotation,
    /// What the signers stated, which no digest covers.
    ImageStatement,
    /// Another fact of the image.
    Image,
    /// The time of the decision.
    Time,
}

/// A fact that the deciding rules read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsedFact {
    /// What it is about.
    pub kind: FactKind,
    /// `cloud`, `com.example.data`, `signers`.
    pub name: String,
    /// The value as it was signed or set; several as `a, b`. `None`: absent.
    pub value: Option<String>,
    /// Where it comes from, in words.
    pub origin: String,
}

/// A decision on one image in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Decision {
    /// Whether it may pass.
    pub allowed: bool,
    /// Why.
    pub cause: Cause,
    /// The runnable platforms, in the order of the facts.
    pub platforms: Vec<PlatformDecision>,
    /// The rules that decided, sorted by id.
    pub rules: Vec<RuleHit>,
    /// What those rules read.
    pub facts: Vec<UsedFact>,
    /// What failed, and what is outside the dictionary.
    pub errors: Vec<String>,
    /// Where it was to run.
    pub environment: Environment,
    /// What was to be done.
    pub action: Action,
    /// The rules that were in force.
    pub policy: PolicyIdentity,
    /// Ids of the rules that had no part in the decision.
    pub rules_not_reached: Vec<String>,
    /// What rules in trial would decide, where that is something else.
    pub trials: Vec<Trial>,
    /// The exception that lifted a denial. What was denied, and why, stays told: `rules`, `facts`, `platforms`.
    pub exception: Option<ExceptionUsed>,
}

/// An exception that lifted a denial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExceptionUsed {
    /// Its name: `_exceptions/ID.json`.
    pub id: String,
    /// Why it was granted, in the words of who granted it.
    pub reason: String,
    /// When its signer says that it was granted: `YYYY-MM-DDTHH:MM:SSZ`.
    pub granted: String,
    /// The first second at which it does not hold any more.
    pub expires: String,
    /// Names of those who signed it.
    pub signed_by: Vec<String>,
}

impl Decision {
    /// 0 permitted, 20 denied, 21 could not be evaluated.
    pub fn exit(&self) -> u8 {
        match self.cause {
            Cause::Permitted | Cause::Excepted => EXIT_PERMITTED,
            Cause::Error => EXIT_FAILED,
            _ => EXIT_DENIED,
        }
    }

    /// Several lines for a person, without a line break at the end.
    pub fn text(&self) -> String {
        let word = if self.allowed { "ALLOW" } else { "DENY" };
        let mut rows: Vec<(&str, String, String)> = Vec::new();
        for fact in &self.facts {
            rows.push((fact.kind.words(), fact.said(), fact.origin.clone()));
        }
        let differ = self.platforms.iter().any(|p| self.platforms.first().is_some_and(|f| f.verdict != p.verdict));
        if differ {
            let told: Vec<String> =
                self.platforms.iter().map(|p| format!("{} {}", p.platform, p.verdict.words())).collect();
            rows.push(("platforms", told.join(", "), String::new()));
        }
        for error in &self.errors {
            rows.push(("error", error.clone(), String::new()));
        }
        if let Some(exception) = &self.exception {
            rows.push(("exception", format!("{}, {}", exception.id, exception.words()), String::new()));
            rows.push(("granted for", text::printable(&exception.reason), String::new()));
        }
        for rule in &self.rules {
            let permits = rule.effect == Effect::Permit && self.cause != Cause::Permitted && self.cause != Cause::Error;
            let label = if permits { "no match" } else { "rule" };
            rows.push((label, rule.titled(), String::new()));
            if self.has_several() {
                // Several rules, each with what it says itself: whose reason it is must not be guessed.
                let told = [("reason", &rule.reason), ("contact", &rule.contact)].into_iter();
                rows.extend(told.filter_map(|(l, t)| Some((l, text::printable(t.as_deref()?), String::new()))));
            }
        }
        let once = [("reason", self.distinct(|r| &r.reason)), ("contact", self.distinct(|r| &r.contact))];
        for (label, texts) in once.into_iter().filter(|_| !self.has_several()) {
            rows.extend(texts.into_iter().map(|told| (label, told, String::new())));
        }
        rows.extend(self.trials.iter().map(|trial| ("trial", trial.line(), String::new())));
        if !self.rules_not_reached.is_empty() {
            rows.push(("not reached", self.rules_not_reached.join(", "), String::new()));
        }
        let width = rows.iter().map(|(label, ..)| label.len()).max().unwrap_or(0);
        let facts = rows.iter().filter(|(.., origin)| !origin.is_empty());
        let column = facts.map(|(_, said, _)| said.chars().count()).max().unwrap_or(0).min(MAX_COLUMN);
        let mut out = format!("{word}  {}  ({})", self.headline(), self.policy_words());
        for (label, said, origin) in rows {
            match origin.is_empty() {
                true => out.push_str(&format!("\n  {label:width$}  {said}")),
                false => out.push_str(&format!("\n  {label:width$}  {said:column$}  {origin}")),
            }
        }
        out
    }

    /// One line for a webhook or a registry client: rule, fact, origin, contact.
    pub fn line(&self) -> String {
        let mut parts = vec![self.headline()];
        parts.extend(self.exception.iter().map(|e| format!("{}, for: {}", e.words(), text::printable(&e.reason))));
        if self.has_several() {
            parts.extend(self.rules.iter().take(MAX_IN_LINE).map(RuleHit::in_line));
        } else if self.cause == Cause::Forbidden {
            parts.extend(self.distinct(|rule| &rule.title));
        }
        parts.extend(self.errors.iter().take(MAX_IN_LINE).cloned());
        if self.errors.is_empty() {
            parts.extend(self.facts.iter().take(MAX_IN_LINE).map(|fact| format!("{} {}", fact.said(), fact.origin)));
        }
        if !self.allowed && !self.has_several() {
            parts.extend(self.distinct(|rule| &rule.contact).first().map(|contact| format!("contact {contact}")));
        }
        parts.push(self.policy_words());
        parts.join("; ")
    }

    /// Whether several rules forbid.
    fn has_several(&self) -> bool {
        matches!(self.cause, Cause::Forbidden | Cause::Excepted) && self.rules.len() > 1
    }

    /// What decided, in a few words.
    fn headline(&self) -> String {
        let ids: Vec<&str> = self.rules.iter().map(|rule| rule.id.as_str()).collect();
        let lifted =
            if ids.is_empty() { "that no rule permits it".to_owned() } else { format!("rule {}", ids.join(", ")) };
        let rules = format!("{} {}", if ids.len() == 1 { "rule" } else { "rules" }, ids.join(", "));
        match self.cause {
            Cause::Permitted => rules,
            Cause::Forbidden => rules,
            Cause::NothingPermits => "no rule permits it".to_owned(),
            Cause::LabelMissing => "a label is missing that the dictionary requires".to_owned(),
            Cause::Excepted => match &self.exception {
                Some(exception) => format!("exception {} lifts {lifted}", exception.id),
                None => "an exception".to_owned(),
            },
            Cause::LabelOutside => "a governed label has a value that the dictionary does not know".to_owned(),
            Cause::NoFacts => "there is nothing signed to decide by".to_owned(),
            Cause::Error if ids.is_empty() => "the rules could not be evaluated".to_owned(),
            Cause::Error => format!("{rules} could not be evaluated"),
        }
    }

    fn policy_words(&self) -> String {
        let PolicyIdentity { collection, version, signed_by, .. } = &self.policy;
        let mut words = format!("policy {}", text::printable(collection));
        if *version > 0 {
            words.push_str(&format!(" v{version}"));
        }
        if !signed_by.is_empty() {
            words.push_str(&format!(", signed by {}", text::printable(&signed_by.join(", "))));
        }
        words
    }

    /// What the deciding rules say of one kind, each text once.
    fn distinct(&self, of: impl Fn(&RuleHit) -> &Option<String>) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for said in self.rules.iter().filter_map(|rule| of(rule).as_deref()).map(text::printable) {
            if !texts.contains(&said) {
                texts.push(said);
            }
        }
        texts
    }
}

impl ExceptionUsed {
    fn words(&self) -> String {
        let signed_by = text::printable(&self.signed_by.join(", "));
        format!("granted {}, holds until {}, signed by {signed_by}", self.granted, self.expires)
    }
}

impl RuleHit {
    /// The rule with its own reason and contact.
    fn in_line(&self) -> String {
        let mut told = self.titled();
        for (word, said) in [("reason", &self.reason), ("contact", &self.contact)] {
            if let Some(said) = said {
                told.push_str(&format!(", {word} {}", text::printable(said)));
            }
        }
        told
    }

    pub(crate) fn titled(&self) -> String {
        match &self.title {
            Some(title) => format!("{}: {}", self.id, text::printable(title)),
            None => self.id.clone(),
        }
    }
}

impl UsedFact {
    /// `com.example.data = "PII"`, with what is not ASCII named.
    pub fn said(&self) -> String {
        match &self.value {
            Some(value) => format!("{}{} = {}", self.name, text::foreign(&self.name), text::quoted(value)),
            None => format!("{}{} is absent", self.name, text::foreign(&self.name)),
        }
    }
}

impl FactKind {
    fn words(self) -> &'static str {
        match self {
            FactKind::Environment => "environment",
            FactKind::EnvironmentLabel => "environment label",
            FactKind::ImageLabel => "image label",
            FactKind::ImageAnnotation => "image annotation",
            FactKind::ImageStatement => "statement",
            FactKind::Image => "image",
            FactKind::Time => "time",
        }
    }
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Verdict::Permitted => "permitted",
            Verdict::Forbidden => "forbidden",
            Verdict::NothingPermits => "not permitted",
            Verdict::LabelOutside => "outside the dictionary",
            Verdict::LabelMissing => "lacks a required label",
            Verdict::Error => "failed",
            Verdict::NotReached => "not reached",
        }
    }
}
