//! Rules in trial: what they would decide is told, and decides nothing.
//!
//! A rule says `@mode("warn")` or `@mode("audit")`; without it, it decides. Invariants: the decision is that of the rules
//! without a mode of trial, whatever the others say, or fail with; those of one mode are asked together with the rules that
//! decide, as they would be once they decide too. Deliberately absent: who is told (the gates).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cost::{Cost, MAX_STEPS};
use crate::decision::{Cause, RuleHit};
use crate::load::Applicable;
use crate::subject::Action;

/// What comes of a rule that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleMode {
    /// It decides.
    #[default]
    Enforce,
    /// What it would decide is told to whoever asks, and is in the log.
    Warn,
    /// What it would decide is in the log alone.
    Audit,
}

impl RuleMode {
    /// The modes in which a rule does not decide.
    pub(crate) const OF_TRIAL: [Self; 2] = [Self::Warn, Self::Audit];

    /// As `@mode` says it.
    pub(crate) fn read(given: &str) -> Option<Self> {
        [Self::Enforce, Self::Warn, Self::Audit].into_iter().find(|mode| mode.as_str() == given)
    }

    /// `enforce`, `warn` or `audit`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Audit => "audit",
        }
    }
}

/// What the decision would be with the rules of one mode of trial, where it would be another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Trial {
    /// `warn` or `audit`.
    pub mode: RuleMode,
    /// Whether the image would be allowed then.
    pub allowed: bool,
    /// Why.
    pub cause: Cause,
    /// The rules that would decide, sorted by id.
    pub rules: Vec<RuleHit>,
    /// What failed.
    pub errors: Vec<String>,
}

impl Trial {
    /// One line: what would be decided, and by which rules.
    pub fn line(&self) -> String {
        let word = if self.allowed { "allowed" } else { "denied" };
        let rules: Vec<String> = self.rules.iter().map(RuleHit::titled).collect();
        let by = match self.cause {
            Cause::NothingPermits => ": no rule would permit it".to_owned(),
            Cause::Error => format!(": {}", self.errors.join("; ")),
            _ => format!(" by rule {}", rules.join("; ")),
        };
        format!("would be {word}{by} (rules in trial, @mode {})", self.mode.as_str())
    }
}

/// The rules in trial by what they are asked for, each with all that decide.
#[derive(Debug, Default)]
pub(crate) struct Trials(BTreeMap<(Action, RuleMode), Applicable>);

impl Trials {
    /// Adds a rule by its place in the list of all.
    pub(crate) fn add(&mut self, action: Action, mode: RuleMode, at: usize, cost: &Cost) {
        let applicable = self.0.entry((action, mode)).or_default();
        applicable.rules.push(at);
        applicable.cost.add(cost);
    }

    /// Adds the rules that decide; or names the action for which all of them take too many steps on every image.
    pub(crate) fn complete(&mut self, deciding: &BTreeMap<Action, Applicable>) -> Result<(), Action> {
        for ((action, _), applicable) in &mut self.0 {
            if let Some(deciding) = deciding.get(action) {
                applicable.rules.extend(&deciding.rules);
                applicable.cost.add(&deciding.cost);
            }
            applicable.rules.sort_unstable();
            if applicable.cost.fixed() > MAX_STEPS {
                return Err(*action);
            }
        }
        Ok(())
    }

    /// Those that are asked for an action.
    pub(crate) fn of(&self, action: Action) -> impl Iterator<Item = (RuleMode, &Applicable)> {
        RuleMode::OF_TRIAL.into_iter().filter_map(move |mode| Some((mode, self.0.get(&(action, mode))?)))
    }
}
