//! Whether a formula can be true: every assignment is tried, as far as it makes a difference.
//!
//! Invariant: "no" is said only where every assignment was looked at; past the limit nothing is said. Deliberately absent:
//! learning; rules have few variables.

use std::collections::BTreeMap;

use super::formula::{Formula, Terms, Uses, Value, VarId};
use super::pattern;

/// Looks at conditions for one question.
pub(crate) const MAX_STEPS: u64 = 200_000;
/// Looks at conditions for all questions about one set of rules.
pub(crate) const MAX_ALL_STEPS: u64 = 40_000_000;

/// Longest text that patterns are tried on.
const MAX_TEXT_LEN: usize = 256;

/// What is left to be spent.
#[derive(Debug)]
pub(crate) struct Budget {
    all: u64,
    one: u64,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Budget { all: MAX_ALL_STEPS, one: 0 }
    }

    /// Whether nothing is left.
    pub(crate) fn is_spent(&self) -> bool {
        self.all == 0
    }

    fn take(&mut self) -> Option<()> {
        self.one = self.one.checked_sub(1)?;
        self.all = self.all.checked_sub(1)?;
        Some(())
    }
}

/// Whether some assignment makes all of these true; `None` if that is not known within the limit.
pub(crate) fn can_be(terms: &Terms<'_>, parts: &[&Formula], uses: &Uses, budget: &mut Budget) -> Option<bool> {
    let axioms = terms.axioms(uses, |cost| {
        budget.all = budget.all.saturating_sub(u64::try_from(cost).unwrap_or(u64::MAX));
        !budget.is_spent()
    })?;
    let parts: Vec<&Formula> = parts.iter().copied().chain(&axioms).collect();
    let domains = uses.named.iter().map(|(var, named)| (*var, terms.domain(*var, named))).collect();
    budget.one = MAX_STEPS;
    Search { domains, chosen: BTreeMap::new(), budget }.can_be(&parts)
}

struct Search<'b> {
    domains: BTreeMap<VarId, Vec<Value>>,
    chosen: BTreeMap<VarId, Value>,
    budget: &'b mut Budget,
}

/// What a formula is under the values that were chosen so far.
enum Truth {
    Known(bool),
    /// It depends on this variable, and perhaps on others.
    Open(VarId),
}

impl Search<'_> {
    fn can_be(&mut self, parts: &[&Formula]) -> Option<bool> {
        let var = match self.several(parts.iter().copied(), false)? {
            Truth::Known(value) => return Some(value),
            Truth::Open(var) => var,
        };
        for value in self.domains.get(&var).cloned().unwrap_or_default() {
            self.chosen.insert(var, value);
            if self.can_be(parts)? {
                return Some(true);
            }
        }
        self.chosen.remove(&var);
        Some(false)
    }

    fn truth(&mut self, formula: &Formula) -> Option<Truth> {
        self.budget.take()?;
        Some(match formula {
            Formula::Const(value) => Truth::Known(*value),
            Formula::Not(inner) => match self.truth(inner)? {
                Truth::Known(value) => Truth::Known(!value),
                open => open,
            },
            Formula::And(parts) => self.several(parts.iter(), false)?,
            Formula::Or(parts) => self.several(parts.iter(), true)?,
            Formula::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                match self.truth(condition)? {
                    Truth::Known(true) => self.truth(then)?,
                    Truth::Known(false) => self.truth(otherwise)?,
                    open => open,
                }
            }
            Formula::Present(var) => self.of(*var, |value| *value != Value::Absent),
            Formula::Yes(var) => self.of(*var, |value| *value == Value::Yes),
            Formula::IsOther(var) => self.of(*var, |value| *value == Value::Other),
            Formula::Is(var, texts) => self.of(*var, |value| match value {
                Value::Text(text) => texts.contains(text),
                _ => false,
            }),
            Formula::Like(var, elements, free) => match self.chosen.get(var) {
                None => Truth::Open(*var),
                Some(Value::Text(text)) if text.len() <= MAX_TEXT_LEN => Truth::Known(pattern::matches(elements, text)),
                Some(Value::Other | Value::Text(_)) => self.of(*free, |value| *value == Value::Yes),
                Some(_) => Truth::Known(false),
            },
            Formula::Fit { label, cloud, fit, contradicted } => {
                let (Some(value), Some(at)) = (self.chosen.get(label), self.chosen.get(cloud)) else {
                    let open = if self.chosen.contains_key(label) { cloud } else { label };
                    return Some(Truth::Open(*open));
                };
                let is_fit = |(known, cloud): &(String, _)| {
                    let cloud: &crate::environment::Cloud = cloud;
                    matches!((value, at), (Value::Text(value), Value::Text(at)) if value == known && at == cloud.as_str())
                };
                match fit.iter().any(is_fit) {
                    true => self.of(*contradicted, |value| *value == Value::No),
                    false => Truth::Known(false),
                }
            }
        })
    }

    /// `decisive`: the value of one part that decides.
    fn several<'f>(&mut self, parts: impl Iterator<Item = &'f Formula>, decisive: bool) -> Option<Truth> {
        let mut open = None;
        for part in parts {
            match self.truth(part)? {
                Truth::Known(value) if value == decisive => return Some(Truth::Known(decisive)),
                Truth::Known(_) => {}
                Truth::Open(var) => open = open.or(Some(var)),
            }
        }
        Some(open.map_or(Truth::Known(!decisive), Truth::Open))
    }

    fn of(&self, var: VarId, is: impl Fn(&Value) -> bool) -> Truth {
        self.chosen.get(&var).map_or(Truth::Open(var), |value| Truth::Known(is(value)))
    }
}
