//! The decision: one evaluation for each runnable platform, and all must be permitted.
//!
//! Invariants: an evaluation with any error denies, also where a rule permits (Cedar by itself would leave the failed rule
//! out, and it might have been the one that forbids); what forbids wins; without facts, without a runnable platform and
//! without a rule that permits, the answer is no; a governed label with an unknown value, and one that is required and
//! missing, denies before any rule is asked.
//! Deliberately absent: caches and time.

use std::collections::BTreeMap;

use cedar_policy::{Authorizer, Decision as CedarDecision, PolicyId, PolicySet};
use trust_image::{ImageFacts, PlatformFacts};

use crate::cost::MAX_STEPS;
use crate::decision::{Cause, Decision, Effect, FactKind, PlatformDecision, RuleHit, UsedFact, Verdict};
use crate::dictionary::Meaning;
use crate::entities::{Asked, BuildError};
use crate::environment::{Cloud, Environment};
use crate::explain;
use crate::load::{Applicable, Policy};
use crate::subject::{Action, Subject};
use crate::text;
use crate::trial::Trial;

/// Rules that are named when nothing permits.
pub(crate) const MAX_NAMED: usize = 16;
/// Allowed values that are named beside an unknown one.
const MAX_VALUES_NAMED: usize = 8;

/// Deciding rules (places in the policy's list) with the platforms (places in the list of runnable ones) they decided.
pub(crate) type Hits = BTreeMap<usize, Vec<usize>>;

/// What came out, before it is told.
struct Outcome {
    cause: Cause,
    verdicts: Vec<(Verdict, Vec<usize>)>,
    hits: Hits,
    errors: Vec<String>,
}

impl Policy {
    /// Decides whether an image may be used in an environment. `now_unix`: seconds since 1970.
    pub fn decide(&self, env: &Environment, action: Action, subject: &Subject, now_unix: i64) -> Decision {
        let runnable: Vec<&PlatformFacts> = match &subject.facts {
            Some(ImageFacts { platforms, .. }) => platforms.iter().filter(|p| p.is_runnable()).collect(),
            None => Vec::new(),
        };
        if runnable.is_empty() {
            return self.without_platforms(env, action, subject);
        }
        if let Some(denied) = self.by_dictionary(env, action, subject, &runnable) {
            return denied;
        }
        let none = Applicable::default();
        let applicable = self.applicable.get(&action).unwrap_or(&none);
        let asked = match applicable.cost.steps(env, subject, &runnable) {
            // Before anything is evaluated: an image must not hold a gate up.
            steps if steps > MAX_STEPS => Err(too_costly(steps)),
            _ => Asked::new(self, env, action, subject, now_unix),
        };
        let outcome = self.outcome(asked.as_ref(), applicable, &runnable);
        let trials = asked.as_ref().map_or_else(
            |_| Vec::new(),
            |asked| {
                let steps = |rules: &Applicable| rules.cost.steps(env, subject, &runnable);
                self.trials_of(asked, action, steps, &runnable, outcome.cause == Cause::Permitted)
            },
        );
        let facts = explain::facts(self, &outcome.hits, env, subject, &runnable, now_unix);
        let not_reached = applicable.rules.iter().filter(|at| !outcome.hits.contains_key(at));
        let id = |at: &usize| self.rules.get(*at).map(|rule| rule.info.id.clone());
        let platforms = runnable.iter().zip(&outcome.verdicts);
        Decision {
            allowed: outcome.cause == Cause::Permitted,
            cause: outcome.cause,
            platforms: platforms.map(|(p, (v, rules))| decided(p, *v, rules.iter().filter_map(id).collect())).collect(),
            rules: outcome.hits.iter().filter_map(|(at, platforms)| self.hit(*at, platforms, &runnable)).collect(),
            facts,
            errors: outcome.errors,
            trials,
            rules_not_reached: not_reached.filter_map(id).collect(),
            ..self.denied(env, action)
        }
    }

