//! A second, simple meaning of rules and dictionary, in plain Rust and without Cedar: slow, and written from the
//! documentation. What it says is compared with what the program decides.
//!
//! Rules are trees of conditions that write themselves as Cedar ([`Rule::text`]) and judge by themselves; the shipped rules
//! stand here once more as code ([`shipped`]).

// Used by the tests of the crate and by the fuzz targets, which want different parts of it.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};

use trust_image::PlatformFacts;
use trust_policy::{Action, Cloud, Decision, Effect, Environment, Subject};

pub(crate) const KEY: &str = "com.example.data";

/// Cause, deciding rules, and of each platform the verdict and its rules, in the words of the JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) cause: &'static str,
    pub(crate) rules: BTreeSet<String>,
    pub(crate) platforms: Vec<(String, &'static str, Vec<String>)>,
}

/// What a decision says, in the same form.
pub(crate) fn told(decision: &Decision) -> Judged {
    let word = |value: serde_json::Value| match value.as_str().unwrap_or_default() {
        "permitted" => "permitted",
        "forbidden" => "forbidden",
        "nothing-permits" => "nothing-permits",
        "label-outside" => "label-outside",
        "label-missing" => "label-missing",
        "no-facts" => "no-facts",
        "not-reached" => "not-reached",
        "excepted" => "excepted",
        "error" => "error",
        other => panic!("an unknown word: {other}"),
    };
    let platform = |p: &trust_policy::PlatformDecision| {
        (p.platform.clone(), word(serde_json::to_value(p.verdict).unwrap()), p.rules.clone())
    };
    Judged {
        cause: word(serde_json::to_value(decision.cause).unwrap()),
        rules: decision.rules.iter().map(|rule| rule.id.clone()).collect(),
        platforms: decision.platforms.iter().map(platform).collect(),
    }
}

/// The dictionary that is shipped: the value that a text means, and whether it is fit for public clouds. All are fit for
/// private ones.
fn meaning(text: &str) -> Option<(&'static str, bool)> {
    match text {
        "public" => Some(("public", true)),
        "internal" => Some(("internal", false)),
        "PII" | "pii" => Some(("PII", false)),
        _ => None,
    }
}

/// What a rule sees of one platform.
pub(crate) struct Seen<'a> {
    pub(crate) env: &'a Environment,
    pub(crate) action: Action,
    pub(crate) subject: &'a Subject,
    pub(crate) platform: &'a PlatformFacts,
    /// After aliases.
    pub(crate) labels: BTreeMap<&'a str, &'a str>,
    /// Whether the governed key is present and fit here.
    pub(crate) fit: bool,
    pub(crate) runnable: BTreeSet<&'a str>,
    pub(crate) tags: BTreeSet<&'a str>,
    pub(crate) now: i64,
}

/// The rule could not be evaluated.
pub(crate) struct Failed;

type Answer = Result<bool, Failed>;

