//! What loads and is probably not meant: rules that never match, rules that another one covers, labels that nothing reads.
//!
//! Invariant: what is found is so in every situation that can occur ([`search`] looks at all of them, or nothing is said);
//! what is not found may still be wrong. Asked by people who write rules, never by a gate: [`Policy::load`] does without it.
//! Deliberately absent: rules that only several others together cover, what sizes of numbers and times say.

mod formula;
mod pattern;
mod search;

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use self::formula::{Formula, RuleFormula, Terms};
use self::search::Budget;
use crate::decision::Effect;
use crate::lexer::Position;
use crate::load::{self, Place, Policy, RuleInfo, Source};
use crate::reads::Read;
use crate::text;
use crate::trial::RuleMode;

/// Conditions that are named where a rule never matches.
const MAX_TOLD: usize = 4;
/// Conditions of a rule that are looked through for those that contradict each other.
const MAX_CONJUNCTS: usize = 64;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// No value of the dictionary and no environment makes the rule match.
    NeverMatches,
    /// A rule that permits, and another one forbids all of it.
    NeverPermits,
    /// A rule that forbids, and another one forbids all of it.
    AddsNothing,
    /// A governed label that no rule reads.
    KeyNotRead,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Probably not what is meant.
    Warning,
    /// May well be meant.
    Note,
}

/// Something that loads and is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// The rule that it is about.
    pub rule: Option<String>,
    /// The rule that covers it.
    pub covered_by: Option<String>,
    /// The governed label that it is about.
    pub label: Option<String>,
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// In words, without the place.
    pub message: String,
}

impl Finding {
    fn new(kind: FindingKind, place: Place, message: String) -> Finding {
        let Place { path, line, column } = place;
        let severity = Severity::Warning;
        Finding { kind, severity, rule: None, covered_by: None, label: None, path, line, column, message }
    }

    fn of_rule(kind: FindingKind, rule: &RuleInfo, message: String) -> Finding {
        let message = format!("rule {} {message}", rule.id);
        Finding { rule: Some(rule.id.clone()), ..Finding::new(kind, rule.place(), message) }
    }
}

/// With its place: `PATH:LINE:COLUMN: what is wrong`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", text::printable(&self.path), self.line, self.column, self.message)
    }
}

/// A rule with its formula.
struct Linted<'p> {
    info: &'p RuleInfo,
    formula: RuleFormula,
    /// Whether it can match, and whether it can not match.
    can_match: bool,
    can_miss: bool,
}

/// Everything that is found in a policy, by place. `sources`: the files that it was loaded from.
pub fn lint(policy: &Policy, sources: &[Source]) -> Vec<Finding> {
    let mut terms = Terms::new(policy.dictionary());
    let mut budget = Budget::new();
    let mut findings = Vec::new();
    let mut rules = Vec::new();
    for info in policy.rules() {
        // It was parsed when the policy was loaded.
        let Some(tree) = cedar_policy::Policy::parse(None, &info.source).ok().and_then(|rule| rule.to_pst().ok())
        else {
            continue;
        };
        let formula = terms.rule(tree.body());
        let parts: Vec<&Formula> = formula.conjuncts.iter().map(|conjunct| &conjunct.formula).collect();
        let can_match = search::can_be(&terms, &parts, &formula.uses, &mut budget) != Some(false);
        let can_miss = search::can_be(&terms, &[&formula.denied], &formula.uses, &mut budget) != Some(false);
        if !can_match && !is_told(policy, info) {
            findings.push(never_matches(&terms, info, &formula, &mut budget));
        }
        rules.push(Linted { info, formula, can_match, can_miss });
    }
    rules.sort_by(|a, b| place_key(a.info).cmp(&place_key(b.info)));
    covered(&terms, &rules, &mut budget, &mut findings);
    not_read(policy, sources, &mut findings);
    findings.sort_by(|a, b| (&a.path, a.line, a.column, a.kind).cmp(&(&b.path, b.line, b.column, b.kind)));
    findings
}

fn place_key(info: &RuleInfo) -> (&str, usize, usize) {
    (&info.path, info.line, info.column)
}

/// Whether loading said already that the rule never matches.
fn is_told(policy: &Policy, info: &RuleInfo) -> bool {
    let rule = format!(": rule {}: ", info.id);
    policy.warnings().iter().any(|told| told.contains(&rule) && told.contains("evaluates to false for all"))
}