    fn outcome(
        &self,
        asked: Result<&Asked<'_>, &BuildError>,
        applicable: &Applicable,
        runnable: &[&PlatformFacts],
    ) -> Outcome {
        let failed = |error: &BuildError| {
            let verdicts = vec![(Verdict::Error, Vec::new()); runnable.len()];
            Outcome { cause: Cause::Error, verdicts, hits: Hits::new(), errors: vec![error.to_string()] }
        };
        match (asked, applicable.set(&self.rules)) {
            (Ok(asked), Ok(set)) => self.evaluate(asked, applicable, set, runnable),
            (Err(error), _) => failed(error),
            (_, Err(error)) => failed(&error),
        }
    }

    /// What rules in trial would decide, where that is not what was decided.
    fn trials_of(
        &self,
        asked: &Asked<'_>,
        action: Action,
        steps: impl Fn(&Applicable) -> u64,
        runnable: &[&PlatformFacts],
        is_allowed: bool,
    ) -> Vec<Trial> {
        let mut trials = Vec::new();
        for (mode, applicable) in self.trials.of(action) {
            let outcome = match steps(applicable) {
                steps if steps > MAX_STEPS => self.outcome(Err(&too_costly(steps)), applicable, runnable),
                _ => self.outcome(Ok(asked), applicable, runnable),
            };
            let allowed = outcome.cause == Cause::Permitted;
            if allowed != is_allowed {
                let rules = outcome.hits.iter().filter_map(|(at, on)| self.hit(*at, on, runnable)).collect();
                trials.push(Trial { mode, allowed, cause: outcome.cause, rules, errors: outcome.errors });
            }
        }
        trials
    }