/// A rule that judges.
pub(crate) struct Judge {
    pub(crate) id: String,
    pub(crate) effect: Effect,
    pub(crate) actions: Vec<Action>,
    pub(crate) matches: Box<dyn Fn(&Seen<'_>) -> Answer>,
}

/// The decision by the shipped dictionary and these rules.
pub(crate) fn decide(judges: &[Judge], env: &Environment, action: Action, subject: &Subject, now: i64) -> Judged {
    let none = || Judged { cause: "no-facts", rules: BTreeSet::new(), platforms: Vec::new() };
    let Some(facts) = &subject.facts else { return none() };
    let runnable: Vec<&PlatformFacts> = facts.platforms.iter().filter(|p| p.platform != "unknown/unknown").collect();
    if runnable.is_empty() {
        return none();
    }
    // Labels first. What is not in the dictionary denies, whatever the rules say.
    let outside = |labels: &BTreeMap<String, String>| labels.get(KEY).is_some_and(|value| meaning(value).is_none());
    let annotated = outside(&facts.annotations) || outside(&facts.stated);
    if annotated || runnable.iter().any(|p| outside(&p.labels)) {
        let word = |p: &PlatformFacts| if annotated || outside(&p.labels) { "label-outside" } else { "not-reached" };
        let platforms = runnable.iter().map(|p| (p.platform.clone(), word(p), Vec::new())).collect();
        return Judged { cause: "label-outside", rules: BTreeSet::new(), platforms };
    }
    let private = env.cloud == Cloud::Private;
    let is_fit = |value: &String| meaning(value).is_some_and(|(_, public)| private || public);
    let contradicted = [&facts.annotations, &facts.stated].iter().any(|said| said.get(KEY).is_some_and(|v| !is_fit(v)));
    // What cannot be put before the rules is not judged by any.
    let unusable = time(&facts.signed).is_none() || !(-62_135_596_800..=253_402_300_799).contains(&now);
    let mut platforms = Vec::new();
    for platform in &runnable {
        let seen = Seen {
            env,
            action,
            subject,
            platform,
            labels: platform.labels.iter().map(|(key, value)| (key.as_str(), after_alias(key, value))).collect(),
            fit: platform.labels.get(KEY).is_some_and(is_fit) && !contradicted,
            runnable: runnable.iter().map(|p| p.platform.as_str()).collect(),
            tags: facts.tags.iter().map(String::as_str).chain(subject.reference.tag()).collect(),
            now,
        };
        let mut hits: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for judge in judges.iter().filter(|judge| judge.actions.contains(&action)) {
            let kind = match (judge.matches)(&seen) {
                Err(Failed) => "error",
                Ok(false) => continue,
                Ok(true) if judge.effect == Effect::Forbid => "forbidden",
                Ok(true) => "permitted",
            };
            hits.entry(kind).or_default().push(judge.id.clone());
        }
        let (verdict, mut rules) =
            match ["error", "forbidden", "permitted"].into_iter().find(|kind| hits.contains_key(kind)) {
                _ if unusable => ("error", Vec::new()),
                Some(kind) => (kind, hits.remove(kind).unwrap_or_default()),
                None => ("nothing-permits", Vec::new()),
            };
        rules.sort();
        platforms.push((platform.platform.clone(), verdict, rules));
    }
    let cause = ["error", "forbidden", "nothing-permits", "permitted"]
        .into_iter()
        .find(|cause| platforms.iter().any(|(_, verdict, _)| verdict == cause))
        .unwrap_or("permitted");
    let mut rules: BTreeSet<String> =
        platforms.iter().filter(|(_, verdict, _)| *verdict == cause).flat_map(|(.., rules)| rules.clone()).collect();
    if cause == "nothing-permits" {
        // Those that could have, sixteen at most.
        let could = judges.iter().filter(|j| j.effect == Effect::Permit && j.actions.contains(&action));
        let sorted: BTreeSet<String> = could.map(|judge| judge.id.clone()).collect();
        rules = sorted.into_iter().take(16).collect();
    }
    Judged { cause, rules, platforms }
}

fn after_alias<'a>(key: &str, value: &'a str) -> &'a str {
    if key == KEY { meaning(value).map_or(value, |(value, _)| value) } else { value }
}

/// Seconds since 1970 of `YYYY-MM-DDTHH:MM:SSZ`, if the calendar has such a time.
pub(crate) fn time(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = |month: i64| match month {
        2 => 28 + i64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_there = (1..=12).contains(&month) && (1..=length(month)).contains(&day);
    if !is_there || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leaps_before = |year: i64| (year - 1).div_euclid(4) - (year - 1).div_euclid(100) + (year - 1).div_euclid(400);
    let days = (year - 1970) * 365 + leaps_before(year) - leaps_before(1970);
    let days = days + (1..month).map(length).sum::<i64>() + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// The files that `trust policy init` puts in force, as code.
pub(crate) fn shipped() -> Vec<Judge> {
    let judge = |id: &str, effect, matches: fn(&Seen<'_>) -> bool| Judge {
        id: id.to_owned(),
        effect,
        actions: Action::ALL.to_vec(),
        matches: Box::new(move |seen| Ok(matches(seen))),
    };
    vec![
        judge("pii-fit-for-public", Effect::Permit, |seen| seen.env.cloud == Cloud::Public && seen.fit),
        judge("pii-private-clouds", Effect::Permit, |seen| seen.env.cloud == Cloud::Private),
        judge("pii-not-in-public", Effect::Forbid, |seen| seen.env.cloud == Cloud::Public && !seen.fit),
        judge("tag-pii-not-in-public", Effect::Forbid, |seen| {
            seen.env.cloud == Cloud::Public && seen.tags.iter().any(|tag| tag.eq_ignore_ascii_case("pii"))
        }),
    ]
}

/// The example of signers, as code.
pub(crate) fn signers() -> Vec<Judge> {
    let judge = |id: &str, actions: &[Action], matches: fn(&Seen<'_>) -> bool| Judge {
        id: id.to_owned(),
        effect: Effect::Forbid,
        actions: actions.to_vec(),
        matches: Box::new(move |seen| Ok(matches(seen))),
    };
    vec![
        judge("signers-ci-everywhere", &Action::ALL, |seen| !named(&seen.subject.signers, &["ci"])),
        judge("signers-release-in-public", &Action::ALL, |seen| {
            seen.env.cloud == Cloud::Public && !named(&seen.subject.signers, &["alice", "bob"])
        }),
        judge("signers-no-conflict", &Action::ALL, |seen| named(&seen.subject.conflicts, &["ci", "alice", "bob"])),
        judge("signers-tag-not-moved", &[Action::Deploy], |seen| {
            seen.env.cloud == Cloud::Public && moved(seen.subject)
        }),
    ]
}

/// The forbid-style example, as code.
pub(crate) fn forbid_style() -> Vec<Judge> {
    let judge = |id: &str, effect, matches: fn(&Seen<'_>) -> bool| Judge {
        id: id.to_owned(),
        effect,
        actions: Action::ALL.to_vec(),
        matches: Box::new(move |seen| Ok(matches(seen))),
    };
    vec![
        judge("signed-images", Effect::Permit, |_| true),
        judge("pii-marked-not-in-public", Effect::Forbid, |seen| {
            seen.env.cloud == Cloud::Public && seen.labels.get(KEY) == Some(&"PII")
        }),
    ]
}

fn named(names: &[String], any: &[&str]) -> bool {
    names.iter().any(|name| any.contains(&name.as_str()))
}

fn moved(subject: &Subject) -> bool {
    let both = subject.reference.tag().is_some() && subject.reference.digest().is_some();
    subject.tag_moved.unwrap_or(both)
}

/// A condition that can be written as Cedar and judged.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Cloud(Cloud),
    Name(String),
    Region(String),
    EnvLabel(String, String),
    HasLabel(String),
    Label(String, String),
    Annotation(String, String),
    Stated(String, String),
    Fit,
    Tag(String),
    AnyTag(Vec<String>),
    Moved,
    Signer(String),
    AllSigners(Vec<String>),
    Conflict(String),
    NoConflicts,
    Platform(String),
    AllPlatforms(Vec<String>),
    /// A pattern of texts with stars between them.
    Repository(Vec<String>),
    SignedBefore(i64),
    OlderThanDays(i64),
    RootAtLeast(i64),
    /// Fails where the version of the root plus this is too great.
    RootPlus(i64),
    Act(Action),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    If(Box<Condition>, Box<Condition>, Box<Condition>),
}

/// A text as Cedar writes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug().to_string().replace("\\'", "'"))
}