/// The smallest part of the conditions that contradicts itself.
fn never_matches(terms: &Terms<'_>, info: &RuleInfo, formula: &RuleFormula, budget: &mut Budget) -> Finding {
    let mut left: Vec<usize> = (0..formula.conjuncts.len()).collect();
    let mut at = 0;
    while at < left.len() && left.len() <= MAX_CONJUNCTS {
        let mut without = left.clone();
        without.remove(at);
        let parts = without.iter().filter_map(|n| formula.conjuncts.get(*n)).map(|conjunct| &conjunct.formula);
        match search::can_be(terms, &parts.collect::<Vec<_>>(), &formula.uses, budget) {
            Some(false) => left = without,
            _ => at = at.saturating_add(1),
        }
    }
    let told = left.iter().filter_map(|n| formula.conjuncts.get(*n)).map(|conjunct| text::printable(&conjunct.told));
    let told: Vec<String> = told.take(MAX_TOLD.saturating_add(1)).collect();
    let message = match told.as_slice() {
        [] => "never matches".to_owned(),
        [one] => format!("never matches: {one} is never true"),
        several if several.len() > MAX_TOLD => "never matches: its conditions contradict each other".to_owned(),
        several => format!("never matches: {} are never true together", several.join(" and ")),
    };
    Finding::of_rule(FindingKind::NeverMatches, info, message)
}

/// Rules that a rule that forbids covers.
fn covered(terms: &Terms<'_>, rules: &[Linted<'_>], budget: &mut Budget, findings: &mut Vec<Finding>) {
    let forbids = || rules.iter().filter(|rule| rule.can_match && rule.info.effect == Effect::Forbid);
    for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.can_match) {
        for by in forbids().filter(|by| by.info.id != rule.info.id) {
            if budget.is_spent() {
                return;
            }
            if !covers(terms, by, rule, budget) {
                continue;
            }
            let is_forbid = rule.info.effect == Effect::Forbid;
            // Of two that say the same the first one stays.
            let is_first = rules.iter().position(|other| other.info.id == by.info.id).is_some_and(|of_by| at < of_by);
            if is_forbid && is_first && covers(terms, rule, by, budget) {
                continue;
            }
            findings.push(covered_finding(rule.info, by.info, is_forbid));
            break;
        }
    }
}

/// Whether one forbids wherever the other matches.
fn covers(terms: &Terms<'_>, by: &Linted<'_>, rule: &Linted<'_>, budget: &mut Budget) -> bool {
    // What a rule in trial forbids passes all the same.
    if by.info.mode != RuleMode::Enforce && by.info.mode != rule.info.mode {
        return false;
    }
    if by.formula.uses.is_apart_from(&rule.formula.uses) {
        return !by.can_miss;
    }
    let conjuncts = rule.formula.conjuncts.iter().map(|conjunct| &conjunct.formula);
    let parts: Vec<&Formula> = conjuncts.chain([&by.formula.denied]).collect();
    search::can_be(terms, &parts, &rule.formula.uses.with(&by.formula.uses), budget) == Some(false)
}

fn covered_finding(rule: &RuleInfo, by: &RuleInfo, is_forbid: bool) -> Finding {
    let by_told = format!("rule {} ({})", by.id, by.place());
    let (kind, message) = match is_forbid {
        false => (FindingKind::NeverPermits, format!("permits nothing: {by_told} forbids all that it permits")),
        true => (FindingKind::AddsNothing, format!("adds nothing: {by_told} forbids all that it forbids")),
    };
    let mut finding = Finding { covered_by: Some(by.id.clone()), ..Finding::of_rule(kind, rule, message) };
    // With words of its own it tells more to whoever is denied.
    let has_own = |own: &Option<String>, other| own.is_some() && own != other;
    if is_forbid && (has_own(&rule.reason, &by.reason) || has_own(&rule.contact, &by.contact)) {
        finding.severity = Severity::Note;
        finding.message.push_str("; only its own reason and contact come on top");
    }
    finding
}

/// Governed labels that no rule reads.
fn not_read(policy: &Policy, sources: &[Source], findings: &mut Vec<Finding>) {
    let reads = |key: &str| {
        policy.rules.iter().flat_map(|rule| &rule.reads).any(|read| match read {
            Read::Label(known) | Read::Fit(known) => known == key,
            _ => false,
        })
    };
    for key in policy.dictionary().keys().filter(|key| !reads(key)) {
        let place = load::key_place(sources, key);
        let place = place.unwrap_or_else(|| Place::new("_labels", Position::START));
        let message = format!("the label {} is governed, and no rule reads it", text::quoted(key));
        let mut finding = Finding::new(FindingKind::KeyNotRead, place, message);
        if !policy.dictionary().required_below(key).is_empty() {
            finding.severity = Severity::Note;
            finding.message.push_str("; that it is required is all that it does");
        }
        findings.push(Finding { label: Some(key.to_owned()), ..finding });
    }
}