    fn evaluate(
        &self,
        asked: &Asked<'_>,
        applicable: &Applicable,
        set: &PolicySet,
        runnable: &[&PlatformFacts],
    ) -> Outcome {
        let authorizer = Authorizer::new();
        let mut verdicts = Vec::with_capacity(runnable.len());
        let mut errors = Vec::new();
        for platform in runnable {
            verdicts.push(match asked.platform(platform) {
                Ok((request, entities)) => {
                    let answer = authorizer.is_authorized(&request, set, &entities);
                    let failed: Vec<_> = answer.diagnostics().errors().collect();
                    if failed.is_empty() {
                        let rules = self.places(answer.diagnostics().reason());
                        match (answer.decision(), rules.is_empty()) {
                            // An allow names the rules that permit; one without is not believed.
                            (CedarDecision::Allow, false) => (Verdict::Permitted, rules),
                            (CedarDecision::Allow, true) => (Verdict::Error, rules),
                            (CedarDecision::Deny, false) => (Verdict::Forbidden, rules),
                            (CedarDecision::Deny, true) => (Verdict::NothingPermits, rules),
                        }
                    } else {
                        let mut told: Vec<String> = failed.iter().map(|e| text::printable(&e.to_string())).collect();
                        told.sort();
                        errors.extend(told.into_iter().map(|e| format!("{}: {e}", platform.platform)));
                        let ids = failed
                            .iter()
                            .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(e)| e.policy_id());
                        (Verdict::Error, self.places(ids))
                    }
                }
                Err(BuildError(error)) => {
                    errors.push(format!("{}: {error}", platform.platform));
                    (Verdict::Error, Vec::new())
                }
            });
        }
        let has = |verdict| verdicts.iter().any(|(v, _)| *v == verdict);
        let (cause, deciding) = if has(Verdict::Error) {
            (Cause::Error, Verdict::Error)
        } else if has(Verdict::Forbidden) {
            (Cause::Forbidden, Verdict::Forbidden)
        } else if verdicts.iter().all(|(v, _)| *v == Verdict::Permitted) && !verdicts.is_empty() {
            (Cause::Permitted, Verdict::Permitted)
        } else {
            (Cause::NothingPermits, Verdict::NothingPermits)
        };
        let mut hits = Hits::new();
        for (at, (verdict, rules)) in verdicts.iter().enumerate().filter(|(_, (v, _))| *v == deciding) {
            for rule in rules {
                hits.entry(*rule).or_default().push(at);
            }
            if *verdict == Verdict::NothingPermits {
                let permits = |rule: &&usize| self.rules.get(**rule).is_some_and(|r| r.info.effect == Effect::Permit);
                for rule in applicable.rules.iter().filter(permits).take(MAX_NAMED) {
                    hits.entry(*rule).or_default().push(at);
                }
            }
        }
        Outcome { cause, verdicts, hits, errors }
    }

    fn places<'i>(&self, ids: impl Iterator<Item = &'i PolicyId>) -> Vec<usize> {
        let mut places: Vec<usize> = ids.filter_map(|id| self.places.get(id).copied()).collect();
        places.sort_unstable();
        places
    }

    fn hit(&self, at: usize, platforms: &[usize], runnable: &[&PlatformFacts]) -> Option<RuleHit> {
        let info = &self.rules.get(at)?.info;
        Some(RuleHit {
            id: info.id.clone(),
            effect: info.effect,
            title: info.title.clone(),
            reason: info.reason.clone(),
            contact: info.contact.clone(),
            platforms: platforms.iter().filter_map(|at| runnable.get(*at)).map(|p| p.platform.clone()).collect(),
        })
    }

    /// A denial with nothing in it yet.
    fn denied(&self, env: &Environment, action: Action) -> Decision {
        Decision {
            allowed: false,
            cause: Cause::Error,
            platforms: Vec::new(),
            rules: Vec::new(),
            facts: Vec::new(),
            errors: Vec::new(),
            environment: env.clone(),
            action,
            policy: self.identity.clone(),
            rules_not_reached: Vec::new(),
            trials: Vec::new(),
            exception: None,
        }
    }

    fn all_ids(&self, action: Action) -> Vec<String> {
        let places = self.applicable.get(&action).into_iter().flat_map(|applicable| &applicable.rules);
        places.filter_map(|at| self.rules.get(*at)).map(|rule| rule.info.id.clone()).collect()
    }

    fn without_platforms(&self, env: &Environment, action: Action, subject: &Subject) -> Decision {
        let (name, origin, error) = match &subject.facts {
            None => ("facts", "the signed target", "the signers signed no facts (labels, platforms) with this image"),
            Some(_) => ("platforms", "the signed facts", "the image has no platform that a runtime can start"),
        };
        let origin = format!("{origin}, signed by {}", text::printable(&subject.signers.join(", ")));
        Decision {
            cause: Cause::NoFacts,
            facts: vec![UsedFact { kind: FactKind::Image, name: name.to_owned(), value: None, origin }],
            errors: vec![error.to_owned()],
            rules_not_reached: self.all_ids(action),
            ..self.denied(env, action)
        }
    }

    /// The denial if a governed label, annotation or statement has an unknown value, or a required label is missing.
    fn by_dictionary(
        &self,
        env: &Environment,
        action: Action,
        subject: &Subject,
        runnable: &[&PlatformFacts],
    ) -> Option<Decision> {
        let facts = subject.facts.as_ref();
        let annotated = facts.into_iter().flat_map(|facts| &facts.annotations).filter(|(k, v)| self.is_outside(k, v));
        let stated = facts.into_iter().flat_map(|facts| &facts.stated).filter(|(k, v)| self.is_outside(k, v));
        let (annotated, stated): (Vec<_>, Vec<_>) = (annotated.collect(), stated.collect());
        let is_said = !annotated.is_empty() || !stated.is_empty();
        let required = self.dictionary.required(subject.reference.name());
        let mut outside: Found<'_> = BTreeMap::new();
        let mut missing: Found<'_> = BTreeMap::new();
        let mut verdicts = Vec::with_capacity(runnable.len());
        for platform in runnable {
            let unknown: Vec<_> = platform.labels.iter().filter(|(k, v)| self.is_outside(k, v)).collect();
            let absent: Vec<_> = required.iter().filter(|key| !platform.labels.contains_key(**key)).collect();
            verdicts.push(match (unknown.is_empty() && !is_said, absent.is_empty()) {
                (false, _) => Verdict::LabelOutside,
                (true, false) => Verdict::LabelMissing,
                (true, true) => Verdict::NotReached,
            });
            for (key, value) in unknown {
                outside.entry((key, value)).or_default().push(&platform.platform);
            }
            for key in absent {
                missing.entry((key, "")).or_default().push(&platform.platform);
            }
        }
        let cause = match (outside.is_empty() && !is_said, missing.is_empty()) {
            (false, _) => Cause::LabelOutside,
            (true, false) => Cause::LabelMissing,
            (true, true) => return None,
        };
        let mut facts = Vec::new();
        let mut errors = Vec::new();
        for ((key, value), platforms) in &outside {
            facts.push(label(key, Some(value), platforms, "; not in the dictionary"));
            errors.push(self.told_outside("label", key, value, &format!(" of {}", platforms.join(", "))));
        }
        for (key, value) in annotated {
            facts.push(explain::annotation(key, Some(value), "; not in the dictionary"));
            errors.push(self.told_outside("annotation", key, value, ""));
        }
        for (key, value) in stated {
            facts.push(explain::stated(key, Some(value), "; not in the dictionary"));
            errors.push(self.told_outside("statement", key, value, ""));
        }
        for ((key, _), platforms) in &missing {
            facts.push(label(key, None, platforms, "; required by the dictionary"));
            errors.push(self.told_missing(key, platforms));
        }
        Some(Decision {
            cause,
            platforms: runnable.iter().zip(verdicts).map(|(p, verdict)| decided(p, verdict, Vec::new())).collect(),
            facts,
            errors,
            rules_not_reached: self.all_ids(action),
            ..self.denied(env, action)
        })
    }

    /// Whether the key is governed and does not have this value, in whatever cloud.
    fn is_outside(&self, key: &str, value: &str) -> bool {
        matches!(self.dictionary.meaning(key, value, Cloud::Public), Meaning::Outside { .. })
    }

    fn told_outside(&self, what: &str, key: &str, value: &str, of: &str) -> String {
        let (known, owner) = (self.known_values(key), self.ask_owner(key));
        let (key, value) = (text::printable(key), text::quoted(value));
        format!("the {what} {key}{of} is {value}; the dictionary has {known}{owner}")
    }

    fn told_missing(&self, key: &str, platforms: &[&str]) -> String {
        let (known, owner) = (self.known_values(key), self.ask_owner(key));
        let platforms = platforms.join(", ");
        format!("the label {} is missing on {platforms}; the dictionary has {known}{owner}", text::printable(key))
    }

    /// What an image may say, for people.
    fn known_values(&self, key: &str) -> String {
        let mut known: Vec<String> = self.dictionary.values(key).take(MAX_VALUES_NAMED + 1).map(text::quoted).collect();
        if known.len() > MAX_VALUES_NAMED {
            known.truncate(MAX_VALUES_NAMED);
            known.push("…".to_owned());
        }
        known.join(", ")
    }

    fn ask_owner(&self, key: &str) -> String {
        let owner = self.dictionary.owner(key);
        owner.map(|owner| format!("; ask {}", text::printable(owner))).unwrap_or_default()
    }
}

/// A label by key and value, with the platforms that it was found on, or is missing on.
type Found<'p> = BTreeMap<(&'p str, &'p str), Vec<&'p str>>;

fn label(key: &str, value: Option<&str>, platforms: &[&str], more: &str) -> UsedFact {
    UsedFact {
        kind: FactKind::ImageLabel,
        name: text::printable(key),
        value: value.map(text::printable),
        origin: format!("{}{more}", explain::from_config(platforms)),
    }
}

fn too_costly(steps: u64) -> BuildError {
    BuildError(format!("the rules would take up to {steps} steps on the labels of this image, more than {MAX_STEPS}"))
}

fn decided(platform: &PlatformFacts, verdict: Verdict, rules: Vec<String>) -> PlatformDecision {
    PlatformDecision { platform: platform.platform.clone(), digest: platform.digest.to_string(), verdict, rules }
}