fn listed(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

impl Condition {
    /// As Cedar.
    pub(crate) fn text(&self) -> String {
        match self {
            Condition::Cloud(cloud) => format!("principal.cloud == {}", quoted(cloud.as_str())),
            Condition::Name(name) => format!("principal == Environment::{}", quoted(name)),
            Condition::Region(region) => format!("(principal has region && principal.region == {})", quoted(region)),
            Condition::EnvLabel(key, value) => tag("principal", key, value),
            Condition::HasLabel(key) => format!("resource.hasTag({})", quoted(key)),
            Condition::Label(key, value) => tag("resource", key, value),
            Condition::Annotation(key, value) => tag("resource.annotations", key, value),
            Condition::Stated(key, value) => tag("resource.stated", key, value),
            Condition::Fit => format!("resource.fit.contains({})", quoted(KEY)),
            Condition::Tag(text) => format!("(resource has tag && resource.tag == {})", quoted(text)),
            Condition::AnyTag(texts) => format!("resource.tags.containsAny({})", listed(texts)),
            Condition::Moved => "resource.tag_moved".to_owned(),
            Condition::Signer(name) => format!("resource.signers.contains({})", quoted(name)),
            Condition::AllSigners(names) => format!("resource.signers.containsAll({})", listed(names)),
            Condition::Conflict(name) => format!("resource.conflicts.contains({})", quoted(name)),
            Condition::NoConflicts => "resource.conflicts.isEmpty()".to_owned(),
            Condition::Platform(name) => format!("resource.platform == {}", quoted(name)),
            Condition::AllPlatforms(names) => format!("{}.containsAll(resource.platforms)", listed(names)),
            Condition::Repository(parts) => format!("resource.repository like \"{}\"", parts.join("*")),
            Condition::SignedBefore(time) => {
                format!(
                    "(resource has signed && resource.signed < datetime(\"1970-01-01\").offset(duration(\"{time}s\")))"
                )
            }
            Condition::OlderThanDays(days) => {
                format!("(resource has signed && context.now.durationSince(resource.signed) > duration(\"{days}d\"))")
            }
            Condition::RootAtLeast(version) => format!("resource.root_version >= {version}"),
            Condition::RootPlus(more) => format!("resource.root_version + {more} > 0"),
            Condition::Act(action) => format!("action == Action::{}", quoted(action.as_str())),
            Condition::Not(inner) => format!("!({})", inner.text()),
            Condition::And(a, b) => format!("({}) && ({})", a.text(), b.text()),
            Condition::Or(a, b) => format!("({}) || ({})", a.text(), b.text()),
            Condition::If(c, a, b) => format!("(if {} then {} else {})", c.text(), a.text(), b.text()),
        }
    }

    /// Whether it holds.
    pub(crate) fn holds(&self, seen: &Seen<'_>) -> Answer {
        let subject = seen.subject;
        let facts = subject.facts.as_ref().ok_or(Failed)?;
        let root = i64::try_from(subject.root_version).unwrap_or(i64::MAX);
        Ok(match self {
            Condition::Cloud(cloud) => seen.env.cloud == *cloud,
            Condition::Name(name) => seen.env.name == *name,
            Condition::Region(region) => seen.env.region.as_ref() == Some(region),
            Condition::EnvLabel(key, value) => seen.env.labels.get(key) == Some(value),
            Condition::HasLabel(key) => seen.labels.contains_key(key.as_str()),
            Condition::Label(key, value) => seen.labels.get(key.as_str()) == Some(&value.as_str()),
            Condition::Annotation(key, value) => facts.annotations.get(key) == Some(value),
            Condition::Stated(key, value) => facts.stated.get(key) == Some(value),
            Condition::Fit => seen.fit,
            Condition::Tag(text) => subject.reference.tag() == Some(text),
            Condition::AnyTag(texts) => texts.iter().any(|text| seen.tags.contains(text.as_str())),
            Condition::Moved => moved(subject),
            Condition::Signer(name) => subject.signers.contains(name),
            Condition::AllSigners(names) => names.iter().all(|name| subject.signers.contains(name)),
            Condition::Conflict(name) => subject.conflicts.contains(name),
            Condition::NoConflicts => subject.conflicts.is_empty(),
            Condition::Platform(name) => seen.platform.platform == *name,
            Condition::AllPlatforms(names) => seen.runnable.iter().all(|one| names.iter().any(|name| name == one)),
            Condition::Repository(parts) => like(parts, subject.reference.canonical_path()),
            Condition::SignedBefore(before) => time(&facts.signed).ok_or(Failed)? < *before,
            Condition::OlderThanDays(days) => seen.now - time(&facts.signed).ok_or(Failed)? > days * 86_400,
            Condition::RootAtLeast(version) => root >= *version,
            Condition::RootPlus(more) => root.checked_add(*more).ok_or(Failed)? > 0,
            Condition::Act(action) => seen.action == *action,
            Condition::Not(inner) => !inner.holds(seen)?,
            Condition::And(a, b) => a.holds(seen)? && b.holds(seen)?,
            Condition::Or(a, b) => a.holds(seen)? || b.holds(seen)?,
            Condition::If(c, a, b) => {
                if c.holds(seen)? {
                    a.holds(seen)?
                } else {
                    b.holds(seen)?
                }
            }
        })
    }
}

fn tag(of: &str, key: &str, value: &str) -> String {
    format!("({of}.hasTag({}) && {of}.getTag({}) == {})", quoted(key), quoted(key), quoted(value))
}

/// Whether a text is these parts with anything between them.
fn like(parts: &[String], text: &str) -> bool {
    match parts {
        [] => text.is_empty(),
        [last] => text == last,
        [first, rest @ ..] => {
            let Some(behind) = text.strip_prefix(first.as_str()) else { return false };
            (0..=behind.len()).filter_map(|at| behind.get(at..)).any(|tail| like(rest, tail))
        }
    }
}

/// A rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) effect: Effect,
    pub(crate) actions: Vec<Action>,
    pub(crate) when: Option<Condition>,
    pub(crate) unless: Option<Condition>,
}

impl Rule {
    /// As Cedar.
    pub(crate) fn text(&self) -> String {
        let effect = if self.effect == Effect::Permit { "permit" } else { "forbid" };
        let actions: Vec<String> = self.actions.iter().map(|a| format!("Action::\"{}\"", a.as_str())).collect();
        let action = if actions.len() == 3 { String::new() } else { format!(" in [{}]", actions.join(", ")) };
        let clause = |word: &str, of: &Option<Condition>| {
            of.as_ref().map(|condition| format!("\n{word} {{ {} }}", condition.text())).unwrap_or_default()
        };
        let (when, unless) = (clause("when", &self.when), clause("unless", &self.unless));
        format!("@id({})\n{effect} (principal, action{action}, resource){when}{unless};\n", quoted(&self.id))
    }

    /// As a judge.
    pub(crate) fn judge(&self) -> Judge {
        let (when, unless) = (self.when.clone(), self.unless.clone());
        Judge {
            id: self.id.clone(),
            effect: self.effect,
            actions: self.actions.clone(),
            matches: Box::new(move |seen| {
                if let Some(when) = &when
                    && !when.holds(seen)?
                {
                    return Ok(false);
                }
                Ok(match &unless {
                    Some(unless) => !unless.holds(seen)?,
                    None => true,
                })
            }),
        }
    }
}
